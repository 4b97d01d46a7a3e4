//! What `danube-admin` does to topics and subscriptions, through Danube's own generated client of its TopicAdmin service.

use anyhow::{Context, ensure};
use danube_core::admin_proto::topic_admin_client::TopicAdminClient;
use danube_core::admin_proto::{
    DescribeTopicRequest, GetSubscriptionDispatchConfigRequest, GetSubscriptionFailurePolicyRequest,
    SetSubscriptionDispatchConfigRequest, SetSubscriptionFailurePolicyRequest, SubscriptionBackoffStrategy,
    SubscriptionDispatchConfig, SubscriptionFailurePolicy, SubscriptionPoisonPolicy, SubscriptionRequest,
    TopicRequest,
};
use tonic::transport::Channel;

use super::failure_policy::{DEAD_LETTERS, PATH, SUBSCRIPTION, TOPIC, expect, refuse, silence};
use super::scene::Scene;
use super::stage::Stage;
use crate::http;

const KEY_SHARED: i32 = 3;

fn policy(max_redelivery_count: u32, poison: SubscriptionPoisonPolicy) -> SubscriptionFailurePolicy {
    SubscriptionFailurePolicy {
        max_redelivery_count,
        ack_timeout_ms: 20_000,
        base_redelivery_delay_ms: 50,
        max_redelivery_delay_ms: 1_000,
        backoff_strategy: SubscriptionBackoffStrategy::Fixed as i32,
        dead_letter_topic: Some(DEAD_LETTERS.to_string()),
        poison_policy: poison as i32,
    }
}

async fn set(admin: &mut TopicAdminClient<Channel>, policy: SubscriptionFailurePolicy) -> anyhow::Result<()> {
    let request = SetSubscriptionFailurePolicyRequest {
        topic: TOPIC.to_string(),
        subscription: SUBSCRIPTION.to_string(),
        failure_policy: Some(policy.clone()),
    };
    ensure!(admin.set_subscription_failure_policy(request).await?.into_inner().success, "not set");
    let request = GetSubscriptionFailurePolicyRequest {
        topic: TOPIC.to_string(),
        subscription: SUBSCRIPTION.to_string(),
    };
    let got = admin.get_subscription_failure_policy(request).await?.into_inner();
    ensure!(got.failure_policy.as_ref() == Some(&policy), "{policy:?} was set, and is {got:?}");
    Ok(())
}

/// A policy set before its subscription exists and another while workers run; a window of one message; a departure.
pub(crate) async fn topics(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let url = stage.broker.danube_url();
    let mut admin = TopicAdminClient::connect(stage.broker.admin_url()).await?;
    let mut scene = Scene::open(&url, TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    let mut undertaker = Scene::open(&url, DEAD_LETTERS).await?;
    undertaker.producer("undertaker").await?;
    undertaker.worker("undertaker", "dlq_sub", &[]).await?;
    set(&mut admin, policy(1, SubscriptionPoisonPolicy::DeadLetter)).await.context("beforehand")?;

    scene.worker("worker_1", SUBSCRIPTION, &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    producer.send_with_key(b"poisoned".to_vec(), None, "payment").await?;
    refuse(&mut scene, "poisoned", 2).await?;
    let letter = expect(&mut undertaker, "poisoned").await?;
    undertaker.ack(letter).await?;

    set(&mut admin, policy(0, SubscriptionPoisonPolicy::Drop)).await.context("while workers run")?;
    for text in ["dropped", "kept"] {
        producer.send_with_key(text.as_bytes().to_vec(), None, "payment").await?;
    }
    refuse(&mut scene, "dropped", 1).await?;
    let kept = expect(&mut scene, "kept").await?;
    scene.ack(kept).await?;
    let described = http::ask(stage.broker.http(), "GET", PATH, None).await?;
    ensure!(described["policy"]["poison_policy"] == "drop", "over HTTP it is {described}");

    let (topic, subscription) = (TOPIC.to_string(), SUBSCRIPTION.to_string());
    let config = SubscriptionDispatchConfig { max_unacked_messages: 1 };
    let request = SetSubscriptionDispatchConfigRequest {
        topic: topic.clone(),
        subscription: subscription.clone(),
        dispatch_config: Some(config),
    };
    admin.set_subscription_dispatch_config(request).await?;
    let request =
        GetSubscriptionDispatchConfigRequest { topic: topic.clone(), subscription: subscription.clone() };
    let got = admin.get_subscription_dispatch_config(request).await?.into_inner();
    ensure!(got.dispatch_config == Some(config), "the dispatch config is {got:?}");
    for (key, text) in [("payment", "one"), ("shipping", "two")] {
        producer.send_with_key(text.as_bytes().to_vec(), None, key).await?;
    }
    let one = expect(&mut scene, "one").await?;
    silence(&mut scene, "one message may be unanswered").await?;
    scene.ack(one).await?;
    let two = expect(&mut scene, "two").await?;
    scene.ack(two).await?;

    let request =
        GetSubscriptionFailurePolicyRequest { topic: topic.clone(), subscription: subscription.clone() };
    let got = admin.get_subscription_failure_policy(request).await?.into_inner();
    ensure!(got.subscription_type == KEY_SHARED, "the subscription's type is {}", got.subscription_type);
    let listed = admin.list_subscriptions(TopicRequest { name: topic.clone() }).await?.into_inner();
    ensure!(listed.subscriptions == [SUBSCRIPTION], "listed: {listed:?}");
    let described = admin.describe_topic(DescribeTopicRequest { name: topic.clone() }).await?.into_inner();
    ensure!(described.subscriptions == [SUBSCRIPTION] && described.delivery == "Reliable", "{described:?}");
    let request = SubscriptionRequest { topic: topic.clone(), subscription };
    ensure!(admin.unsubscribe(request).await?.into_inner().success, "not unsubscribed");
    let listed = admin.list_subscriptions(TopicRequest { name: topic }).await?.into_inner();
    ensure!(listed.subscriptions.is_empty(), "after the departure: {listed:?}");
    Ok("policies before and during, as Danube's client reads them back; a window of one; listed, described, gone".into())
}
