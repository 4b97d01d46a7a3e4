//! What the two APIs that change configs share: how a change is checked and made.

use super::{
    call::{Call, Refused},
    config_resource::{self, Resource},
    repeated::Named,
    topic_error,
};
use crate::{
    access::{AuditEvent, Change},
    internal_topic::InternalTopicError,
    log_levels::ROOT,
    node::NODE_ID,
    settings::{BrokerSetting, Configs, Effective, Entity, SettingError},
    topics::{Topic, TopicSettings, configs},
};
use keyway_access::Operation;
use keyway_record::ErrorCode;
use std::collections::BTreeSet;

/// Gives the resource, if it is named once, the configs that `changed` makes of those it has; with `validate_only` it keeps the old ones.
/// Code and message for the answer.
pub(super) async fn change(
    call: &Call<'_>,
    (named, (kind, name)): (Named, &(i8, String)),
    validate_only: bool,
    changed: impl FnOnce(&Resource, &Effective) -> Result<Configs, Refused>,
) -> (i16, Option<String>) {
    let changed = async {
        if named != Named::Once {
            return Err((ErrorCode::InvalidRequest, "the request changes this resource twice".to_owned()));
        }
        if *kind == config_resource::TOPIC && name.is_empty() {
            let message = "topics without configs of their own follow the broker: alter the broker's";
            return Err((ErrorCode::InvalidRequest, message.to_owned()));
        }
        let resource = Resource::find(call, Operation::AlterConfigs, *kind, name)?;
        match &resource {
            Resource::Topic(topic) => {
                let configs = changed(&resource, &call.node.settings.now())?;
                change_topic(call, topic, validate_only, configs).await
            }
            Resource::Settings(entity) => {
                let changed = |settings: &Effective| changed(&resource, settings).map_err(Failed);
                change_settings(call, entity, validate_only, changed).await
            }
            Resource::Loggers(_) => {
                let changed = |own| changed(&Resource::Loggers(own), &call.node.settings.now());
                change_loggers(call, validate_only, changed)
            }
        }
    };
    match changed.await {
        Ok(()) => (ErrorCode::None.code(), None),
        Err((error, message)) => (error.code(), Some(message)),
    }
}

async fn change_topic(
    call: &Call<'_>,
    topic: &Topic,
    validate_only: bool,
    configs: Configs,
) -> Result<(), Refused> {
    configs::check_together(&call.node.settings.now(), &configs)
        .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    if validate_only || configs == topic.settings.configs {
        return Ok(());
    }
    let resource = ("Topic", topic.name.to_string());
    let change = begin(call, validate_only, resource, (&topic.settings.configs, &configs), |_| false);
    let settings = TopicSettings { configs, ..topic.settings.clone() };
    let changed = call.node.topics.set_settings(&topic.name, settings).await;
    change.settle(&changed);
    changed.map(drop).map_err(|error| (topic_error::of_change(&error), error.to_string()))
}

/// A refusal, or what the settings say themselves.
struct Failed(Refused);

impl From<SettingError> for Failed {
    fn from(error: SettingError) -> Self {
        Self((ErrorCode::InvalidRequest, error.to_string()))
    }
}

impl From<InternalTopicError> for Failed {
    fn from(error: InternalTopicError) -> Self {
        Self((topic_error::of_internal(&error), error.to_string()))
    }
}

async fn change_settings(
    call: &Call<'_>,
    entity: &Entity,
    validate_only: bool,
    changed: impl FnOnce(&Effective) -> Result<Configs, Failed>,
) -> Result<(), Refused> {
    let node = call.node;
    let mut change = Change::untold();
    let changed = |settings: &Effective| {
        let configs = changed(settings)?;
        let is_secret = |name: &str| BrokerSetting::of_any(name).is_none_or(BrokerSetting::is_secret);
        let (kind, name, may_be_secret) = match entity {
            Entity::Broker => ("Broker", NODE_ID.to_string(), true),
            Entity::AllBrokers => ("Broker", String::new(), true),
            Entity::Group(group) => ("Group", group.clone(), false),
        };
        let is_secret = |name: &str| may_be_secret && is_secret(name);
        change = begin(call, validate_only, (kind, name), (&settings.own(entity), &configs), is_secret);
        Ok(configs)
    };
    let new = node.settings.change(entity, validate_only, changed).await.map_err(|Failed(refused)| refused);
    change.settle(&new);
    let new = new?;
    // Groups look at their settings whenever they do something; topics are told.
    if new.is_some() && !matches!(entity, Entity::Group(_)) {
        node.topics.follow_settings().await;
    }
    Ok(())
}

fn change_loggers(
    call: &Call<'_>,
    validate_only: bool,
    changed: impl FnOnce(Configs) -> Result<Configs, Refused>,
) -> Result<(), Refused> {
    let loggers = call.node.loggers.as_ref().expect("without them there is no such resource");
    let mut change = Change::untold();
    let outcome = loggers.change(validate_only, |own| match changed(own.clone())? {
        after if after.contains_key(ROOT) => {
            let resource = ("BrokerLogger", NODE_ID.to_string());
            change = begin(call, validate_only, resource, (&own, &after), |_| false);
            Ok(after)
        }
        _ => Err((ErrorCode::InvalidRequest, format!("{ROOT} always has a level: set another"))),
    });
    change.settle(&outcome);
    outcome
}

/// What is about to become of a resource's configs, for the audit log; nothing if they stay as they are.
fn begin(
    call: &Call<'_>,
    validate_only: bool,
    (resource_type, resource): (&str, String),
    (before, after): (&Configs, &Configs),
    is_secret: impl Fn(&str) -> bool,
) -> Change {
    if validate_only || before == after {
        return Change::untold();
    }
    let new = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let set: Vec<(&str, Option<&str>)> =
        new.map(|(name, value)| (name.as_str(), (!is_secret(name)).then_some(value.as_str()))).collect();
    let removed: Vec<&str> =
        before.keys().filter(|name| !after.contains_key(*name)).map(String::as_str).collect();
    call.begin(AuditEvent::ConfigsChanged {
        resource_type,
        resource: &resource,
        set: &set,
        removed: &removed,
    })
}

/// Checks what a request says of one resource: each config once, and values where there must be one.
pub(super) fn check_request<'a>(
    configs: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for (name, value) in configs {
        if !seen.insert(name) {
            return Err((ErrorCode::InvalidRequest, format!("the request changes {name} twice")));
        }
        if value.is_none() {
            return Err((ErrorCode::InvalidRequest, format!("{name} needs a value")));
        }
    }
    Ok(())
}
