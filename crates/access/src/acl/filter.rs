//! Which rules are to be listed or removed.

use super::{Pattern, PatternType, Permission, Rule};
use crate::{Operation, ResourceType};

/// How the name of a filter is meant, with Kafka's code for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum PatternFilter {
    /// Patterns of this very name, of any type.
    Any = 1,
    /// Patterns that match the resource of this name.
    Match = 2,
    /// Literal patterns of this very name.
    Literal = 3,
    /// Prefixed patterns of this very name.
    Prefixed = 4,
}

impl PatternFilter {
    /// All of them, by code.
    pub const ALL: [Self; 4] = [Self::Any, Self::Match, Self::Literal, Self::Prefixed];

    /// Kafka's number for it.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The filter of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.code() == code)
    }
}

/// Some of the rules; `None` is any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleFilter {
    /// The type of their resources.
    pub resource_type: Option<ResourceType>,
    /// The name of their pattern, or of a resource that it matches.
    pub name: Option<String>,
    /// Which of the two, and of patterns of which type.
    pub pattern: PatternFilter,
    /// Whom they are about.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// Which operation they name; one that it implies is another.
    pub operation: Option<Operation>,
    /// Whether they grant or take.
    pub permission: Option<Permission>,
}

impl RuleFilter {
    /// All rules.
    pub const ALL: Self = Self {
        resource_type: None,
        name: None,
        pattern: PatternFilter::Any,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };

    /// Whether `rule` is one of them.
    #[must_use]
    pub fn matches(&self, rule: &Rule) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.resource_type.as_ref(), &rule.pattern.resource_type)
            && is(self.principal.as_ref(), &rule.principal)
            && is(self.host.as_ref(), &rule.host)
            && is(self.operation.as_ref(), &rule.operation)
            && is(self.permission.as_ref(), &rule.permission)
            && self.matches_name(&rule.pattern)
    }

    fn matches_name(&self, pattern: &Pattern) -> bool {
        let (type_fits, name_fits): (bool, fn(&Pattern, &str) -> bool) = match self.pattern {
            PatternFilter::Any => (true, |pattern, name| pattern.name == name),
            PatternFilter::Match => (true, Pattern::matches_name),
            PatternFilter::Literal => {
                (pattern.pattern_type == PatternType::Literal, |pattern, name| pattern.name == name)
            }
            PatternFilter::Prefixed => {
                (pattern.pattern_type == PatternType::Prefixed, |pattern, name| pattern.name == name)
            }
        };
        type_fits && self.name.as_deref().is_none_or(|name| name_fits(pattern, name))
    }
}
