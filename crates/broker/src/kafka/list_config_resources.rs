//! ListConfigResources: what has configs.

use super::{
    call::Call,
    config_resource::{BROKER, BROKER_LOGGER, GROUP, TOPIC},
};
use crate::node::NODE_ID;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{
    ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources::ConfigResource,
};

/// Version 0 lists the subscriptions of client metrics only, of which there are none.
const ALL_FROM: i16 = 1;

pub(super) fn handle(call: &Call<'_>, request: &ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    if let Err(error) = call.check(Operation::DescribeConfigs, Resource::CLUSTER) {
        return ListConfigResourcesResponse { error_code: error.code(), ..Default::default() };
    }
    let is_wanted = |resource_type: i8| {
        request.resource_types.is_empty() || request.resource_types.contains(&resource_type)
    };
    let mut config_resources = Vec::new();
    if call.version() >= ALL_FROM {
        let mut list = |resource_type, names: Vec<String>| {
            let resource = |resource_name| ConfigResource { resource_name, resource_type };
            if is_wanted(resource_type) {
                config_resources.extend(names.into_iter().map(resource));
            }
        };
        list(TOPIC, call.node.topics.all().iter().map(|topic| topic.name.to_string()).collect());
        list(BROKER, vec![NODE_ID.to_string()]);
        list(BROKER_LOGGER, call.node.loggers.iter().map(|_| NODE_ID.to_string()).collect());
        list(GROUP, call.node.settings.now().groups().map(str::to_owned).collect());
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}
