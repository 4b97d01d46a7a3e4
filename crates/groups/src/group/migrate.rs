//! From the classic to the consumer protocol and back, while members go on (`group.consumer.migration.policy`,
//! bidirectional).
//!
//! The first member with the consumer protocol turns a group of classic consumers into a consumer group, in which they
//! go on by their requests; when the last such member has gone, the group is a classic one again.

use super::{Group, Member as ClassicMember, Phase, Standing, durable::refusal, member::vote};
use crate::{
    catalog::TopicIdPartition,
    consumer::{
        Consumers,
        holding::{Held, Holding, Progress},
        member::{Classic, Deadlines, Member},
        subscription::Subscription,
    },
    consumer_protocol::{ConsumerAssignment, ConsumerSubscription, NamedPartitions, PROTOCOL_TYPE},
    ids::{Generation, MemberEpoch, MemberId, Millis, after},
    message::Output,
    stored::GroupRecord,
};
use bytes::Bytes;
use keyway_record::ErrorCode;
use std::{collections::BTreeSet, sync::Arc};

impl Group {
    /// The first member under the consumer protocol comes.
    pub(super) fn become_consumer_group(
        &mut self,
        now: Millis,
        out: &mut Vec<Output>,
    ) -> Result<(), ErrorCode> {
        // A client that speaks the consumer protocol is told that the group is none of its kind.
        let refused = ErrorCode::GroupIdNotFound;
        let mut consumers = Consumers::new(MemberEpoch(self.generation.0));
        if !self.members.is_empty() {
            if *self.protocol_type != *PROTOCOL_TYPE {
                return Err(refused);
            }
            let protocol = self.protocol.clone().unwrap_or_else(|| vote(&self.members));
            let mut taken = BTreeSet::new();
            for (id, member) in &self.members {
                let member = self.upgraded(now, member, &protocol, &mut taken).ok_or(refused)?;
                consumers.insert(id.clone(), member);
            }
            consumers.keep_as_targets();
        }
        for (id, member) in std::mem::take(&mut self.members) {
            out.extend(refusal(&id, member.standing, ErrorCode::RebalanceInProgress));
        }
        if self.durable.stored {
            let tombstone = self.membership_tombstone();
            self.persist(vec![tombstone], out);
        }
        self.statics.clear();
        self.pending.clear();
        (self.leader, self.protocol, self.phase) = (None, None, Phase::Empty);
        self.consumers = Some(consumers.into());
        Ok(())
    }

