//! Which topics a member is subscribed to: by name, and by a regular expression that the broker matches.

use crate::{catalog::Catalog, name_pattern::NamePattern};
use keyway_record::{ErrorCode, TopicName};
use std::{collections::BTreeSet, sync::Arc};

/// A member's subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscription {
    /// Names, of topics that exist or not.
    pub(crate) names: BTreeSet<Arc<str>>,
    /// The expression's text.
    pub(crate) pattern: Option<Arc<str>>,
}

/// An expression and the topics that it matches.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    names: NamePattern,
    pub(crate) topics: BTreeSet<TopicName>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, ErrorCode> {
        Ok(Self { names: NamePattern::new(text)?, topics: BTreeSet::new() })
    }

    /// Looks which topics match now.
    pub(crate) fn resolve(&mut self, catalog: &Catalog) {
        let matching = catalog.topics().filter(|(name, _)| self.names.matches(name.as_str()));
        self.topics = matching.map(|(name, _)| name.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogTopic;
    use keyway_record::TopicId;

    fn matches(pattern: &str) -> Vec<String> {
        let topic = CatalogTopic { id: TopicId::ZERO, partitions: 1 };
        let names = ["orders", "orders.eu", "orders-x", "my.orders"];
        let catalog = Catalog::new(names.map(|name| (TopicName::new(name).unwrap(), topic)));
        let mut pattern = Pattern::new(pattern).unwrap();
        pattern.resolve(&catalog);
        pattern.topics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_whole_name_has_to_match() {
        assert_eq!(matches("orders"), ["orders"]);
        assert_eq!(matches("orders.*"), ["orders", "orders-x", "orders.eu"]);
        assert_eq!(matches("my|orders"), ["orders"]);
        assert_eq!(matches(r".*\.orders$"), ["my.orders"]);
        assert!(matches("").is_empty());
    }
}
