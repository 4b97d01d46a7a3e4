//! Regular expressions for whole names, as clients send them: Kafka's syntax, which is RE2's.

use keyway_record::ErrorCode;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;

/// Most bytes that a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// An expression that a whole name has to match.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl NamePattern {
    /// Compiles an expression; [`ErrorCode::InvalidRegularExpression`] for what is none, or would take too much memory.
    pub fn new(text: &str) -> Result<Self, ErrorCode> {
        let invalid = |_| ErrorCode::InvalidRegularExpression;
        // By itself first: brackets that only fit those around it must not pass.
        let quoted = unquoted(text);
        let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        compile(&quoted).map_err(invalid)?;
        compile(&format!("^(?:{quoted})$")).map(Self).map_err(invalid)
    }

    /// Whether the name matches as a whole. Takes time linear in the name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
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

    #[test]
    fn quoted_text_is_literal() {
        for (pattern, name) in [(r"\Qorders.eu\E", "orders.eu"), (r"orders\Q.\E.u|\Qmy.", "orders.eu")] {
            let pattern = NamePattern::new(pattern).unwrap();
            assert!(pattern.matches(name) && !pattern.matches("orders-eu"));
        }
        assert_eq!(unquoted(r"\\Q\Q.*\E\d"), r"\\Q\.\*\d");
    }

    #[test]
    fn the_whole_name_has_to_match() {
        let pattern = NamePattern::new("my|orders").unwrap();
        assert!(pattern.matches("orders") && !pattern.matches("my.orders"));
    }

    #[test]
    fn expressions_that_are_none_are_refused() {
        for pattern in ["(", "a)(b", "[", "*", r"(?=a)", r"\8", "(a{1000}){1000}"] {
            assert_eq!(
                NamePattern::new(pattern).err(),
                Some(ErrorCode::InvalidRegularExpression),
                "{pattern}"
            );
        }
    }
}
