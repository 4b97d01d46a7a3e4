//! DeleteAcls: removes the access rules that match filters, and tells which they were.

use super::{
    acl_rule::{self, WireFilter},
    call::{Call, Refused},
};
use keyway_access::{
    Operation, Resource,
    acl::{Rule, RuleFilter},
};
use keyway_kafka_wire::messages::{DeleteAclsRequest, DeleteAclsResponse, delete_acls::*};

pub(super) async fn handle(call: &Call<'_>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let filters: Vec<Result<RuleFilter, Refused>> = request.filters.into_iter().map(read).collect();
    let good: Vec<RuleFilter> = filters.iter().flatten().cloned().collect();
    let removed = match call.permit(Operation::Alter, Resource::CLUSTER) {
        Err(refused) => Err(refused),
        Ok(()) => {
            call.node.access.remove(call.caller, &good).await.map_err(|error| acl_rule::refused(&error))
        }
    };
    let (mut removed, of_all) = match removed {
        Ok(removed) => (removed.into_iter(), None),
        Err(refused) => (Vec::new().into_iter(), Some(refused)),
    };
    let results = filters.into_iter().map(|filter| match (&of_all, filter) {
        (Some(refused), _) => result(Err(refused.clone())),
        (None, Err(refused)) => result(Err(refused)),
        (None, Ok(_)) => result(Ok(removed.next().expect("each filter has its rules"))),
    });
    DeleteAclsResponse { filter_results: results.collect(), ..Default::default() }
}

fn read(filter: DeleteAclsFilter) -> Result<RuleFilter, Refused> {
    WireFilter {
        resource_type: filter.resource_type_filter,
        name: filter.resource_name_filter,
        pattern_type: filter.pattern_type_filter,
        principal: filter.principal_filter,
        host: filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    }
    .read()
}

fn result(removed: Result<Vec<Rule>, Refused>) -> DeleteAclsFilterResult {
    match removed {
        Ok(rules) => DeleteAclsFilterResult {
            error_message: None,
            matching_acls: rules.into_iter().map(matching).collect(),
            ..Default::default()
        },
        Err((error, message)) => DeleteAclsFilterResult {
            error_code: error.code(),
            error_message: Some(message),
            ..Default::default()
        },
    }
}

fn matching(rule: Rule) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: rule.pattern.resource_type.code(),
        resource_name: rule.pattern.name,
        pattern_type: rule.pattern.pattern_type.code(),
        principal: rule.principal,
        host: rule.host,
        operation: rule.operation.code(),
        permission_type: rule.permission.code(),
        ..Default::default()
    }
}
