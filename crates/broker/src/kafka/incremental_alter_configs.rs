//! IncrementalAlterConfigs: sets and unsets configs of resources.

use super::{
    call::{Call, Refused},
    config_change,
    config_resource::Resource,
    repeated::Repeated,
};
use crate::settings::{Configs, Effective, Kind};
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
    let mut repeated =
        Repeated::of(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for AlterConfigsResource { resource_type, resource_name, configs } in request.resources {
        let altered = |resource: &_, settings: &_| altered(resource, settings, &configs);
        let resource = (resource_type, resource_name);
        let named = repeated.named(&resource);
        let (error_code, error_message) =
            config_change::change(call, (named, &resource), request.validate_only, altered).await;
        let (resource_type, resource_name) = resource;
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// The resource's configs with all changes, or why one of them is refused.
fn altered(
    resource: &Resource,
    settings: &Effective,
    changes: &[AlterableConfig],
) -> Result<Configs, Refused> {
    config_change::check_request(changes.iter().map(|one| (one.name.as_str(), value_of(one))))?;
    let mut configs = resource.own(settings);
    for change in changes {
        let kind = resource.kind(&change.name)?;
        let value = value_of(change).unwrap_or_default();
        let current = || match configs.get(&change.name) {
            Some(own) => own.clone(),
            None => resource.inherited(settings, &change.name),
        };
        let value = match change.config_operation {
            SET => value.to_owned(),
            DELETE => {
                configs.remove(&change.name);
                continue;
            }
            APPEND | SUBTRACT if matches!(resource, Resource::Loggers(_)) => {
                return Err((ErrorCode::InvalidRequest, "the level of a logger is not a list".to_owned()));
            }
            APPEND | SUBTRACT if !kind.is_some_and(Kind::is_list) => {
                return Err((ErrorCode::InvalidConfig, format!("{} is not a list", change.name)));
            }
            APPEND => joined(&current(), value),
            SUBTRACT => without(&current(), value),
            other => return Err((ErrorCode::InvalidRequest, format!("{other} is no operation on a config"))),
        };
        resource.check(settings, &change.name, &value)?;
        configs.insert(change.name.clone(), value);
    }
    Ok(configs)
}

/// The value; what is unset needs none.
fn value_of(change: &AlterableConfig) -> Option<&str> {
    match change.config_operation {
        DELETE => Some(""),
        _ => change.value.as_deref().map(str::trim),
    }
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
