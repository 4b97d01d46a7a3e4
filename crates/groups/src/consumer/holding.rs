//! What one member holds, and how that approaches what it is to have (KIP-848's reconciliation).
//!
//! ```text
//!           it holds what it must give up                     others hold what it is to get
//!   Stable ------------------------------> Unrevoked   Stable <----------------------------- Unreleased
//!      ^                                       |          |                                      ^
//!      '------- it says that it gave up -------'          '--------- the group moved on ---------'
//! ```
//!
//! A member keeps its epoch until it has given up what the group took from it, and then takes on the group's. It gets
//! at once what is free, and the rest whenever others have let go of it.

use crate::{
    catalog::{Assignment, TopicIdPartition},
    ids::{MemberEpoch, MemberId},
};
use keyway_record::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions, and since which epoch their member has them.
pub(crate) type Held = BTreeMap<TopicIdPartition, MemberEpoch>;

/// How far a member is from what it is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Progress {
    /// There, as of its epoch.
    #[default]
    Stable,
    /// It must give up partitions first.
    Unrevoked,
    /// It waits for partitions that others hold.
    Unreleased,
}

/// A member's epoch and partitions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) epoch: MemberEpoch,
    /// The epoch before; a member that lost the answer with the newer one still states it.
    pub(crate) previous_epoch: MemberEpoch,
    pub(crate) progress: Progress,
    /// What the member may use.
    pub(crate) assigned: Held,
    /// What the member was told to give up and may still use.
    pub(crate) revoking: Held,
}

/// Where a member's holding goes.
pub(crate) struct Goal<'a> {
    pub(crate) member_id: &'a MemberId,
    /// The group's epoch, and what the member is to have in it.
    pub(crate) epoch: MemberEpoch,
    pub(crate) target: &'a Assignment,
    /// What the member is subscribed to.
    pub(crate) topics: &'a BTreeSet<TopicId>,
    /// Who holds each partition, assigned or still to be given up.
    pub(crate) owners: &'a BTreeMap<TopicIdPartition, MemberId>,
    /// What the member says that it uses; `None` if it said nothing.
    pub(crate) owned: Option<&'a Assignment>,
    /// The member changed its subscription just now.
    pub(crate) resubscribed: bool,
}

impl Holding {
    /// Whether the member is where it is to be in the group's `epoch`.
    pub(crate) fn is_settled(&self, epoch: MemberEpoch) -> bool {
        self.progress == Progress::Stable && self.epoch == epoch
    }

    /// Everything that nobody else may be given.
    pub(crate) fn all(&self) -> impl Iterator<Item = TopicIdPartition> {
        self.assigned.keys().chain(self.revoking.keys()).copied()
    }

    /// Since which epoch the member may use the partition.
    pub(crate) fn since(&self, at: TopicIdPartition) -> Option<MemberEpoch> {
        self.assigned.get(&at).or_else(|| self.revoking.get(&at)).copied()
    }

    /// The holding after this one.
    pub(crate) fn next(&self, goal: &Goal<'_>) -> Self {
        match self.progress {
            Progress::Stable if self.epoch == goal.epoch && goal.resubscribed => {
                self.without_unsubscribed(goal)
            }
            Progress::Stable if self.epoch == goal.epoch => self.clone(),
            Progress::Unrevoked if goal.still_uses(&self.revoking) => match goal.resubscribed {
                true => self.without_unsubscribed(goal),
                false => self.clone(),
            },
            Progress::Stable | Progress::Unrevoked | Progress::Unreleased => self.towards(goal),
        }
    }

    /// Nothing but what the member is still subscribed to; the rest is to be given up.
    fn without_unsubscribed(&self, goal: &Goal<'_>) -> Self {
        let (assigned, gone): (Held, Held) =
            self.assigned.clone().into_iter().partition(|(at, _)| goal.topics.contains(&at.topic));
        if gone.is_empty() {
            return self.clone();
        }
        let mut revoking = self.revoking.clone();
        revoking.extend(gone);
        if goal.still_uses(&revoking) {
            self.moved(self.epoch, Progress::Unrevoked, assigned, revoking)
        } else {
            assert_ne!(self.progress, Progress::Unrevoked, "what is still used stays used with more added");
            self.moved(self.epoch, self.progress, assigned, Held::new())
        }
    }

    fn towards(&self, goal: &Goal<'_>) -> Self {
        let wanted = |at: &TopicIdPartition| goal.target.contains(at) && goal.topics.contains(&at.topic);
        let (mut assigned, revoking): (Held, Held) =
            self.assigned.clone().into_iter().partition(|(at, _)| wanted(at));
        if goal.still_uses(&revoking) {
            return self.moved(self.epoch, Progress::Unrevoked, assigned, revoking);
        }
        let missing = goal.target.iter().filter(|at| wanted(at) && !assigned.contains_key(at));
        let is_free =
            |at: &&TopicIdPartition| goal.owners.get(at).is_none_or(|owner| owner == goal.member_id);
        let (free, held): (Vec<_>, Vec<_>) = missing.copied().partition(|at| is_free(&at));
        assigned.extend(free.into_iter().map(|at| (at, goal.epoch)));
        let progress = if held.is_empty() { Progress::Stable } else { Progress::Unreleased };
        self.moved(goal.epoch, progress, assigned, Held::new())
    }

