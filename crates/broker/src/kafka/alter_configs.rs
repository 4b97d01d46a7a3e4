//! AlterConfigs: replaces all configs of topics; what the request leaves out follows the broker again.

use super::{
    call::Call,
    config_change::{self, Refused, Resource, invalid, twice},
};
use crate::topics::{Topic, TopicSettings, configs};
use keyway_kafka_wire::messages::{AlterConfigsRequest, AlterConfigsResponse, alter_configs::*};
use std::collections::BTreeMap;

pub(super) async fn handle(call: &Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for AlterConfigsResource { resource_type, resource_name, configs } in request.resources {
        let resource = Resource { kind: resource_type, name: &resource_name };
        let replaced = |_: &_, topic: &Topic| replaced(topic, &configs);
        let (error_code, error_message) =
            config_change::change(call, resource, request.validate_only, replaced).await;
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

/// The topic's settings with these configs in place of its own.
fn replaced(topic: &Topic, given: &[AlterableConfig]) -> Result<TopicSettings, Refused> {
    let mut configs = BTreeMap::new();
    for config in given {
        let (name, value) = configs::checked(&config.name, config.value.as_deref()).map_err(invalid)?;
        if configs.insert(name, value).is_some() {
            return Err(twice(&config.name));
        }
    }
    Ok(TopicSettings { configs, ..topic.settings.clone() })
}
