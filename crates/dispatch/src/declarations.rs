//! What consumers declared that they want.
//!
//! Consumers with the same patterns share one declaration, so many workers of one kind cost one. A declaration outlives
//! its last consumer by a grace period: only what nobody wants, and nobody wanted a moment ago, is unmatched.

use crate::{FilterIndex, Millis, glob_matches};

#[derive(Debug)]
pub(crate) struct Group {
    /// Sorted, each once; none means every key.
    pub(crate) patterns: Vec<Vec<u8>>,
    /// Places of the consumers that declare this.
    pub(crate) members: Vec<u32>,
    /// When it is forgotten, once it has no members.
    pub(crate) until: Option<Millis>,
}

#[derive(Debug, Default)]
pub(crate) struct Declarations {
    groups: Vec<Option<Group>>,
    index: FilterIndex,
    /// Groups came or went since the index was built.
    outdated: bool,
    /// The group of those who want every key.
    open: Option<u32>,
    /// Patterns of all groups.
    patterns: usize,
    /// The groups that want the key looked at last.
    matched: Vec<u32>,
}

impl Group {
    /// Whether one of its patterns wants this key.
    pub(crate) fn wants(&self, key: &[u8]) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| glob_matches(pattern, key))
    }
}

/// Which consumers a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// All without filters, and only they.
    Unfiltered,
    /// Some members: [`Declarations::wanting`].
    Filtered,
    /// Nobody.
    Unmatched,
}

/// Patterns as declarations keep them.
pub(crate) fn normalize<P: AsRef<[u8]>>(filters: &[P]) -> Vec<Vec<u8>> {
    let all = |pattern: &[u8]| !pattern.is_empty() && pattern.iter().all(|&byte| byte == b'*');
    if filters.iter().any(|pattern| all(pattern.as_ref())) {
        return Vec::new();
    }
    let mut patterns: Vec<Vec<u8>> = filters.iter().map(|pattern| pattern.as_ref().to_vec()).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

impl Declarations {
    /// The group of those who want every key.
    #[inline]
    pub(crate) fn open(&self) -> Option<u32> {
        self.open
    }

    /// Whether every declaration is for every key.
    #[inline]
    pub(crate) fn all_open(&self) -> bool {
        self.patterns == 0
    }

    /// Patterns of all groups together.
    pub(crate) fn patterns(&self) -> usize {
        self.patterns
    }

    pub(crate) fn find(&self, patterns: &[Vec<u8>]) -> Option<u32> {
        let at = self
            .groups
            .iter()
            .position(|group| group.as_ref().is_some_and(|group| group.patterns == patterns));
        at.map(|at| at as u32)
    }

    pub(crate) fn get(&self, group: u32) -> &Group {
        self.groups[group as usize].as_ref().expect("a group that is referred to exists")
    }

    pub(crate) fn get_mut(&mut self, group: u32) -> &mut Group {
        self.groups[group as usize].as_mut().expect("a group that is referred to exists")
    }

    /// Adds a group; keys must be placed anew.
    pub(crate) fn add(&mut self, patterns: Vec<Vec<u8>>) -> u32 {
        self.patterns += patterns.len();
        let group = Some(Group { patterns, members: Vec::new(), until: None });
        let at = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[at] = group;
        self.outdate();
        at as u32
    }

    /// Removes a group without members; keys must be placed anew.
    pub(crate) fn remove(&mut self, group: u32) {
        let group = self.groups[group as usize].take().expect("a group is removed once");
        assert!(group.members.is_empty());
        self.patterns -= group.patterns.len();
        self.outdate();
    }

    /// The index is built when a key next asks: a thousand consumers that come at once cost one build.
    fn outdate(&mut self) {
        self.open = self.find(&[]);
        self.outdated = true;
    }

    fn rebuild(&mut self) {
        let groups = (0..).zip(&self.groups).filter_map(|(at, group)| Some((at, group.as_ref()?)));
        let patterns = groups.flat_map(|(at, group)| group.patterns.iter().map(move |p| (p.as_slice(), at)));
        self.index = FilterIndex::new(patterns);
    }

    /// Whom a key is for.
    pub(crate) fn wanted(&mut self, key: &[u8]) -> Wanted {
        if std::mem::take(&mut self.outdated) {
            self.rebuild();
        }
        self.index.matches(key, &mut self.matched);
        let Some(open) = self.open else {
            return if self.matched.is_empty() { Wanted::Unmatched } else { Wanted::Filtered };
        };
        if self.matched.is_empty() {
            return Wanted::Unfiltered;
        }
        let at = self.matched.partition_point(|&group| group < open);
        self.matched.insert(at, open);
        Wanted::Filtered
    }

    /// Places of those who want the key that [`Self::wanted`] was asked about last.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = u32> {
        self.matched.iter().flat_map(|&group| &self.get(group).members).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.groups).filter_map(|(at, group)| Some((at, group.as_ref()?)))
    }
}
