//! DescribeAcls: the access rules that match a filter.

use super::{
    acl_rule::{self, WireFilter},
    call::{Call, Refused},
};
use crate::access::RuleChangeError;
use keyway_access::{
    Operation, Resource,
    acl::{Pattern, Rule},
};
use keyway_kafka_wire::messages::{DescribeAclsRequest, DescribeAclsResponse, describe_acls::*};
use std::collections::BTreeMap;

pub(super) fn handle(call: &Call<'_>, request: DescribeAclsRequest) -> DescribeAclsResponse {
    match rules(call, request) {
        Ok(rules) => DescribeAclsResponse { resources: by_pattern(rules), ..Default::default() },
        Err((error, message)) => DescribeAclsResponse {
            error_code: error.code(),
            error_message: Some(message),
            ..Default::default()
        },
    }
}

fn rules(call: &Call<'_>, request: DescribeAclsRequest) -> Result<Vec<Rule>, Refused> {
    call.permit(Operation::Describe, Resource::CLUSTER)?;
    let filter = WireFilter {
        resource_type: request.resource_type_filter,
        name: request.resource_name_filter,
        pattern_type: request.pattern_type_filter,
        principal: request.principal_filter,
        host: request.host_filter,
        operation: request.operation,
        permission: request.permission_type,
    };
    let disabled = || acl_rule::refused(&RuleChangeError::Disabled);
    call.node.access.rules(&filter.read()?).ok_or_else(disabled)
}

fn by_pattern(rules: Vec<Rule>) -> Vec<DescribeAclsResource> {
    let mut patterns: BTreeMap<Pattern, Vec<AclDescription>> = BTreeMap::new();
    for rule in rules {
        patterns.entry(rule.pattern).or_default().push(AclDescription {
            principal: rule.principal,
            host: rule.host,
            operation: rule.operation.code(),
            permission_type: rule.permission.code(),
        });
    }
    let resource = |(pattern, acls): (Pattern, _)| DescribeAclsResource {
        resource_type: pattern.resource_type.code(),
        resource_name: pattern.name,
        pattern_type: pattern.pattern_type.code(),
        acls,
    };
    patterns.into_iter().map(resource).collect()
}
