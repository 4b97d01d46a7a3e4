//! IncrementalAlterConfigs: sets and unsets configs of topics.

use super::{
    call::Call,
    config_change::{self, Refused, Resource, invalid, twice},
};
use crate::{
    config::Config,
    topics::{
        Topic, TopicSettings,
        configs::{self, ConfigError, Kind, TopicConfig},
    },
};
use keyway_kafka_wire::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, incremental_alter_configs::*,
};
use keyway_record::ErrorCode;
use std::collections::BTreeSet;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    call: &Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for AlterConfigsResource { resource_type, resource_name, configs } in request.resources {
        let resource = Resource { kind: resource_type, name: &resource_name };
        let altered = |broker: &_, topic: &_| altered(broker, topic, &configs);
        let (error_code, error_message) =
            config_change::change(call, resource, request.validate_only, altered).await;
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// The topic's settings with all changes, or why one of them is refused.
fn altered(broker: &Config, topic: &Topic, changes: &[AlterableConfig]) -> Result<TopicSettings, Refused> {
    let mut settings = topic.settings.clone();
    let mut seen = BTreeSet::new();
    for change in changes {
        if !seen.insert(&change.name) {
            return Err(twice(&change.name));
        }
        let unknown = || invalid(ConfigError::Unknown(change.name.clone()));
        let config = TopicConfig::named(&change.name).ok_or_else(unknown)?;
        let current = settings.configs.get(config.name).cloned();
        let current = current.unwrap_or_else(|| config.broker_value(broker));
        let value = match change.config_operation {
            SET => change.value.clone(),
            DELETE => {
                settings.configs.remove(config.name);
                continue;
            }
            APPEND | SUBTRACT if !matches!(config.kind, Kind::List(_)) => {
                return Err((ErrorCode::InvalidConfig, format!("{} is not a list", config.name)));
            }
            APPEND => Some(joined(&current, change.value.as_deref().unwrap_or_default())),
            SUBTRACT => Some(without(&current, change.value.as_deref().unwrap_or_default())),
            other => return Err((ErrorCode::InvalidRequest, format!("{other} is no operation on a config"))),
        };
        let (name, value) = configs::checked(config.name, value.as_deref()).map_err(invalid)?;
        settings.configs.insert(name, value);
    }
    Ok(settings)
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn joined(list: &str, more: &str) -> String {
    let mut all: Vec<&str> = parts(list).collect();
    for part in parts(more) {
        if !all.contains(&part) {
            all.push(part);
        }
    }
    all.join(",")
}

fn without(list: &str, less: &str) -> String {
    let less: BTreeSet<&str> = parts(less).collect();
    parts(list).filter(|part| !less.contains(part)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink_by_their_parts() {
        assert_eq!(joined("delete", "compact, delete"), "delete,compact");
        assert_eq!(joined("", "compact"), "compact");
        assert_eq!(without("delete,compact", "delete"), "compact");
        assert_eq!(without("delete", "delete"), "");
    }
}
