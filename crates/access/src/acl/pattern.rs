//! Which resources a rule is about.

use crate::{Resource, ResourceType};

/// The name that stands for every resource of its type, in a literal pattern.
pub(super) const EVERY_NAME: &str = "*";

/// How a pattern's name is meant, with Kafka's code for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum PatternType {
    /// The resource of exactly this name; `*` is every one.
    Literal = 3,
    /// The resources whose names begin with this one.
    Prefixed = 4,
}

impl PatternType {
    /// Kafka's number for it.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The type of this number; those that only filters have are none.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Literal, Self::Prefixed].into_iter().find(|kind| kind.code() == code)
    }
}

/// Resources of one type, by their names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pattern {
    /// Their type.
    pub resource_type: ResourceType,
    /// Their name, or what it begins with.
    pub name: String,
    /// Which of the two.
    pub pattern_type: PatternType,
}

impl Pattern {
    /// The resources whose name is `name`; `*` is all of them.
    pub fn literal(resource_type: ResourceType, name: impl Into<String>) -> Self {
        Self { resource_type, name: name.into(), pattern_type: PatternType::Literal }
    }

    /// The resources whose names begin with `name`.
    pub fn prefixed(resource_type: ResourceType, name: impl Into<String>) -> Self {
        Self { resource_type, name: name.into(), pattern_type: PatternType::Prefixed }
    }

    /// Whether `resource` is among them.
    #[must_use]
    pub fn matches(&self, resource: Resource<'_>) -> bool {
        self.resource_type == resource.kind && self.matches_name(resource.name)
    }

    pub(super) fn matches_name(&self, name: &str) -> bool {
        match self.pattern_type {
            PatternType::Literal => self.name == name || self.name == EVERY_NAME,
            PatternType::Prefixed => name.starts_with(&self.name),
        }
    }
}
