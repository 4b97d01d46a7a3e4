//! Offsets that count once a transaction has committed (KIP-447): until its end they wait, beside those that were committed.

use super::{Group, commit::PartitionOffset, durable::Effect};
use crate::{
    ids::{CallerId, Millis},
    message::{Commit, Output, Reply},
    stored::GroupRecord,
};
use keyway_record::{ErrorCode, Outcome, ProducerId, TopicName};

impl Group {
    /// As [`Group::commit`], for the transaction that `producer_id` is in.
    pub(super) fn commit_in_transaction(
        &mut self,
        now: Millis,
        caller: CallerId,
        producer_id: ProducerId,
        commit: Commit,
        out: &mut Vec<Output>,
    ) {
        let (answers, offsets) = self.admitted(now, commit, true);
        let reply = Reply::Commit(answers);
        if offsets.is_empty() {
            return out.push(Output::Reply { caller, reply });
        }
        let mut records = Vec::with_capacity(offsets.len());
        for (topic, partition, committed) in offsets {
            // Nobody reads it before the end, so it need not wait for the log here.
            self.waiting.set(producer_id, topic.clone(), partition, committed.clone());
            let group = self.id.clone();
            records.push(GroupRecord::Waiting { group, producer_id, topic, partition, committed });
        }
        let id = self.persist(records, out);
        self.hold(id, Effect::Reply(caller, reply));
    }

    /// The producer's transaction has ended: what waited for it counts, or goes. The answer says that this has its place in
    /// the log, not that it is durable.
    pub(super) fn end_transaction(
        &mut self,
        caller: CallerId,
        producer_id: ProducerId,
        outcome: Outcome,
        out: &mut Vec<Output>,
    ) {
        let offsets = self.waiting.take(producer_id);
        if !offsets.is_empty() {
            let mut records = Vec::with_capacity(2 * offsets.len());
            if outcome == Outcome::Commit {
                records.extend(offsets.iter().map(|offset| self.offset_record(offset)));
            }
            let tombstone = |(topic, partition, _): &PartitionOffset| GroupRecord::WaitingTombstone {
                group: self.id.clone(),
                producer_id,
                topic: topic.clone(),
                partition: *partition,
            };
            records.extend(offsets.iter().map(tombstone));
            let id = self.persist(records, out);
            if outcome == Outcome::Commit {
                self.hold(id, Effect::Commit(offsets));
            }
        }
        out.push(Output::Reply { caller, reply: Reply::EndTransaction(ErrorCode::None) });
    }

    /// Forgets what waits in these topics; the tombstones for it.
    pub(super) fn forget_waiting(&mut self, is_gone: impl Fn(&TopicName) -> bool) -> Vec<GroupRecord> {
        let gone = self.waiting.places().filter(|(_, topic, _)| is_gone(topic));
        let gone: Vec<_> = gone.map(|(id, topic, partition)| (id, topic.clone(), partition)).collect();
        gone.into_iter()
            .map(|(producer_id, topic, partition)| {
                self.waiting.remove(producer_id, &topic, partition);
                GroupRecord::WaitingTombstone { group: self.id.clone(), producer_id, topic, partition }
            })
            .collect()
    }
}
