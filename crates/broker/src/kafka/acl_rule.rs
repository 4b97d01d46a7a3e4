//! Access rules and filters as requests write them.

use super::call::Refused;
use crate::access::RuleChangeError;
use keyway_access::{
    Operation, ResourceType,
    acl::{Pattern, PatternFilter, PatternType, Permission, Rule, RuleFilter},
};
use keyway_kafka_wire::messages::create_acls::AclCreation;
use keyway_record::ErrorCode;

/// The code of a filter that takes any.
const ANY: i8 = 1;

/// A filter with Kafka's codes, as two requests have it.
pub(super) struct WireFilter {
    pub(super) resource_type: i8,
    pub(super) name: Option<String>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<String>,
    pub(super) host: Option<String>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

fn known<T>(what: &str, code: i8, of: impl FnOnce(i8) -> Option<T>) -> Result<T, Refused> {
    of(code).ok_or_else(|| (ErrorCode::InvalidRequest, format!("{code} is no {what}")))
}

fn any_or<T>(what: &str, code: i8, of: impl FnOnce(i8) -> Option<T>) -> Result<Option<T>, Refused> {
    if code == ANY { Ok(None) } else { known(what, code, of).map(Some) }
}

impl WireFilter {
    pub(super) fn read(self) -> Result<RuleFilter, Refused> {
        Ok(RuleFilter {
            resource_type: any_or("type of resource", self.resource_type, ResourceType::from_code)?,
            name: self.name,
            pattern: known("type of pattern", self.pattern_type, PatternFilter::from_code)?,
            principal: self.principal,
            host: self.host,
            operation: any_or("operation", self.operation, Operation::from_code)?,
            permission: any_or("permission", self.permission, Permission::from_code)?,
        })
    }
}

/// The rule that a request wants to have, if it can be one.
pub(super) fn created(asked: AclCreation) -> Result<Rule, Refused> {
    let rule = Rule {
        pattern: Pattern {
            resource_type: known("type of resource", asked.resource_type, ResourceType::from_code)?,
            name: asked.resource_name,
            pattern_type: known("type of pattern", asked.resource_pattern_type, PatternType::from_code)?,
        },
        principal: asked.principal,
        host: asked.host,
        operation: known("operation", asked.operation, Operation::from_code)?,
        permission: known("permission", asked.permission_type, Permission::from_code)?,
    };
    rule.check().map_err(|error| (ErrorCode::InvalidRequest, error.to_string()))?;
    Ok(rule)
}

/// Code and message for rules that were not changed.
pub(super) fn refused(error: &RuleChangeError) -> Refused {
    let code = match error {
        RuleChangeError::Disabled => ErrorCode::SecurityDisabled,
        RuleChangeError::TooMany => ErrorCode::InvalidRequest,
        RuleChangeError::Record(error) => super::topic_error::of_internal(error),
    };
    (code, error.to_string())
}
