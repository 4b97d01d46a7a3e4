//! The differences that are known, each with its reason: `interop/differential/differences.toml`, and `referee.toml` beside
//! it for those between one Apache Kafka and another.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::difference::Difference;

/// What the file holds; `*` in a pattern stands for any text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    #[serde(default, rename = "difference")]
    entries: Vec<Entry>,
}

/// A known difference, or a family of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    step: String,
    field: String,
    kafka: String,
    keyway: String,
    standing: Standing,
    reason: String,
}

/// What is to become of a difference.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// It stays: either answer is right, or ours is meant.
    Decided,
    /// It is a part of Kafka that is still to come.
    Later,
    /// It is to be mended.
    Open,
}

/// What the list says of the differences that were found.
#[derive(Default)]
pub(crate) struct Judgement {
    pub(crate) unlisted: Vec<Difference>,
    /// Entries that fit no difference.
    pub(crate) unused: Vec<String>,
    pub(crate) decided: usize,
    pub(crate) later: usize,
    pub(crate) open: usize,
}

impl Listed {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let listed: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for entry in &listed.entries {
            ensure!(!entry.reason.trim().is_empty(), "{} {}: no reason", entry.step, entry.field);
        }
        Ok(listed)
    }

    /// Sorts what was found; entries of scripts that did not run are neither used nor unused.
    pub(crate) fn judge(&self, found: Vec<Difference>, scripts: &[&str]) -> Judgement {
        let mut judgement = Judgement::default();
        let mut used = BTreeSet::new();
        for difference in found {
            let fitting = self.entries.iter().position(|entry| entry.fits(&difference));
            match fitting {
                None => judgement.unlisted.push(difference),
                Some(place) => {
                    used.insert(place);
                    match self.entries[place].standing {
                        Standing::Decided => judgement.decided += 1,
                        Standing::Later => judgement.later += 1,
                        Standing::Open => judgement.open += 1,
                    }
                }
            }
        }
        let unused = self.entries.iter().enumerate().filter(|(place, entry)| {
            let has_run = scripts.iter().any(|script| entry.step.split('/').next() == Some(script));
            !used.contains(place) && (has_run || entry.step.starts_with('*'))
        });
        judgement.unused = unused.map(|(_, entry)| format!("{} {}", entry.step, entry.field)).collect();
        judgement
    }
}

impl Entry {
    fn fits(&self, difference: &Difference) -> bool {
        fits(&self.step, &difference.step)
            && fits(&self.field, &difference.field)
            && fits(&self.kafka, &difference.kafka)
            && fits(&self.keyway, &difference.keyway)
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, behind)) => text.strip_prefix(front).is_some_and(|left| {
            let mut ends = left.char_indices().map(|(place, _)| place).chain([left.len()]);
            ends.any(|place| fits(behind, &left[place..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(step: &str, field: &str) -> Difference {
        Difference {
            step: step.to_owned(),
            field: field.to_owned(),
            kafka: "3".to_owned(),
            keyway: "0".to_owned(),
        }
    }

    fn listed() -> Listed {
        toml::from_str(
            "[[difference]]
            step = 'topics/*'
            field = 'Topics[*].ErrorCode'
            kafka = '3'
            keyway = '0'
            standing = 'open'
            reason = 'for the test'",
        )
        .expect("it is well-formed")
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(fits("a*c", "abbc") && fits("*", "") && fits("a*", "a") && fits("a*b*c", "a.b.b.c"));
        assert!(!fits("a*c", "abcd") && !fits("", "a") && !fits("a", "ab"));
    }

    #[test]
    fn what_fits_no_entry_is_unlisted_and_an_entry_that_fits_nothing_is_unused() {
        let found =
            vec![difference("topics/one", "Topics[a].ErrorCode"), difference("groups/one", "ErrorCode")];
        let judgement = listed().judge(found, &["topics", "groups"]);
        assert_eq!((judgement.unlisted.len(), judgement.unused.len(), judgement.open), (1, 0, 1));
        assert_eq!(listed().judge(Vec::new(), &["topics"]).unused.len(), 1);
        assert_eq!(listed().judge(Vec::new(), &["groups"]).unused.len(), 0);
    }
}
