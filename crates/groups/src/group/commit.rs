//! Offsets: who may commit, and when they are forgotten. With them the end of a group.

use super::{
    Group, Phase,
    durable::Effect,
    member::{Member, vote},
};
use crate::{
    catalog::TopicIdPartition,
    consumer::{Consumers, holding::Holding},
    consumer_protocol::{ConsumerSubscription, PROTOCOL_TYPE},
    ids::{CallerId, Generation, MemberEpoch, MemberId, Millis, PersistId},
    message::{Commit, Output, Reply},
    offsets::Committed,
    stored::GroupRecord,
};
use keyway_record::{ErrorCode, PartitionId, Timestamp, TopicName};
use std::{collections::BTreeSet, sync::Arc};

/// The topics of a group's members.
enum Subscribed<'a> {
    Consumers(&'a Consumers),
    Names(BTreeSet<Arc<str>>),
}

impl Subscribed<'_> {
    fn contains(&self, topic: &TopicName) -> bool {
        match self {
            Self::Consumers(consumers) => consumers.is_subscribed(topic),
            Self::Names(names) => names.contains(topic.as_str()),
        }
    }
}

/// An offset and where it is committed.
pub(super) type PartitionOffset = (TopicName, PartitionId, Committed);

/// What a commit may be about.
#[derive(Clone, Copy)]
enum Allowed<'a> {
    Everything,
    /// Partitions that the member had in `epoch` already, which is not its newest; anything else is `stale`.
    HeldSince {
        holding: &'a Holding,
        epoch: MemberEpoch,
        stale: ErrorCode,
    },
}

impl Group {
    pub(super) fn commit(&mut self, now: Millis, caller: CallerId, commit: Commit, out: &mut Vec<Output>) {
        let (answers, offsets) = self.admitted(now, commit, false);
        let reply = Reply::Commit(answers);
        if offsets.is_empty() {
            return out.push(Output::Reply { caller, reply });
        }
        let records = offsets.iter().map(|offset| self.offset_record(offset)).collect();
        let id = self.persist(records, out);
        self.hold(id, Effect::Commit(offsets));
        self.hold(id, Effect::Reply(caller, reply));
    }

    /// The answer for each offset of a commit, and those that may be committed.
    pub(super) fn admitted(
        &mut self,
        now: Millis,
        commit: Commit,
        in_transaction: bool,
    ) -> (Vec<(TopicName, PartitionId, ErrorCode)>, Vec<PartitionOffset>) {
        let says_nobody = commit.generation < Generation(0) && commit.member_id.is_empty();
        let allowed = match &self.consumers {
            // The producer's epoch guards the transaction already; older clients know no member.
            _ if in_transaction && says_nobody && commit.instance_id.is_none() => Ok(Allowed::Everything),
            Some(consumers) => may_commit_as_consumer(consumers, &commit),
            None => self.may_commit(now, &commit).map(|()| Allowed::Everything),
        };
        let verdict = |topic: &TopicName, partition, metadata: &str| match allowed {
            Err(error) => error,
            _ if metadata.len() > self.config.offset_metadata_bytes_max => ErrorCode::OffsetMetadataTooLarge,
            Ok(Allowed::Everything) => ErrorCode::None,
            Ok(Allowed::HeldSince { holding, epoch, stale }) => {
                let topic = self.catalog.topic(topic.as_str()).map(|topic| topic.id);
                let since = topic.and_then(|topic| holding.since(TopicIdPartition { topic, partition }));
                if since.is_some_and(|since| since <= epoch) { ErrorCode::None } else { stale }
            }
        };
        let (mut answers, mut offsets) = (Vec::with_capacity(commit.offsets.len()), Vec::new());
        for (topic, partition, committed) in commit.offsets {
            let error = verdict(&topic, partition, &committed.metadata);
            answers.push((topic.clone(), partition, error));
            if error == ErrorCode::None {
                offsets.push((topic, partition, committed));
            }
        }
        (answers, offsets)
    }

    pub(super) fn offset_record(&self, (topic, partition, committed): &PartitionOffset) -> GroupRecord {
        GroupRecord::Offset {
            group: self.id.clone(),
            topic: topic.clone(),
            partition: *partition,
            committed: committed.clone(),
        }
    }