    /// The same without what is to be given up, and as if it had been assigned before any epoch: the member whose it
    /// was is gone, and whoever takes its place may commit in any.
    pub(crate) fn released(&self) -> Self {
        Self {
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            progress: if self.progress == Progress::Unrevoked { Progress::Stable } else { self.progress },
            assigned: self.assigned.keys().map(|at| (*at, MemberEpoch::JOIN)).collect(),
            revoking: Held::new(),
        }
    }

    fn moved(&self, epoch: MemberEpoch, progress: Progress, assigned: Held, revoking: Held) -> Self {
        let next = Self { epoch, previous_epoch: self.epoch, progress, assigned, revoking };
        let same = Self { previous_epoch: self.previous_epoch, ..next.clone() } == *self;
        if same { self.clone() } else { next }
    }

    /// Asserts what each holding is by itself.
    pub(crate) fn check(&self) {
        let unrevoked = self.progress == Progress::Unrevoked;
        assert_eq!(unrevoked, !self.revoking.is_empty(), "who must give up has something to give up");
        assert!(self.revoking.keys().all(|at| !self.assigned.contains_key(at)), "assigned or to be given up");
        assert!(self.epoch < MemberEpoch::JOIN || self.previous_epoch <= self.epoch, "epochs ascend");
        assert!(self.assigned.values().all(|since| self.epoch < MemberEpoch::JOIN || *since <= self.epoch));
    }
}

impl Goal<'_> {
    /// Whether the member uses any of these, or may do so because it does not say.
    fn still_uses(&self, held: &Held) -> bool {
        !held.is_empty() && self.owned.is_none_or(|owned| owned.iter().any(|at| held.contains_key(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_record::PartitionId;

    const TOPIC: TopicId = TopicId([1; 16]);

    fn at(partition: i32) -> TopicIdPartition {
        TopicIdPartition { topic: TOPIC, partition: PartitionId(partition) }
    }

    fn some(partitions: &[i32]) -> Assignment {
        partitions.iter().map(|partition| at(*partition)).collect()
    }

    /// The goal `target` in `epoch`, while others hold `taken`.
    fn next(holding: &Holding, epoch: i32, target: &[i32], taken: &[i32], owned: Option<&[i32]>) -> Holding {
        let mut owners: BTreeMap<_, _> = taken.iter().map(|n| (at(*n), "other".into())).collect();
        owners.extend(holding.all().map(|at| (at, "me".into())));
        let owned = owned.map(some);
        let goal = Goal {
            member_id: &"me".into(),
            epoch: MemberEpoch(epoch),
            target: &some(target),
            topics: &[TOPIC].into(),
            owners: &owners,
            owned: owned.as_ref(),
            resubscribed: false,
        };
        let next = holding.next(&goal);
        next.check();
        next
    }

    fn shown(holding: &Holding) -> (i32, i32, Progress, Vec<(i32, i32)>, Vec<i32>) {
        let assigned = holding.assigned.iter().map(|(at, since)| (at.partition.0, since.0)).collect();
        let revoking = holding.revoking.keys().map(|at| at.partition.0).collect();
        (holding.epoch.0, holding.previous_epoch.0, holding.progress, assigned, revoking)
    }

    #[test]
    fn a_new_member_gets_what_is_free_and_then_the_rest() {
        let joined = next(&Holding::default(), 2, &[0, 1, 2], &[1], Some(&[]));
        assert_eq!(shown(&joined), (2, 0, Progress::Unreleased, vec![(0, 2), (2, 2)], vec![]));
        assert_eq!(next(&joined, 2, &[0, 1, 2], &[1], None), joined, "nothing was let go of");
        let whole = next(&joined, 2, &[0, 1, 2], &[], None);
        assert_eq!(shown(&whole), (2, 2, Progress::Stable, vec![(0, 2), (1, 2), (2, 2)], vec![]));
        assert_eq!(next(&whole, 2, &[0, 1, 2], &[], Some(&[0])), whole, "settled");
    }

    #[test]
    fn a_member_keeps_its_epoch_until_it_gave_up_what_was_taken() {
        let had = next(&Holding::default(), 2, &[0, 1], &[], Some(&[]));
        let told = next(&had, 3, &[1, 2], &[], None);
        assert_eq!(shown(&told), (2, 2, Progress::Unrevoked, vec![(1, 2)], vec![0]));
        assert_eq!(next(&told, 3, &[1, 2], &[], None), told, "it does not say");
        assert_eq!(next(&told, 3, &[1, 2], &[], Some(&[0, 1])), told, "it still uses it");
        let done = next(&told, 3, &[1, 2], &[], Some(&[1]));
        assert_eq!(shown(&done), (3, 2, Progress::Stable, vec![(1, 2), (2, 3)], vec![]));
    }

    #[test]
    fn what_is_given_up_may_come_back_at_once() {
        let had = next(&Holding::default(), 2, &[0, 1], &[], Some(&[]));
        let told = next(&had, 3, &[1], &[], None);
        let back = next(&told, 4, &[0, 1], &[], Some(&[1]));
        assert_eq!(shown(&back), (4, 2, Progress::Stable, vec![(0, 4), (1, 2)], vec![]));
    }
}
