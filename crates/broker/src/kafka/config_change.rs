//! What the two APIs that change configs share: which resources have configs to change, and how a change is made.

use super::{call::Call, describe_configs, topic_error};
use crate::{
    config::Config,
    topics::{
        Topic, TopicSettings,
        configs::{self, ConfigError},
    },
};
use keyway_record::ErrorCode;

/// Why a change is refused.
pub(super) type Refused = (ErrorCode, String);

/// The resource that a change is about.
pub(super) struct Resource<'a> {
    pub(super) kind: i8,
    pub(super) name: &'a str,
}

/// Gives the resource the settings that `changed` makes of those it has; with `validate_only` it keeps the old ones.
/// Code and message for the answer.
pub(super) async fn change(
    call: &Call<'_>,
    resource: Resource<'_>,
    validate_only: bool,
    changed: impl FnOnce(&Config, &Topic) -> Result<TopicSettings, Refused>,
) -> (i16, Option<String>) {
    match try_change(call, resource, validate_only, changed).await {
        Ok(()) => (ErrorCode::None.code(), None),
        Err((error, message)) => (error.code(), Some(message)),
    }
}

async fn try_change(
    call: &Call<'_>,
    resource: Resource<'_>,
    validate_only: bool,
    changed: impl FnOnce(&Config, &Topic) -> Result<TopicSettings, Refused>,
) -> Result<(), Refused> {
    if resource.kind != describe_configs::TOPIC {
        return Err((ErrorCode::InvalidRequest, "only the configs of topics can be altered".to_owned()));
    }
    let Some(topic) = call.node.topics.named(resource.name) else {
        let message = format!("topic {:?} does not exist", resource.name);
        return Err((ErrorCode::UnknownTopicOrPartition, message));
    };
    let broker = &call.node.config;
    let settings = changed(broker, &topic)?;
    configs::check_together(broker, &settings.configs).map_err(invalid)?;
    if validate_only || settings == topic.settings {
        return Ok(());
    }
    let changed = call.node.topics.set_settings(&topic.name, settings).await;
    changed.map(drop).map_err(|error| (topic_error::of_change(&error), error.to_string()))
}

/// A config that cannot be set.
pub(super) fn invalid(error: ConfigError) -> Refused {
    (ErrorCode::InvalidConfig, error.to_string())
}

/// A request that names a config twice.
pub(super) fn twice(name: &str) -> Refused {
    (ErrorCode::InvalidRequest, format!("the request changes {name} twice"))
}
