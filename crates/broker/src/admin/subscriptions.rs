//! Subscriptions as JSON: listing, describing, creating, moving and deleting them.

use super::{
    Shared,
    error::ApiError,
    extract::{Body, Name, Parameters, Subscription},
    policy::PolicyView,
};
use crate::{
    access::{AuditEvent, Caller},
    node::Node,
    subscription::{KeyOrder, KeyView, PartitionView, StartPosition, mode_name},
    topics::Topic,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use futures_util::{StreamExt, future, stream};
use keyway_dispatch::Mode;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Most keys of one answer.
const KEYS_MAX: usize = 1_000;

const KEYS_DEFAULT: usize = 20;

/// Subscriptions asked at a time when all are: enough that the wait for one owner does not add to that for another.
const ASKED_AT_A_TIME: usize = 64;

/// A subscription's figures over all its partitions.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) topic: String,
    pub(super) subscription: String,
    #[serde(rename = "type")]
    mode: &'static str,
    pub(super) partitions: usize,
    /// Consumers that can receive, counted in each partition.
    pub(super) consumers_connected: usize,
    pub(super) lag_messages: u64,
    /// The greatest of its partitions.
    pub(super) lag_ms: u64,
    pub(super) inflight_messages: u64,
    pub(super) live_keys: u64,
    /// Keys that wait, by reason; in the types without keys, messages.
    pub(super) blocked: BTreeMap<&'static str, u64>,
    pub(super) parked_keys: u64,
    pub(super) dead_letter_topic: String,
}

/// A subscription with everything that is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    #[serde(flatten)]
    pub(super) summary: Summary,
    policy: PolicyView,
    #[serde(rename = "partition_views")]
    pub(super) partitions: Vec<PartitionView>,
}

impl Summary {
    fn new(topic: &Topic, name: &str, partitions: &[PartitionView]) -> Self {
        let sum = |of: fn(&PartitionView) -> u64| partitions.iter().map(of).sum();
        let mut blocked = BTreeMap::new();
        for (&reason, count) in partitions.iter().flat_map(|partition| &partition.blocked) {
            *blocked.entry(reason).or_default() += count;
        }
        let first = partitions.first();
        Self {
            topic: topic.name.to_string(),
            subscription: name.to_owned(),
            mode: first.map_or("", |partition| partition.mode),
            partitions: partitions.len(),
            consumers_connected: partitions
                .iter()
                .flat_map(|partition| &partition.consumers)
                .filter(|consumer| consumer.connected)
                .count(),
            lag_messages: sum(|partition| partition.lag_messages),
            lag_ms: partitions.iter().map(|partition| partition.lag_ms).max().unwrap_or(0),
            inflight_messages: sum(|partition| partition.inflight_messages),
            live_keys: sum(|partition| partition.live_keys),
            blocked,
            parked_keys: sum(|partition| partition.parked_keys),
            dead_letter_topic: first
                .map_or_else(String::new, |partition| partition.dead_letter_topic.clone()),
        }
    }
}

/// All subscriptions that can be described now; one that ends meanwhile is left out.
pub(super) async fn describe_all(node: &Arc<Node>) -> Vec<Description> {
    let topics = node.topics.all();
    let named = topics.iter().flat_map(|topic| {
        node.subscriptions.names(topic.id).into_iter().map(move |name| (topic.clone(), name))
    });
    let asked = named
        .collect::<Vec<_>>()
        .into_iter()
        .map(async |(topic, name)| describe_one(node, &topic, &name).await.ok());
    stream::iter(asked).buffered(ASKED_AT_A_TIME).filter_map(future::ready).collect().await
}

async fn describe_one(node: &Arc<Node>, topic: &Topic, name: &str) -> Result<Description, ApiError> {
    let partitions = node.subscriptions.describe(topic, name).await?;
    let summary = Summary::new(topic, name, &partitions);
    Ok(Description { summary, policy: PolicyView::of(node, topic, name), partitions })
}

#[derive(Serialize)]
pub(super) struct Subscriptions {
    subscriptions: Vec<Summary>,
}

pub(super) async fn list(State(node): State<Shared>) -> Json<Subscriptions> {
    let all = describe_all(&node).await;
    Json(Subscriptions { subscriptions: all.into_iter().map(|description| description.summary).collect() })
}

