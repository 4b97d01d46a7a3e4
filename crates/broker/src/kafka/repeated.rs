//! What a request names more than once: Kafka refuses it, and says so once.

use std::collections::{BTreeMap, BTreeSet};

/// The names that come more than once, and whether each was refused already.
pub(super) struct Repeated<K>(BTreeMap<K, bool>);

/// What to do about a name that a request has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// It is named once.
    Once,
    /// It is named again, and to be refused.
    Again,
    /// It is refused already.
    Refused,
}

impl<K: Ord + Clone> Repeated<K> {
    pub(super) fn of(names: impl Iterator<Item = K>) -> Self {
        let mut seen = BTreeSet::new();
        Self(names.filter(|name| !seen.insert(name.clone())).map(|name| (name, false)).collect())
    }

    pub(super) fn named(&mut self, name: &K) -> Named {
        match self.0.get_mut(name).map(|refused| std::mem::replace(refused, true)) {
            None => Named::Once,
            Some(false) => Named::Again,
            Some(true) => Named::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_again_is_refused_once() {
        let names = ["a", "b", "a", "a"];
        let mut repeated = Repeated::of(names.into_iter());
        let found: Vec<Named> = names.iter().map(|name| repeated.named(name)).collect();
        assert_eq!(found, [Named::Again, Named::Once, Named::Refused, Named::Refused]);
    }
}
