//! One access rule: Kafka's AclBinding.

use super::{Pattern, Permission};
use crate::{Operation, Resource, ResourceType};
use std::{fmt, net::IpAddr};

/// The host that stands for every address.
pub(super) const EVERY_HOST: &str = "*";

/// Longest name, principal or host of a rule, bytes. The longest names of all are those of TLS certificates.
const TEXT_BYTES_MAX: usize = 4_096;

/// Who may, or may not, do what to which resources, from where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule {
    /// The resources.
    pub pattern: Pattern,
    /// Who, as `User:NAME`; `User:*` is everybody.
    pub principal: String,
    /// The address that requests come from; `*` is every one. A name of a host matches nothing.
    pub host: String,
    /// What.
    pub operation: Operation,
    /// May or may not.
    pub permission: Permission,
}

/// Why a rule cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// The resource has no name.
    #[error("the rule names no resource; '*' stands for all of its type")]
    NoName,
    /// There is one cluster.
    #[error("the only valid name for the cluster is {}", Resource::CLUSTER.name)]
    Cluster,
    /// The principal has no type.
    #[error("{principal:?} is no principal; write it as User:NAME")]
    Principal {
        /// What it was to be.
        principal: String,
    },
    /// No request comes from there.
    #[error("the rule names no host; '*' stands for every address")]
    NoHost,
    /// A text is too long to be kept.
    #[error("the rule's {what} has {bytes} bytes; {TEXT_BYTES_MAX} are allowed")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
}

impl Rule {
    /// Whether the rule is one that can be kept.
    pub fn check(&self) -> Result<(), RuleError> {
        for (what, text) in
            [("resource name", &self.pattern.name), ("principal", &self.principal), ("host", &self.host)]
        {
            if text.len() > TEXT_BYTES_MAX {
                return Err(RuleError::TooLong { what, bytes: text.len() });
            }
        }
        if self.pattern.name.is_empty() {
            return Err(RuleError::NoName);
        }
        if self.pattern.resource_type == ResourceType::Cluster && self.pattern.name != Resource::CLUSTER.name
        {
            return Err(RuleError::Cluster);
        }
        if !self.principal.contains(':') {
            return Err(RuleError::Principal { principal: self.principal.clone() });
        }
        if self.host.is_empty() {
            return Err(RuleError::NoHost);
        }
        Ok(())
    }

    /// The user that the rule is about, `*` for all; `None` for a principal that is no user.
    pub(super) fn user(&self) -> Option<&str> {
        self.principal.strip_prefix("User:")
    }

    /// What the rule says to who wants `operation` done from `address`; whose and to what is not looked at.
    pub(super) fn says(&self, operation: Operation, address: IpAddr) -> Option<Permission> {
        (self.covers(operation) && host_matches(&self.host, address)).then_some(self.permission)
    }

    /// A grant of an operation is one of what it cannot be done without; a denial is of itself alone.
    fn covers(&self, operation: Operation) -> bool {
        use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
        if self.operation == All || self.operation == operation {
            return true;
        }
        self.permission == Permission::Allow
            && match operation {
                Describe => matches!(self.operation, Read | Write | Delete | Alter),
                DescribeConfigs => self.operation == AlterConfigs,
                _ => false,
            }
    }
}

/// Addresses are compared as such, so that every way to write one is the same.
pub(super) fn host_matches(host: &str, address: IpAddr) -> bool {
    host == EVERY_HOST
        || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == address.to_canonical())
}

impl fmt::Display for Rule {
    /// The rule in a line: `User:alice may Read Topic orders from *`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, principal, host, operation, permission } = self;
        let may = match permission {
            Permission::Allow => "may",
            Permission::Deny => "may not",
        };
        let kind = match pattern.pattern_type {
            super::PatternType::Literal => "",
            super::PatternType::Prefixed => "prefix ",
        };
        let (resource, name) = (pattern.resource_type, &pattern.name);
        write!(f, "{principal} {may} {operation:?} {resource:?} {kind}{name} from {host}")
    }
}
