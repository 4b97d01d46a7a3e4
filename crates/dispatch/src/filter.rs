//! Which declarations want a key.

use crate::glob::glob_matches;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use keyway_record::KeyHash;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// All patterns of a subscription, sorted by what they are so that a key costs the same however many there are: whole
/// keys, prefixes and suffixes by lookup; the rest by one search for each pattern's most telling literal (the one that
/// the fewest patterns have, of these the longest), which the matcher then verifies; patterns without a literal one by
/// one.
#[derive(Debug, Default)]
pub struct FilterIndex {
    exact: Literals,
    /// By length.
    prefixes: Vec<(usize, Literals)>,
    suffixes: Vec<(usize, Literals)>,
    /// Finds the most telling literals of `general`, by its indices.
    search: Option<AhoCorasick>,
    general: Vec<(Vec<u8>, u32)>,
    /// Patterns of `*` and `?` alone.
    bare: Vec<(Vec<u8>, u32)>,
    /// When each of `general` was last verified, so that a literal that occurs often is verified once.
    seen: Vec<u64>,
    turn: u64,
    /// Patterns that the matcher was asked about after the search.
    verified: u64,
}

impl FilterIndex {
    /// An index over (pattern, group); a group may have many patterns and a pattern many groups.
    #[must_use]
    pub fn new<'a>(patterns: impl IntoIterator<Item = (&'a [u8], u32)>) -> Self {
        let mut index = Self::default();
        for (pattern, group) in patterns {
            match Shape::of(pattern) {
                Shape::Exact => index.exact.add(pattern, group),
                Shape::Prefix(literal) => by_length(&mut index.prefixes, literal.len()).add(literal, group),
                Shape::Suffix(literal) => by_length(&mut index.suffixes, literal.len()).add(literal, group),
                Shape::General => index.general.push((pattern.into(), group)),
                Shape::Bare => index.bare.push((pattern.into(), group)),
            }
        }
        index.exact.sort();
        index.prefixes.iter_mut().chain(&mut index.suffixes).for_each(|(_, literals)| literals.sort());
        if !index.general.is_empty() {
            let literals = telling_literals(&index.general);
            let search = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&literals);
            index.search = Some(search.expect("a subscription's patterns are few and short enough"));
        }
        index.seen = vec![0; index.general.len()];
        index
    }

    /// The groups that want `key`, ascending, each once.
    pub fn matches(&mut self, key: &[u8], groups: &mut Vec<u32>) {
        groups.clear();
        self.exact.find(key, groups);
        for (len, literals) in self.prefixes.iter().take_while(|(len, _)| *len <= key.len()) {
            literals.find(&key[..*len], groups);
        }
        for (len, literals) in self.suffixes.iter().take_while(|(len, _)| *len <= key.len()) {
            literals.find(&key[key.len() - len..], groups);
        }
        groups.extend(
            self.bare.iter().filter(|(pattern, _)| glob_matches(pattern, key)).map(|&(_, group)| group),
        );
        if let Some(search) = &self.search {
            self.turn += 1;
            for found in search.find_overlapping_iter(key) {
                let index = found.pattern().as_usize();
                let (pattern, group) = &self.general[index];
                if std::mem::replace(&mut self.seen[index], self.turn) == self.turn {
                    continue;
                }
                self.verified += 1;
                if glob_matches(pattern, key) {
                    groups.push(*group);
                }
            }
        }
        groups.sort_unstable();
        groups.dedup();
    }
}

/// The literal of each pattern that the fewest of them have: the first would put a thousand `eu-*-0007-?` behind one
/// `eu-`, the longest a thousand `order-*-7` behind one `order-`.
fn telling_literals<'a>(patterns: &'a [(Vec<u8>, u32)]) -> Vec<&'a [u8]> {
    let literals = |pattern: &'a [u8]| {
        let literals = pattern.split(|&byte| is_wild(byte));
        literals.filter(|literal| !literal.is_empty())
    };
    let mut users: BTreeMap<&[u8], u32> = BTreeMap::new();
    for literal in patterns.iter().flat_map(|(pattern, _)| literals(pattern)) {
        *users.entry(literal).or_default() += 1;
    }
    let telling = patterns.iter().map(|(pattern, _)| {
        let best = literals(pattern).min_by_key(|&literal| (users[literal], Reverse(literal.len())));
        best.expect("a pattern of this shape has a literal")
    });
    telling.collect()
}

fn is_wild(byte: u8) -> bool {
    matches!(byte, b'*' | b'?')
}

fn by_length(lists: &mut Vec<(usize, Literals)>, len: usize) -> &mut Literals {
    let at = match lists.binary_search_by_key(&len, |&(len, _)| len) {
        Ok(at) => at,
        Err(at) => {
            lists.insert(at, (len, Literals::default()));
            at
        }
    };
    &mut lists[at].1
}

