//! What waits for the log: replies and offsets that a crash must not take back.

use super::{Group, Phase, Standing};
use crate::{
    ids::{CallerId, MemberId, PersistId},
    message::{Output, Refused, Reply},
    offsets::Committed,
    stored::{GroupRecord, StoredConsumers},
};
use keyway_record::{ErrorCode, PartitionId, TopicName};
use std::collections::VecDeque;

/// The requests to the log that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    /// Whether the log has, or is about to have, a membership record of the group.
    pub(super) stored: bool,
    next: PersistId,
    /// The newest request that changes the membership, while it is under way.
    membership: Option<PersistId>,
    /// By ascending request.
    waiting: VecDeque<(PersistId, Effect)>,
}

/// What happens once a request is durable.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Reply(CallerId, Reply),
    Commit(Vec<(TopicName, PartitionId, Committed)>),
    Forget(Vec<(TopicName, PartitionId)>),
}

impl Durable {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.membership.is_none()
    }

    pub(super) fn check(&self) {
        assert!(self.waiting.iter().is_sorted_by_key(|(id, _)| *id), "effects wait in the log's order");
        let newest = self.waiting.back().map(|(id, _)| *id).max(self.membership);
        assert!(newest.is_none_or(|newest| newest < self.next), "nothing waits for what was not asked");
    }

    /// Partitions that have, or are about to have, an offset besides the applied ones.
    pub(super) fn committing(&self) -> impl Iterator<Item = (&TopicName, PartitionId)> {
        let commits = self.waiting.iter().filter_map(|(_, effect)| match effect {
            Effect::Commit(offsets) => Some(offsets),
            Effect::Reply(..) | Effect::Forget(_) => None,
        });
        commits.flatten().map(|(topic, partition, _)| (topic, *partition))
    }
}

impl Group {
    /// Asks for `records` to be made durable.
    pub(super) fn persist(&mut self, records: Vec<GroupRecord>, out: &mut Vec<Output>) -> PersistId {
        assert!(!records.is_empty(), "something is persisted");
        let id = self.durable.next;
        self.durable.next = PersistId(id.0 + 1);
        out.push(Output::Persist { id, records });
        id
    }

    /// Asks for the membership to be made durable as it is now. Replies that depend on it are held until then.
    pub(super) fn persist_membership(&mut self, out: &mut Vec<Output>) {
        let record = match &self.consumers {
            Some(_) => self.consumer_group_record(),
            None => GroupRecord::Group { group: self.id.clone(), stored: self.store() },
        };
        self.persist_members(vec![record], out);
    }

    /// Asks for what changed under the consumer protocol to be made durable.
    pub(super) fn persist_consumers(&mut self, out: &mut Vec<Output>) {
        let Some(consumers) = &mut self.consumers else { return };
        let (epoch_changed, members) = consumers.take_changes();
        let gone = members.iter().filter(|(_, stored)| stored.is_none()).count();
        let group = || self.id.clone();
        let record = |(member_id, stored)| match stored {
            Some(stored) => GroupRecord::Consumer { group: group(), member_id, stored },
            None => GroupRecord::ConsumerTombstone { group: group(), member_id },
        };
        let mut records: Vec<GroupRecord> = members.into_iter().map(record).collect();
        if epoch_changed {
            // After those who went and before those who are there, so that what a crash leaves of this is sound.
            records.insert(gone, self.consumer_group_record());
        }
        if !records.is_empty() {
            self.persist_members(records, out);
        }
    }

    pub(super) fn persist_members(&mut self, records: Vec<GroupRecord>, out: &mut Vec<Output>) {
        let id = self.persist(records, out);
        self.durable.stored = true;
        self.durable.membership = Some(id);
    }

    fn consumer_group_record(&self) -> GroupRecord {
        let consumers = self.consumers.as_ref().expect("of a group that uses the consumer protocol");
        let stored = StoredConsumers { epoch: consumers.epoch(), empty_since: self.empty_since };
        GroupRecord::ConsumerGroup { group: self.id.clone(), stored }
    }

    /// The record that ends the membership, whichever protocol it is of.
    pub(super) fn membership_tombstone(&self) -> GroupRecord {
        let group = self.id.clone();
        match self.consumers {
            Some(_) => GroupRecord::ConsumerGroupTombstone { group },
            None => GroupRecord::GroupTombstone { group },
        }
    }