    /// A classic member as a member of a consumer group, unless it has an assignor of its own. Of two members with one
    /// partition, which only such an assignor would make, the first keeps it.
    fn upgraded(
        &self,
        now: Millis,
        member: &ClassicMember,
        protocol: &Arc<str>,
        taken: &mut BTreeSet<TopicIdPartition>,
    ) -> Option<Member> {
        let subscription = ConsumerSubscription::decode(&member.metadata(protocol)).ok()?;
        let assignment = ConsumerAssignment::decode(&member.assignment).ok()?;
        if assignment.has_user_data {
            return None;
        }
        let epoch = MemberEpoch(self.generation.0);
        let mut assigned: Held = self.with_ids(&assignment.partitions).map(|at| (at, epoch)).collect();
        assigned.retain(|at, _| taken.insert(*at));
        Some(Member {
            instance_id: member.instance_id.clone(),
            rack_id: None,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            subscription: Subscription { names: subscription.topics.into_iter().collect(), pattern: None },
            classic: Some(Classic {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
            holding: Holding {
                epoch,
                previous_epoch: epoch,
                progress: Progress::Stable,
                assigned,
                revoking: Held::new(),
            },
            due: Deadlines::new(after(now, member.session_timeout_ms)),
        })
    }

    /// Whether only members that speak the classic protocol are left.
    pub(super) fn can_downgrade(&self) -> bool {
        let Some(consumers) = &self.consumers else { return false };
        !consumers.is_empty() && consumers.members().values().all(|member| member.classic.is_some())
    }

    /// The last member with the consumer protocol has gone. With `rebalances`, the others share anew at once.
    pub(super) fn downgrade(&mut self, now: Millis, rebalances: bool, out: &mut Vec<Output>) {
        assert!(self.can_downgrade(), "everyone left speaks the classic protocol");
        let mut consumers = self.consumers.take().expect("just asked");
        let rebalances = rebalances || consumers.is_behind();
        let group = || self.id.clone();
        // Members that went with this, and those that have records.
        let changed = consumers.take_changes().1.into_iter().map(|(id, _)| id);
        let all: BTreeSet<MemberId> = changed.chain(consumers.members().keys().cloned()).collect();
        let tombstone = |member_id| GroupRecord::ConsumerTombstone { group: group(), member_id };
        let mut records: Vec<GroupRecord> = all.into_iter().map(tombstone).collect();
        records.push(GroupRecord::ConsumerGroupTombstone { group: group() });
        self.persist_members(records, out);
        for (id, member) in consumers.members() {
            let classic = member.classic.as_ref().expect("everyone left speaks the classic protocol");
            let target = consumers.target(id).iter().copied();
            let member = ClassicMember {
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: self.assignment_of(classic, target),
                standing: Standing::Idle { expires: after(now, classic.session_timeout_ms) },
                owes_sync: false,
            };
            member
                .instance_id
                .iter()
                .for_each(|instance| _ = self.statics.insert(instance.clone(), id.clone()));
            self.members.insert(id.clone(), member);
        }
        self.generation = Generation(consumers.epoch().0);
        self.protocol_type = PROTOCOL_TYPE.into();
        self.protocol = Some(vote(&self.members));
        self.leader = self.members.keys().next().cloned();
        self.phase = Phase::Stable { sync_deadline: None };
        self.durable.stored = false;
        if self.store().encoded_len() <= self.config.group_record_bytes_max {
            self.persist_membership(out);
        }
        if rebalances {
            self.rebalance(now, out);
        }
    }

    /// A classic member comes into a consumer group without members: the group is a classic one from now on.
    pub(super) fn forget_consumer_protocol(&mut self, out: &mut Vec<Output>) {
        let tombstone = self.membership_tombstone();
        let Some(consumers) = self.consumers.take() else { return };
        if std::mem::take(&mut self.durable.stored) {
            self.persist(vec![tombstone], out);
        }
        self.generation = self.generation.max(Generation(consumers.epoch().0));
    }

    /// Partitions with the names of their topics, as classic members are told of them.
    pub(super) fn assignment_of(
        &self,
        classic: &Classic,
        partitions: impl Iterator<Item = TopicIdPartition>,
    ) -> Bytes {
        let mut named = NamedPartitions::new();
        for at in partitions {
            // A topic that is gone meanwhile has no name any more.
            if let Some(name) = self.catalog.name(at.topic) {
                named.entry(name.as_str().into()).or_default().push(at.partition);
            }
        }
        let subscribed =
            classic.protocols.first().map(|protocol| ConsumerSubscription::decode(&protocol.metadata));
        let version = subscribed.and_then(Result::ok).map_or(0, |subscription| subscription.version);
        ConsumerAssignment::encode(version, &named)
    }

    /// Partitions that exist, of those that a classic member names.
    pub(super) fn with_ids<'a>(
        &'a self,
        named: &'a NamedPartitions,
    ) -> impl Iterator<Item = TopicIdPartition> + 'a {
        named.iter().flat_map(|(name, partitions)| {
            let topic = self.catalog.topic(name);
            let existing = partitions.iter().filter(move |partition| {
                topic.is_some_and(|topic| (0..topic.partitions).contains(&partition.0))
            });
            existing.filter_map(move |partition| {
                topic.map(|topic| TopicIdPartition { topic: topic.id, partition: *partition })
            })
        })
    }
}
