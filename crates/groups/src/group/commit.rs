//! Offsets: who may commit, and when they are forgotten. With them the end of a group.

use super::{Group, Phase, durable::Effect};
use crate::{
    ids::{CallerId, Generation, Millis},
    message::{Commit, Output, Reply},
    stored::GroupRecord,
};
use keyway_record::{ErrorCode, PartitionId, Timestamp, TopicName};

impl Group {
    pub(super) fn commit(&mut self, now: Millis, caller: CallerId, commit: Commit, out: &mut Vec<Output>) {
        let refused = self.may_commit(now, &commit).err();
        let verdict = |metadata: &str| match refused {
            Some(error) => error,
            None if metadata.len() > self.config.offset_metadata_bytes_max => {
                ErrorCode::OffsetMetadataTooLarge
            }
            None => ErrorCode::None,
        };
        let (mut answers, mut offsets) = (Vec::with_capacity(commit.offsets.len()), Vec::new());
        for (topic, partition, committed) in commit.offsets {
            let error = verdict(&committed.metadata);
            answers.push((topic.clone(), partition, error));
            if error == ErrorCode::None {
                offsets.push((topic, partition, committed));
            }
        }
        let reply = Reply::Commit(answers);
        if offsets.is_empty() {
            return out.push(Output::Reply { caller, reply });
        }
        let record = |(topic, partition, committed): &(TopicName, PartitionId, _)| GroupRecord::Offset {
            group: self.id.clone(),
            topic: topic.clone(),
            partition: *partition,
            committed: Clone::clone(committed),
        };
        let records = offsets.iter().map(record).collect();
        let id = self.persist(records, out);
        self.hold(id, Effect::Commit(offsets));
        self.hold(id, Effect::Reply(caller, reply));
    }

    /// A commit is also a sign of life.
    fn may_commit(&mut self, now: Millis, commit: &Commit) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let outside = commit.generation < Generation(0);
        if self.members.is_empty() && outside && matches!(self.phase, Phase::Empty) {
            return Ok(());
        }
        if outside && commit.member_id.is_empty() && commit.instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if self.generation == Generation::default() && matches!(self.phase, Phase::Empty) {
            // The group the client means is gone.
            return Err(ErrorCode::IllegalGeneration);
        }
        self.identify(&commit.member_id, commit.instance_id.as_ref())?;
        if commit.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.member(&commit.member_id).touch(now);
        Ok(())
    }

    pub(super) fn topic_deleted(&mut self, topic: &TopicName, out: &mut Vec<Output>) {
        let gone: Vec<_> = self.partitions().into_iter().filter(|(name, _)| name == topic).collect();
        self.forget(gone, out);
    }

    pub(super) fn delete(&mut self, caller: CallerId, out: &mut Vec<Output>) {
        let error = match self.phase {
            Phase::Dead => ErrorCode::GroupIdNotFound,
            Phase::Empty if self.is_disposable() => ErrorCode::GroupIdNotFound,
            Phase::Empty => ErrorCode::None,
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                ErrorCode::NonEmptyGroup
            }
        };
        let reply = Reply::Delete(error);
        if error != ErrorCode::None {
            return out.push(Output::Reply { caller, reply });
        }
        match self.end(out) {
            Some(id) => self.hold(id, Effect::Reply(caller, reply)),
            None => out.push(Output::Reply { caller, reply }),
        }
    }

    /// Forgets what was committed, and the group emptied, longer ago than the retention; at last the group itself.
    pub(super) fn expire_offsets(&mut self, wall: Timestamp, out: &mut Vec<Output>) {
        // What is under way is looked at the next time.
        if !matches!(self.phase, Phase::Empty) || !self.durable.is_idle() || self.is_disposable() {
            return;
        }
        let Some(since) = self.empty_since else {
            self.empty_since = Some(wall);
            return self.persist_membership(out);
        };
        let retention_ms = self.config.offsets_retention_ms;
        let is_due = |at: Timestamp| wall.0.saturating_sub(at.max(since).0) >= retention_ms;
        let kept = |at: Timestamp| !is_due(at);
        if is_due(since)
            && self.pending.is_empty()
            && !self.offsets.iter().any(|(.., o)| kept(o.committed_at))
        {
            self.end(out);
            return;
        }
        let due = self.offsets.iter().filter(|(.., committed)| is_due(committed.committed_at));
        let due = due.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        self.forget(due, out);
    }

    /// Ends the group and everything it has stored. `None` if that was nothing.
    fn end(&mut self, out: &mut Vec<Output>) -> Option<crate::ids::PersistId> {
        let gone = self.partitions();
        let mut records = self.offset_tombstones(&gone);
        if self.durable.stored {
            records.push(GroupRecord::GroupTombstone { group: self.id.clone() });
        }
        self.phase = Phase::Dead;
        self.pending.clear();
        if records.is_empty() {
            return None;
        }
        let id = self.persist(records, out);
        self.hold(id, Effect::Forget(gone));
        Some(id)
    }

    fn forget(&mut self, gone: Vec<(TopicName, PartitionId)>, out: &mut Vec<Output>) {
        if gone.is_empty() {
            return;
        }
        let records = self.offset_tombstones(&gone);
        let id = self.persist(records, out);
        self.hold(id, Effect::Forget(gone));
    }

    /// Where an offset is, or is about to be.
    fn partitions(&self) -> Vec<(TopicName, PartitionId)> {
        let applied = self.offsets.iter().map(|(topic, partition, _)| (topic, partition));
        let mut all: Vec<_> =
            applied.chain(self.durable.committing()).map(|(topic, p)| (topic.clone(), p)).collect();
        all.sort();
        all.dedup();
        all
    }
}
