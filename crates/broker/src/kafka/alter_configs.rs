//! AlterConfigs: replaces all configs of resources; what the request leaves out follows the broker again.

use super::{
    call::{Call, Refused},
    config_change,
    config_resource::Resource,
    repeated::Repeated,
};
use crate::settings::{Configs, Effective};
use keyway_kafka_wire::messages::{AlterConfigsRequest, AlterConfigsResponse, alter_configs::*};
use keyway_record::ErrorCode;

pub(super) async fn handle(call: &Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut repeated =
        Repeated::of(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for AlterConfigsResource { resource_type, resource_name, configs } in request.resources {
        let replaced = |resource: &_, settings: &_| replaced(resource, settings, &configs);
        let resource = (resource_type, resource_name);
        let named = repeated.named(&resource);
        let (error_code, error_message) =
            config_change::change(call, (named, &resource), request.validate_only, replaced).await;
        let (resource_type, resource_name) = resource;
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

fn replaced(
    resource: &Resource,
    settings: &Effective,
    given: &[AlterableConfig],
) -> Result<Configs, Refused> {
    if matches!(resource, Resource::Loggers(_)) {
        let message = "levels of loggers are changed one by one, by IncrementalAlterConfigs";
        return Err((ErrorCode::InvalidRequest, message.to_owned()));
    }
    config_change::check_request(given.iter().map(|one| (one.name.as_str(), one.value.as_deref())))?;
    let mut configs = Configs::new();
    for config in given {
        let value = config.value.as_deref().unwrap_or_default().trim();
        resource.check(settings, &config.name, value)?;
        configs.insert(config.name.clone(), value.to_owned());
    }
    Ok(configs)
}
