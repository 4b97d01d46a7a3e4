//! Which topics a member is subscribed to: by name, and by a regular expression that the broker matches.

use crate::catalog::Catalog;
use keyway_record::{ErrorCode, TopicName};
use regex::{Regex, RegexBuilder};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// Most bytes that a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A member's subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscription {
    /// Names, of topics that exist or not.
    pub(crate) names: BTreeSet<Arc<str>>,
    /// The expression's text.
    pub(crate) pattern: Option<Arc<str>>,
}

/// An expression and the topics whose whole name it matches.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    pub(crate) topics: BTreeSet<TopicName>,
}

impl Pattern {
    /// Compiles Kafka's (RE2's) syntax. Matching takes time linear in the name.
    pub(crate) fn new(text: &str) -> Result<Self, ErrorCode> {
        let invalid = |_| ErrorCode::InvalidRegularExpression;
        // By itself first: brackets that only fit those around it must not pass.
        let quoted = unquoted(text);
        let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        compile(&quoted).map_err(invalid)?;
        let regex = compile(&format!("^(?:{quoted})$")).map_err(invalid)?;
        Ok(Self { regex, topics: BTreeSet::new() })
    }

    /// Looks which topics match now.
    pub(crate) fn resolve(&mut self, catalog: &Catalog) {
        let matching = catalog.topics().filter(|(name, _)| self.regex.is_match(name.as_str()));
        self.topics = matching.map(|(name, _)| name.clone()).collect();
    }
}

/// RE2 knows `\Q…\E`, text that is meant literally, and our library does not: the same text with escapes.
fn unquoted(text: &str) -> Cow<'_, str> {
    if !text.contains(r"\Q") {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        let (before, after) = rest.split_at(backslash);
        plain.push_str(before);
        if let Some(quoted) = after.strip_prefix(r"\Q") {
            let (literal, following) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(literal));
            rest = following;
        } else {
            let escaped = after.char_indices().nth(2).map_or(after.len(), |(end, _)| end);
            plain.push_str(&after[..escaped]);
            rest = &after[escaped..];
        }
    }
    plain.push_str(rest);
    plain.into()
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

    #[test]
    fn quoted_text_is_literal() {
        assert_eq!(matches(r"\Qorders.eu\E"), ["orders.eu"]);
        assert_eq!(matches(r"orders\Q.\E.u|\Qmy."), ["orders.eu"]);
        assert_eq!(unquoted(r"\\Q\Q.*\E\d"), r"\\Q\.\*\d");
    }

    #[test]
    fn expressions_that_are_none_are_refused() {
        for pattern in ["(", "a)(b", "[", "*", r"(?=a)", r"\8", "(a{1000}){1000}"] {
            assert_eq!(Pattern::new(pattern).err(), Some(ErrorCode::InvalidRegularExpression), "{pattern}");
        }
    }
}