    /// Lets `effect` happen once `id` is durable.
    pub(super) fn hold(&mut self, id: PersistId, effect: Effect) {
        self.durable.waiting.push_back((id, effect));
    }

    /// Answers a caller with something that follows from the membership: at once if that is durable.
    pub(super) fn reply_once_stored(&mut self, caller: CallerId, reply: Reply, out: &mut Vec<Output>) {
        match self.durable.membership {
            None => out.push(Output::Reply { caller, reply }),
            Some(_) => {
                // Behind what waits already, so that effects stay in the log's order.
                let newest = PersistId(self.durable.next.0 - 1);
                self.hold(newest, Effect::Reply(caller, reply));
            }
        }
    }

    pub(super) fn persisted(&mut self, id: PersistId, out: &mut Vec<Output>) {
        assert!(id < self.durable.next, "{id:?} was asked for");
        if self.durable.membership.is_some_and(|membership| membership <= id) {
            self.durable.membership = None;
        }
        while let Some((_, effect)) = self.durable.waiting.pop_front_if(|(waits_for, _)| *waits_for <= id) {
            match effect {
                Effect::Reply(caller, reply) => out.push(Output::Reply { caller, reply }),
                Effect::Commit(offsets) => {
                    offsets
                        .into_iter()
                        .for_each(|(topic, partition, o)| self.offsets.set(topic, partition, o));
                }
                Effect::Forget(offsets) => {
                    offsets.iter().for_each(|(topic, partition)| self.offsets.remove(topic, *partition));
                }
            }
        }
    }

    /// Tombstones for these offsets.
    pub(super) fn offset_tombstones(&self, gone: &[(TopicName, PartitionId)]) -> Vec<GroupRecord> {
        let tombstone = |(topic, partition): &(TopicName, PartitionId)| GroupRecord::OffsetTombstone {
            group: self.id.clone(),
            topic: topic.clone(),
            partition: *partition,
        };
        gone.iter().map(tombstone).collect()
    }

    /// Answers everyone who waits with `error` and ends this life of the group, because its owner stops or the log
    /// failed. What is durable, [`crate::Recovery`] brings back.
    pub fn abandon(&mut self, error: ErrorCode, out: &mut Vec<Output>) {
        for (_, effect) in std::mem::take(&mut self.durable.waiting) {
            if let Effect::Reply(caller, reply) = effect {
                out.push(Output::Reply { caller, reply: failed(reply, error) });
            }
        }
        for (id, member) in std::mem::take(&mut self.members) {
            out.extend(refusal(&id, member.standing, error));
        }
        let (id, config) = (self.id.clone(), self.config.clone());
        *self = Self { phase: Phase::Dead, ..Self::new(id, config) };
    }
}

/// The answer to whoever waits for the member, if someone does.
pub(super) fn refusal(member_id: &MemberId, standing: Standing, error: ErrorCode) -> Option<Output> {
    let (caller, reply) = match standing {
        Standing::Idle { .. } => return None,
        Standing::Joining { caller, .. } => {
            (caller, Reply::Join(Err(Refused { error, member_id: member_id.clone() })))
        }
        Standing::Syncing { caller } => (caller, Reply::Sync(Err(error))),
    };
    Some(Output::Reply { caller, reply })
}

/// A held reply turned into a refusal.
fn failed(reply: Reply, error: ErrorCode) -> Reply {
    match reply {
        Reply::Join(Ok(joined)) => Reply::Join(Err(Refused { error, member_id: joined.member_id })),
        Reply::Join(Err(refused)) => Reply::Join(Err(Refused { error, ..refused })),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Heartbeat(_) => Reply::Heartbeat(error),
        Reply::Leave(_) => Reply::Leave(Err(error)),
        Reply::Commit(offsets) => Reply::Commit(
            offsets.into_iter().map(|(topic, partition, _)| (topic, partition, error)).collect(),
        ),
        Reply::EndTransaction(_) => Reply::EndTransaction(error),
        Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error)),
        Reply::DeleteOffsets(_) => Reply::DeleteOffsets(Err(error)),
        Reply::Delete(_) => Reply::Delete(error),
    }
}
