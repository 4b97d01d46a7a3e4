//! Which user a client certificate stands for: Kafka's `ssl.principal.mapping.rules`.
//!
//! Rules are tried in their order on the certificate's distinguished name, as in
//! `RULE:^CN=(.*?),OU=.*$/$1/L, DEFAULT`: a pattern for the whole name, what it becomes, and `L` or `U` for lower or upper
//! case. `DEFAULT` is the name as it is.

use crate::Principal;
use regex::{Captures, Regex};

/// Most bytes that the automaton of one pattern may take.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// The rules of one listener.
#[derive(Clone, Debug)]
pub struct PrincipalMapping {
    rules: Vec<Rule>,
}

/// Why rules cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MappingError {
    /// A rule has another form.
    #[error("'{rule}' is no rule; write RULE:pattern/replacement/ with L or U behind it, or DEFAULT")]
    Form {
        /// From where on it cannot be read.
        rule: String,
    },
    /// The pattern of a rule is no regular expression.
    #[error("the pattern '{pattern}' cannot be read: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace { whole: Regex, pattern: Regex, replacement: Vec<Piece>, case: Case },
}

/// What a replacement is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl PrincipalMapping {
    /// Reads rules with commas between them.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = take_rule(rest)?;
            rules.push(rule);
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(MappingError::Form { rule: after.to_owned() }),
            };
        }
        Ok(Self { rules })
    }

    /// The user of this distinguished name; `None` if no rule fits.
    #[must_use]
    pub fn principal(&self, distinguished_name: &str) -> Option<Principal> {
        let name = self.rules.iter().find_map(|rule| rule.apply(distinguished_name));
        name.filter(|name| !name.is_empty()).map(Principal::user)
    }
}

impl Default for PrincipalMapping {
    fn default() -> Self {
        Self { rules: vec![Rule::Default] }
    }
}

impl Rule {
    fn apply(&self, name: &str) -> Option<String> {
        match self {
            Self::Default => Some(name.to_owned()),
            Self::Replace { whole, .. } if !whole.is_match(name) => None,
            Self::Replace { pattern, replacement, case, .. } => {
                let replaced = pattern.replace_all(name, |groups: &Captures<'_>| expand(replacement, groups));
                Some(match case {
                    Case::Kept => replaced.into_owned(),
                    Case::Lower => replaced.to_lowercase(),
                    Case::Upper => replaced.to_uppercase(),
                })
            }
        }
    }
}

fn expand(pieces: &[Piece], groups: &Captures<'_>) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Group(index) => groups.get(*index).map_or("", |group| group.as_str()).to_owned(),
    };
    pieces.iter().map(text).collect()
}

/// The first rule of a text, and what is behind it.
fn take_rule(text: &str) -> Result<(Rule, &str), MappingError> {
    if let Some(after) = text.strip_prefix("DEFAULT") {
        return Ok((Rule::Default, after));
    }
    let wrong = || MappingError::Form { rule: text.to_owned() };
    let rest = text.strip_prefix("RULE:").ok_or_else(wrong)?;
    let (pattern, rest) = take_part(rest).ok_or_else(wrong)?;
    let (replacement, rest) = take_part(rest).ok_or_else(wrong)?;
    let (case, rest) = match rest.as_bytes().first() {
        Some(b'L') => (Case::Lower, &rest[1..]),
        Some(b'U') => (Case::Upper, &rest[1..]),
        _ => (Case::Kept, rest),
    };
    let compiled = |text: &str| {
        let built = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        built.map_err(|error| MappingError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        })
    };
    let (whole, compiled) = (compiled(&format!("^(?:{pattern})$"))?, compiled(pattern)?);
    let replacement = pieces(replacement, compiled.captures_len() - 1);
    Ok((Rule::Replace { whole, pattern: compiled, replacement, case }, rest))
}

/// Up to the next slash that has no backslash before it.
fn take_part(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'/' => return Some((&text[..index], &text[index + 1..])),
            _ => {}
        }
    }
    None
}