pub(super) async fn describe(
    State(node): State<Shared>,
    Subscription { topic, name }: Subscription,
) -> Result<Json<Description>, ApiError> {
    Ok(Json(describe_one(&node, &topic, &name).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[serde(rename = "type", default)]
    mode: Name<Mode>,
    #[serde(default)]
    start: Name<StartPosition>,
}

pub(super) async fn create(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    Subscription { topic, name }: Subscription,
    Body(Create { mode, start }): Body<Create>,
) -> Result<(StatusCode, Json<Description>), ApiError> {
    let mode = mode.or("key_shared", mode_named)?;
    let start = start.or("latest", position)?;
    let event = AuditEvent::SubscriptionCreated {
        topic: topic.name.as_str(),
        partition: None,
        subscription: &name,
        mode: mode_name(mode),
    };
    node.audit.tell(&caller, event, node.subscriptions.create(&node, &topic, &name, mode, start)).await?;
    Ok((StatusCode::CREATED, Json(describe_one(&node, &topic, &name).await?)))
}

pub(super) async fn delete(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    Subscription { topic, name }: Subscription,
) -> Result<StatusCode, ApiError> {
    let event = AuditEvent::SubscriptionDeleted { topic: topic.name.as_str(), subscription: &name };
    node.audit.tell(&caller, event, node.subscriptions.delete(&topic, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seek {
    to: Name<StartPosition>,
}

#[derive(Serialize)]
pub(super) struct Sought {
    partitions: Vec<SoughtPartition>,
}

#[derive(Serialize)]
struct SoughtPartition {
    partition: i32,
    offset: i64,
}

pub(super) async fn seek(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    Subscription { topic, name }: Subscription,
    Body(Seek { to }): Body<Seek>,
) -> Result<Json<Sought>, ApiError> {
    let to = to.or("", position)?;
    let place = to.to_string();
    let event = AuditEvent::SubscriptionMoved { topic: topic.name.as_str(), subscription: &name, to: &place };
    let sought = node.audit.tell(&caller, event, node.subscriptions.seek(&topic, &name, to)).await?;
    let partition = |(partition, offset): (keyway_record::PartitionId, keyway_record::Offset)| {
        SoughtPartition { partition: partition.0, offset: offset.0 }
    };
    Ok(Json(Sought { partitions: sought.into_iter().map(partition).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    #[serde(default)]
    order: Name<KeyOrder>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct KeysView {
    keys: Vec<KeyView>,
}

pub(super) async fn keys(
    State(node): State<Shared>,
    Subscription { topic, name }: Subscription,
    Parameters(Keys { order, limit }): Parameters<Keys>,
) -> Result<Json<KeysView>, ApiError> {
    let order = order.or("backlog", order_named)?;
    let limit = limit.unwrap_or(KEYS_DEFAULT);
    if !(1..=KEYS_MAX).contains(&limit) {
        return Err(ApiError::OutOfRange { name: "limit", given: limit, allowed: "1 to 1000" });
    }
    Ok(Json(KeysView { keys: node.subscriptions.keys(&topic, &name, order, limit).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    key: String,
}

pub(super) async fn key(
    State(node): State<Shared>,
    Subscription { topic, name }: Subscription,
    Parameters(Key { key }): Parameters<Key>,
) -> Result<Json<KeyView>, ApiError> {
    let view = node.subscriptions.key(&topic, &name, key.as_bytes()).await?;
    view.map(Json).ok_or(ApiError::IdleKey { key })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// Absent for all keys.
    key: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Released {
    released: u64,
}

pub(super) async fn release(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    Subscription { topic, name }: Subscription,
    Body(Release { key }): Body<Release>,
) -> Result<Json<Released>, ApiError> {
    let key = key.as_deref();
    let event = AuditEvent::KeysReleased { topic: topic.name.as_str(), subscription: &name, key };
    let released = node.subscriptions.release(&topic, &name, key.map(str::as_bytes));
    Ok(Json(Released { released: node.audit.tell(&caller, event, released).await? }))
}

fn mode_named(name: &str) -> Result<Mode, ApiError> {
    match name {
        "exclusive" => Ok(Mode::Exclusive),
        "shared" => Ok(Mode::Shared),
        "failover" => Ok(Mode::Failover),
        "key_shared" => Ok(Mode::KeyShared),
        _ => Err(ApiError::NotA {
            what: "type of subscription",
            given: name.to_owned(),
            allowed: "key_shared, shared, exclusive, failover",
        }),
    }
}

fn order_named(name: &str) -> Result<KeyOrder, ApiError> {
    match name {
        "rate" => Ok(KeyOrder::Rate),
        "backlog" => Ok(KeyOrder::Backlog),
        "age" => Ok(KeyOrder::Age),
        _ => Err(ApiError::NotA {
            what: "order of keys",
            given: name.to_owned(),
            allowed: "rate, backlog, age",
        }),
    }
}

fn position(text: &str) -> Result<StartPosition, ApiError> {
    text.parse().map_err(|_| ApiError::NotA {
        what: "position",
        given: text.chars().take(64).collect(),
        allowed: "latest, earliest, offset:N, time:MS (since 1970)",
    })
}
