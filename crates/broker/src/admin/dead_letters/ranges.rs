//! A set of offsets as ranges.

use std::ops::Range;

/// Offsets as ascending ranges that neither touch nor overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ranges(Vec<Range<i64>>);

impl Ranges {
    /// Takes ranges that were stored; `None` if they are not ascending and apart.
    pub(super) fn from_sorted(ranges: Vec<Range<i64>>) -> Option<Self> {
        let filled = ranges.iter().all(|range| range.start < range.end);
        let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        (filled && apart).then_some(Self(ranges))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<i64>> {
        self.0.iter()
    }

    /// Number of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let at = self.0.partition_point(|range| range.end <= offset);
        self.0.get(at).is_some_and(|range| range.start <= offset)
    }

    /// How many offsets of `within` are in the set.
    pub(super) fn count_within(&self, within: &Range<i64>) -> u64 {
        let common = |range: &Range<i64>| (range.end.min(within.end) - range.start.max(within.start)).max(0);
        self.0.iter().map(|range| common(range) as u64).sum()
    }

    /// Adds all offsets of `new`.
    pub(super) fn insert(&mut self, new: Range<i64>) {
        if new.is_empty() {
            return;
        }
        let first = self.0.partition_point(|range| range.end < new.start);
        let after = self.0.partition_point(|range| range.start <= new.end);
        let joined = self.0[first..after]
            .iter()
            .fold(new, |all, range| all.start.min(range.start)..all.end.max(range.end));
        self.0.splice(first..after, [joined]);
    }

    /// Takes out the offsets before `start`, which are gone, and a range that begins at it; returns where the offsets
    /// that are not in the set begin.
    pub(super) fn take_prefix(&mut self, start: i64) -> i64 {
        let mut first = start;
        self.0.retain_mut(|range| {
            if range.start <= first {
                first = first.max(range.end);
            }
            range.start > first
        });
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_the_set_of_their_offsets() {
        let mut seed = 11_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % below) as i64
        };
        for round in 0..200 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for _ in 0..random(30) {
                let start = random(60);
                let new = start..start + random(6);
                model.extend(new.clone());
                ranges.insert(new);
                assert_eq!(Ranges::from_sorted(ranges.0.clone()), Some(ranges.clone()), "round {round}");
            }
            for offset in -1..70 {
                assert_eq!(ranges.contains(offset), model.contains(&offset), "round {round}: {offset}");
            }
            let within = random(30)..30 + random(40);
            let counted = model.iter().filter(|offset| within.contains(offset)).count();
            assert_eq!(ranges.count_within(&within), counted as u64, "round {round}");
            let start = random(60);
            let first = ranges.take_prefix(start);
            let expected = (start..).find(|offset| !model.contains(offset)).unwrap();
            assert_eq!(first, expected, "round {round}: {model:?} from {start}");
            let rest: BTreeSet<i64> = ranges.iter().flat_map(Clone::clone).collect();
            assert_eq!(rest, model.into_iter().filter(|&offset| offset > first).collect(), "round {round}");
        }
    }

    #[test]
    fn stored_ranges_must_ascend_and_be_apart() {
        for bad in [&[(3, 3)][..], &[(1, 2), (2, 3)], &[(5, 6), (1, 2)]] {
            assert_eq!(Ranges::from_sorted(bad.iter().map(|&(start, end)| start..end).collect()), None);
        }
    }
}