/// Java's `$1` and `\$`. Of a number that no group has, digits are given back until one has it, or it is text.
fn pieces(replacement: &str, groups: usize) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut text = String::new();
    let mut chars = replacement.char_indices();
    while let Some((index, char)) = chars.next() {
        let digits = replacement[index + char.len_utf8()..].bytes().take_while(u8::is_ascii_digit).count();
        match char {
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            '$' => {
                let fits = (1..=digits.min(3)).rev().find_map(|len| {
                    let number: usize = replacement[index + 1..=index + len].parse().ok()?;
                    (number <= groups).then_some((number, len))
                });
                let Some((number, len)) = fits else {
                    text.push(char);
                    continue;
                };
                if !text.is_empty() {
                    all.push(Piece::Text(std::mem::take(&mut text)));
                }
                all.push(Piece::Group(number));
                chars.nth(len - 1);
            }
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        all.push(Piece::Text(text));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::select};
    use std::time::{Duration, Instant};

    /// Pieces of rules, right and wrong ones, in any order.
    fn rules() -> impl Strategy<Value = String> {
        const PATTERN: &[&str] = &[
            "^", "$", "CN=", "(.*?)", "(.*)", "[^,]+", "(a|b)*", "(?i:x)", "\\/", "\\d", ".", "?", "+",
            "{2,5}", ",OU=", "(", ")", "[", "|", "\\", "é",
        ];
        const REPLACEMENT: &[&str] =
            &["$1", "$2", "$12", "$0", "$", "\\", "\\$", "\\/", "x", "é", "$99999999999999999999"];
        const ENDING: &[&str] = &["", "L", "U", "X", " ", ",", ", DEFAULT"];
        let part = |pieces: &'static [&'static str]| vec(select(pieces), 0..6).prop_map(|all| all.concat());
        let rule = (part(PATTERN), part(REPLACEMENT), select(ENDING));
        let rule =
            rule.prop_map(|(pattern, replacement, ending)| format!("RULE:{pattern}/{replacement}/{ending}"));
        prop_oneof![4 => vec(rule, 1..4).prop_map(|all| all.join(",")), 1 => any::<String>()]
    }

    fn name() -> impl Strategy<Value = String> {
        const PIECES: &[&str] =
            &["CN=", "OU=", ",", "a", "b", "x", "12", "\\,", "é", "ß", "İ", " ", "/", "$1"];
        prop_oneof![3 => vec(select(PIECES), 0..20).prop_map(|all| all.concat()), 1 => any::<String>()]
    }

    proptest! {
        /// Rules are read or refused, and put to any name, without a panic; nobody gets an empty name.
        #[test]
        fn any_rules_are_put_to_any_name(rules in rules(), name in name()) {
            if let Ok(mapping) = PrincipalMapping::parse(&rules) {
                let principal = mapping.principal(&name);
                prop_assert!(principal.is_none_or(|principal| !principal.name().is_empty()));
            }
        }

        /// A pattern that takes the whole name in parts, and a replacement that puts them together again.
        #[test]
        fn what_is_taken_apart_is_put_together(parts in vec("[^\u{0}-\u{1f}\u{85}\u{2028}\u{2029}=]{0,12}", 1..9)) {
            let groups: Vec<String> = (1..=parts.len()).map(|number| format!("${number}")).collect();
            let rules = format!("RULE:^{}$/{}/", vec!["([^=]*)"; parts.len()].join("="), groups.join("="));
            let name = parts.join("=");
            let principal = PrincipalMapping::parse(&rules).unwrap().principal(&name);
            prop_assert_eq!(principal.map(|one| one.name().to_owned()), Some(name).filter(|name| !name.is_empty()));
        }
    }

    /// Patterns that take exponential time where they are tried by going back, and one that takes quadratic time here.
    #[allow(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
    #[test]
    fn a_name_takes_a_bounded_time() {
        let name = format!("{}!", "A".repeat(4_096));
        for pattern in
            ["(A*)*B", "(A|A)*!", "(A|AA)+B", "(.*?){1,20}B", "(.*)(.*)(.*)(.*)(.*)B", ".*!!|A|.*!"]
        {
            let mapping = PrincipalMapping::parse(&format!("RULE:{pattern}/$0$0/U, DEFAULT")).unwrap();
            let begun = Instant::now();
            assert!(mapping.principal(&name).is_some(), "{pattern}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{pattern} took {:?}", begun.elapsed());
        }
    }

    fn mapped(rules: &str, name: &str) -> Option<String> {
        let principal = PrincipalMapping::parse(rules).unwrap().principal(name);
        principal.map(|principal| principal.name().to_owned())
    }

    /// Examples of Kafka's documentation, and what Kafka 4.3's `SslPrincipalMapper` makes of them.
    #[test]
    fn names_become_what_kafka_makes_of_them() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, \
                     RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L, DEFAULT";
        for (name, user) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "Duke"),
            ("CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", "duke@sme"),
            ("cn=JohnDoe,OU=SME", "johndoe"),
            ("OU=JavaSoft", "OU=JavaSoft"),
        ] {
            assert_eq!(mapped(rules, name).as_deref(), Some(user), "{name}");
        }
        assert_eq!(mapped("RULE:^CN=(.*),O=(.*)$/$2\\/$1-$3\\$/U", "CN=a,O=b").as_deref(), Some("B/A-$3$"));
        assert_eq!(mapped("RULE:^CN=(.*)$/$12/", "CN=a").as_deref(), Some("a2"));
        assert_eq!(mapped("RULE:^CN=a$/x/", "CN=b"), None, "no rule fits");
        assert_eq!(mapped("RULE:^CN=(.*)$/$1/", "CN="), None, "nobody has an empty name");
        assert_eq!(mapped("DEFAULT", "CN=a").as_deref(), Some("CN=a"));
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for rules in ["RULE:^CN=(.*)$", "RULE:a/b", "default", "RULE:a/b/X", "RULE:a/b/ DEFAULT"] {
            assert!(matches!(PrincipalMapping::parse(rules), Err(MappingError::Form { .. })), "{rules}");
        }
        for rules in ["RULE:(/x/", "RULE:(?=a)b/x/"] {
            assert!(matches!(PrincipalMapping::parse(rules), Err(MappingError::Pattern { .. })), "{rules}");
        }
    }
}