/// What kind of lookup finds a pattern.
enum Shape<'a> {
    Exact,
    Prefix(&'a [u8]),
    Suffix(&'a [u8]),
    /// Literals between, or on both sides of, what is not.
    General,
    Bare,
}

impl<'a> Shape<'a> {
    fn of(pattern: &'a [u8]) -> Self {
        let wild = |byte: &u8| is_wild(*byte);
        let star = |byte: &u8| *byte == b'*';
        if !pattern.iter().any(wild) {
            return Self::Exact;
        }
        if pattern.iter().all(wild) {
            return Self::Bare;
        }
        match pattern.iter().position(wild) {
            Some(at) if at > 0 && pattern[at..].iter().all(star) => return Self::Prefix(&pattern[..at]),
            _ => {}
        }
        match pattern.iter().rposition(wild) {
            Some(at) if at + 1 < pattern.len() && pattern[..=at].iter().all(star) => {
                Self::Suffix(&pattern[at + 1..])
            }
            _ => Self::General,
        }
    }
}

/// Literals with their groups, found by hash and then compared.
#[derive(Debug, Default)]
struct Literals {
    /// Ascending; apart from the rest, so that a search stays in few cache lines.
    hashes: Vec<u64>,
    /// Beside their hashes.
    literals: Vec<(Box<[u8]>, u32)>,
}

impl Literals {
    fn add(&mut self, literal: &[u8], group: u32) {
        self.literals.push((literal.into(), group));
    }

    fn sort(&mut self) {
        self.literals.sort_unstable();
        self.literals.dedup();
        self.literals.sort_by_cached_key(|(literal, _)| KeyHash::of(literal).high());
        self.hashes = self.literals.iter().map(|(literal, _)| KeyHash::of(literal).high()).collect();
    }

    fn find(&self, text: &[u8], groups: &mut Vec<u32>) {
        if self.hashes.is_empty() {
            return;
        }
        let hash = KeyHash::of(text).high();
        let first = self.hashes.partition_point(|&other| other < hash);
        let equal = self.hashes[first..].iter().take_while(|&&other| other == hash).count();
        let equal = self.literals[first..first + equal].iter().filter(|(literal, _)| **literal == *text);
        groups.extend(equal.map(|&(_, group)| group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(alphabet: &'static str, len_max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(alphabet.as_bytes()), 0..=len_max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn agrees_with_the_matcher(
            patterns in prop::collection::vec((text("aab-*?", 7), 0u32..8), 0..40),
            keys in prop::collection::vec(text("ab-", 8), 1..20),
        ) {
            let mut index = FilterIndex::new(patterns.iter().map(|(pattern, group)| (pattern.as_slice(), *group)));
            let mut groups = Vec::new();
            for key in keys {
                let wanting = patterns.iter().filter(|(pattern, _)| glob_matches(pattern, &key));
                let expected: std::collections::BTreeSet<u32> = wanting.map(|&(_, group)| group).collect();
                index.matches(&key, &mut groups);
                prop_assert_eq!(&groups, &Vec::from_iter(expected), "key {:?}", key);
            }
        }
    }

    /// Steps, not time: patterns verified, and lists looked into, for one key.
    #[test]
    fn ten_thousand_patterns_that_look_alike_cost_a_key_a_few_looks() {
        type Family = fn(u32) -> String;
        let families: [(Family, Family); 6] = [
            (|nth| format!("eu-*-{nth:04}-?"), |nth| format!("eu-west-{nth:04}-1")),
            (|nth| format!("order-*-{nth}"), |nth| format!("order-of-{nth}")),
            (|nth| format!("tenant-{nth:04}-*-paid"), |nth| format!("tenant-{nth:04}-x-paid")),
            (|nth| format!("*customer*{nth:04}*"), |nth| format!("a-customer-{nth:04}-b")),
            (
                |nth| format!("a?{nth:04}?aaaaaaaaaaaaaaaaaaa*"),
                |nth| format!("a-{nth:04}-{}", "a".repeat(40)),
            ),
            (
                |nth| format!("*aaaa*{nth:04}*aaaa*aaaa"),
                |nth| format!("{}{nth:04}{}", "a".repeat(50), "a".repeat(50)),
            ),
        ];
        for (pattern, key) in families {
            let patterns: Vec<String> = (0..10_000).map(pattern).collect();
            let mut index = FilterIndex::new(patterns.iter().map(|pattern| pattern.as_bytes()).zip(0..));
            let mut groups = Vec::new();
            for nth in (0..10_000).step_by(37) {
                index.matches(key(nth).as_bytes(), &mut groups);
                assert!(groups.contains(&nth), "{} wants {}", pattern(nth), key(nth));
            }
            let verified = index.verified / 271;
            println!("{}: {verified} patterns verified a key", pattern(7));
            assert!(verified <= 10, "{} costs a key {verified} verifications", pattern(7));
            assert!(index.prefixes.len() + index.suffixes.len() + index.bare.len() <= 2);
        }
    }

    #[test]
    fn patterns_are_sorted_by_shape() {
        let patterns: [&[u8]; 7] = [b"payment", b"ship*", b"*-eu", b"eu-west-?", b"*mid*", b"*", b"?*"];
        let index = FilterIndex::new(patterns.into_iter().zip(0..));
        assert_eq!(index.exact.literals.len(), 1);
        assert_eq!((index.prefixes.len(), index.suffixes.len()), (1, 1));
        assert_eq!((index.general.len(), index.bare.len()), (2, 2));
    }
}