    /// Whether someone may see the offsets: anyone who does not claim to be a member, and members in their epoch.
    pub fn may_fetch(&self, member: Option<(&MemberId, MemberEpoch)>) -> Result<(), ErrorCode> {
        let Some(consumers) = &self.consumers else { return Ok(()) };
        let Some((id, epoch)) = member else { return Ok(()) };
        let member = consumers.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        match member.classic {
            _ if member.holding.epoch == epoch => Ok(()),
            Some(_) => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::StaleMemberEpoch),
        }
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
        if matches!(self.phase, Phase::Empty) && self.is_disposable() {
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

    /// Takes offsets away, but not of topics that the group is subscribed to.
    pub(super) fn delete_offsets(
        &mut self,
        caller: CallerId,
        partitions: Vec<(TopicName, PartitionId)>,
        out: &mut Vec<Output>,
    ) {
        let error = match self.phase {
            Phase::Dead => Some(ErrorCode::GroupIdNotFound),
            Phase::Empty if self.is_disposable() => Some(ErrorCode::GroupIdNotFound),
            // Nobody but consumers can be asked what they are subscribed to.
            _ if !self.members.is_empty() && *self.protocol_type != *PROTOCOL_TYPE => {
                Some(ErrorCode::NonEmptyGroup)
            }
            _ => None,
        };
        if let Some(error) = error {
            return out.push(Output::Reply { caller, reply: Reply::DeleteOffsets(Err(error)) });
        }
        let subscribed = self.subscribed();
        // What cannot be read is not known to be in use, as in Kafka.
        let is_subscribed = |topic: &TopicName| subscribed.as_ref().is_some_and(|of| of.contains(topic));
        let kept = self.partitions();
        let (mut answers, mut gone) = (Vec::with_capacity(partitions.len()), Vec::new());
        for (topic, partition) in partitions {
            let error = match is_subscribed(&topic) {
                true => ErrorCode::GroupSubscribedToTopic,
                false => ErrorCode::None,
            };
            let at = (topic.clone(), partition);
            if error == ErrorCode::None && kept.contains(&at) && !gone.contains(&at) {
                gone.push(at);
            }
            answers.push((topic, partition, error));
        }
        let reply = Reply::DeleteOffsets(Ok(answers));
        match self.forget(gone, out) {
            Some(id) => self.hold(id, Effect::Reply(caller, reply)),
            None => out.push(Output::Reply { caller, reply }),
        }
    }

    /// What the members are subscribed to, if that is known: classic members may say it in bytes of their own.
    fn subscribed(&self) -> Option<Subscribed<'_>> {
        if let Some(consumers) = &self.consumers {
            return Some(Subscribed::Consumers(consumers));
        }
        if self.members.is_empty() {
            return Some(Subscribed::Names(BTreeSet::new()));
        }
        if *self.protocol_type != *PROTOCOL_TYPE {
            return None;
        }
        let protocol = self.protocol.clone().unwrap_or_else(|| vote(&self.members));
        let subscription = |member: &Member| ConsumerSubscription::decode(&member.metadata(&protocol)).ok();
        let all: Option<Vec<_>> = self.members.values().map(subscription).collect();
        Some(Subscribed::Names(all?.into_iter().flat_map(|subscription| subscription.topics).collect()))
    }

    pub(super) fn topic_deleted(&mut self, topic: &TopicName, out: &mut Vec<Output>) {
        let gone: Vec<_> = self.partitions().into_iter().filter(|(name, _)| name == topic).collect();
        self.forget(gone, out);
        let records = self.forget_waiting(|name| name == topic);
        if !records.is_empty() {
            self.persist(records, out);
        }
    }

    pub(super) fn delete(&mut self, caller: CallerId, out: &mut Vec<Output>) {
        let error = match self.phase {
            Phase::Dead => ErrorCode::GroupIdNotFound,
            Phase::Empty if self.is_disposable() => ErrorCode::GroupIdNotFound,
            Phase::Empty if self.has_consumers() => ErrorCode::NonEmptyGroup,
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
        if !self.durable.is_idle() || self.is_disposable() || !self.waiting.is_empty() {
            return;
        }
        match self.phase {
            Phase::Empty if !self.has_consumers() => {}
            Phase::Empty | Phase::Stable { .. } => return self.expire_unsubscribed(wall, out),
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Dead => return,
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

    /// A group with members forgets what was committed longer ago than the retention in topics that nobody in it is
    /// subscribed to any more.
    fn expire_unsubscribed(&mut self, wall: Timestamp, out: &mut Vec<Output>) {
        let Some(subscribed) = self.subscribed() else { return };
        let retention_ms = self.config.offsets_retention_ms;
        let due = self.offsets.iter().filter(|(topic, _, committed)| {
            wall.0.saturating_sub(committed.committed_at.0) >= retention_ms && !subscribed.contains(topic)
        });
        let due = due.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        self.forget(due, out);
    }

    /// Ends the group and everything it has stored. `None` if that was nothing.
    fn end(&mut self, out: &mut Vec<Output>) -> Option<PersistId> {
        let gone = self.partitions();
        let mut records = self.offset_tombstones(&gone);
        records.extend(self.forget_waiting(|_| true));
        if self.durable.stored {
            records.push(self.membership_tombstone());
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

    fn forget(&mut self, gone: Vec<(TopicName, PartitionId)>, out: &mut Vec<Output>) -> Option<PersistId> {
        if gone.is_empty() {
            return None;
        }
        let records = self.offset_tombstones(&gone);
        let id = self.persist(records, out);
        self.hold(id, Effect::Forget(gone));
        Some(id)
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

/// Whether someone may commit in a group that uses the consumer protocol, by its members' epochs.
fn may_commit_as_consumer<'a>(consumers: &'a Consumers, commit: &Commit) -> Result<Allowed<'a>, ErrorCode> {
    if commit.generation < Generation(0) && consumers.is_empty() {
        return Ok(Allowed::Everything);
    }
    let member = consumers.member(&commit.member_id).ok_or(ErrorCode::UnknownMemberId)?;
    if member.classic.is_none() && !commit.knows_member_epochs {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let stale = match member.classic {
        Some(_) => ErrorCode::IllegalGeneration,
        None => ErrorCode::StaleMemberEpoch,
    };
    let (epoch, holding) = (MemberEpoch(commit.generation.0), &member.holding);
    match epoch.cmp(&holding.epoch) {
        std::cmp::Ordering::Equal => Ok(Allowed::Everything),
        std::cmp::Ordering::Greater => Err(stale),
        std::cmp::Ordering::Less => Ok(Allowed::HeldSince { holding, epoch, stale }),
    }
}
