//! What the two APIs that change configs share: how a change is checked and made.

use super::{
    call::Call,
    config_resource::{self, Refused, Resource},
    repeated::Named,
    topic_error,
};
use crate::{
    internal_topic::InternalTopicError,
    log_levels::ROOT,
    settings::{Configs, Effective, Entity, SettingError},
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
    let settings = TopicSettings { configs, ..topic.settings.clone() };
    let changed = call.node.topics.set_settings(&topic.name, settings).await;
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
    let new =
        node.settings.change(entity, validate_only, changed).await.map_err(|Failed(refused)| refused)?;
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
    loggers.change(validate_only, |own| match changed(own)? {
        after if after.contains_key(ROOT) => Ok(after),
        _ => Err((ErrorCode::InvalidRequest, format!("{ROOT} always has a level: set another"))),
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
