//! The classic consumer-group protocol (KIP-62, KIP-345, KIP-394) as a state machine, one per group id.
//!
//! ```text
//!              first member joins              all joined, or the deadline passed
//!   Empty ------------------------> Preparing -----------------------------------> Completing
//!     ^                             ^   |  ^                                           |
//!     '----- nobody joined ---------|---'  '-- a member joins, leaves or is lost ------|
//!                                   |                                                  | the leader assigned
//!                                   '--------------------- Stable <--------------------'
//! ```
//!
//! Nothing here waits: whoever has to wait is remembered by its [`CallerId`], and every state that waits has a
//! deadline. The times are the owner's: an input is judged by what the state is, not by what a clock would make of it,
//! and only [`Input::Tick`] makes deadlines pass.

mod classic_consumer;
mod commit;
mod consumer_heartbeat;
#[cfg(test)]
mod consumer_histories;
mod durable;
mod fence;
mod heartbeat;
#[cfg(test)]
mod histories;
mod join;
mod leave;
mod member;
mod migrate;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod transactional;

use crate::{
    catalog::Catalog,
    config::GroupConfig,
    consumer::Consumers,
    consumer_protocol,
    ids::{Generation, GroupId, InstanceId, MemberId, Millis, after},
    message::{
        ConsumerDescription, ConsumerMemberDescription, Description, GroupKind, Input, MemberDescription,
        Output, State,
    },
    offsets::{Offsets, WaitingOffsets},
    recovery::Image,
    stored::{StoredConsumers, StoredGroup},
};
use bytes::Bytes;
use durable::Durable;
use keyway_record::{ErrorCode, Timestamp};
use member::{Member, Standing, common_protocols};
use std::{collections::BTreeMap, sync::Arc};

/// One consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    id: GroupId,
    config: GroupConfig,
    phase: Phase,
    generation: Generation,
    /// Empty until the first member comes.
    protocol_type: Arc<str>,
    /// What the generation uses; `None` outside of [`Phase::Completing`] and [`Phase::Stable`].
    protocol: Option<Arc<str>>,
    /// One of the members, if there are any.
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    /// The member of each instance id.
    statics: BTreeMap<InstanceId, MemberId>,
    /// Ids that were handed out and not used yet, and when they expire.
    pending: BTreeMap<MemberId, Millis>,
    /// Since when [`Input::ExpireOffsets`] finds the group empty.
    empty_since: Option<Timestamp>,
    offsets: Offsets,
    waiting: WaitingOffsets,
    /// The members, of a group that uses the consumer protocol; it has none in `members` then, and is in
    /// [`Phase::Empty`] or [`Phase::Dead`].
    consumers: Option<Box<Consumers>>,
    catalog: Arc<Catalog>,
    durable: Durable,
}

/// [`State`] with what belongs to it.
#[derive(Clone, Debug)]
enum Phase {
    Empty,
    /// Members that do not join until the deadline are expelled.
    Preparing {
        deadline: Millis,
        gathering: Option<Gathering>,
    },
    /// Members that did not ask for their assignment until the deadline are expelled.
    Completing {
        sync_deadline: Millis,
    },
    /// The deadline goes on while someone still owes a sync.
    Stable {
        sync_deadline: Option<Millis>,
    },
    Dead,
}

/// The first rebalance of an empty group waits, whoever is there already, because more members tend to follow.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    /// How much longer the wait may get, ms.
    remaining_ms: i32,
    /// Someone came since the wait was last extended.
    joined_since: bool,
}

impl Group {
    /// A group that nobody has used yet.
    #[must_use]
    pub fn new(id: GroupId, config: GroupConfig) -> Self {
        Self {
            id,
            config,
            phase: Phase::Empty,
            generation: Generation::default(),
            protocol_type: Arc::default(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            empty_since: None,
            offsets: Offsets::default(),
            waiting: WaitingOffsets::default(),
            consumers: None,
            catalog: Arc::default(),
            durable: Durable::default(),
        }
    }

    /// The group that the records of an earlier life describe; see [`crate::Recovery`].
    pub(crate) fn recover(id: GroupId, config: GroupConfig, now: Millis, image: Image) -> Self {
        let mut group = Self::new(id, config);
        group.offsets = image.offsets;
        group.waiting = image.waiting;
        group.durable.stored = image.stored.is_some() || image.consumers.is_some();
        if let Some(StoredConsumers { epoch, empty_since }) = image.consumers {
            let default_ms = group.config.consumer_session_timeout_ms;
            let session_ends = |session_ms: Option<i32>| after(now, session_ms.unwrap_or(default_ms));
            group.consumers = Some(Consumers::recover(epoch, image.members, session_ends).into());
            group.empty_since = empty_since;
            return group;
        }
        let Some(stored) = image.stored else { return group };
        group.generation = stored.generation;
        group.protocol_type = stored.protocol_type;
        group.leader = stored.leader;
        group.empty_since = stored.empty_since;
        group.members = stored.members.into_iter().map(|member| Member::recover(member, now)).collect();
        let instance = |(id, member): (&MemberId, &Member)| Some((member.instance_id.clone()?, id.clone()));
        group.statics = group.members.iter().filter_map(instance).collect();
        if !group.members.is_empty() {
            group.protocol = Some(stored.protocol);
            group.phase = Phase::Stable { sync_deadline: None };
        }
        group
    }

    /// Follows other settings from the next input on; deadlines that are set stay as they are.
    pub fn configure(&mut self, config: GroupConfig) {
        self.config = config;
    }

    /// Takes one input at time `now`, which never goes back, and appends what is to be done to `out`.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Join { caller, join } if self.has_consumers() => {
                self.join_consumers(now, caller, &join, out)
            }
            Input::Join { caller, join } => {
                self.forget_consumer_protocol(out);
                self.join(now, caller, &join, out);
            }
            Input::Sync { caller, sync } if self.has_consumers() => {
                self.sync_consumer(now, caller, &sync, out)
            }
            Input::Sync { caller, sync } => self.sync(now, caller, sync, out),
            Input::Heartbeat { caller, heartbeat } if self.has_consumers() => {
                self.heartbeat_consumer(now, caller, &heartbeat, out);
            }
            Input::Heartbeat { caller, heartbeat } => self.heartbeat(now, caller, &heartbeat, out),
            Input::Leave { caller, leaving } if self.has_consumers() => {
                self.leave_consumers(now, caller, leaving, out);
            }
            Input::Leave { caller, leaving } => self.leave(now, caller, leaving, out),
            Input::ConsumerHeartbeat { caller, heartbeat } => {
                self.consumer_heartbeat(now, caller, &heartbeat, out);
            }
            Input::Topics { catalog } => self.topics(now, catalog, out),
            Input::DeleteOffsets { caller, partitions } => self.delete_offsets(caller, partitions, out),
            Input::Commit { caller, commit } => self.commit(now, caller, commit, out),
            Input::CommitInTransaction { caller, producer_id, commit } => {
                self.commit_in_transaction(now, caller, producer_id, commit, out);
            }
            Input::EndTransaction { caller, producer_id, outcome } => {
                self.end_transaction(caller, producer_id, outcome, out);
            }
            Input::Delete { caller } => self.delete(caller, out),
            Input::TopicDeleted { topic } => self.topic_deleted(&topic, out),
            Input::Persisted { id } => self.persisted(id, out),
            Input::ExpireOffsets { wall } => self.expire_offsets(wall, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// When [`Input::Tick`] is due; `None` while nothing waits for time to pass.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let phase = match self.phase {
            Phase::Preparing { deadline, .. } => Some(deadline),
            Phase::Completing { sync_deadline } => Some(sync_deadline),
            Phase::Stable { sync_deadline } => sync_deadline,
            Phase::Empty | Phase::Dead => None,
        };
        let members = self.members.values().filter_map(Member::expires);
        let consumers = self.consumers.as_ref().and_then(|consumers| consumers.next_deadline());
        members.chain(self.pending.values().copied()).chain(phase).chain(consumers).min()
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// Where the group is in its rebalance.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty if self.has_consumers() => self.consumers.as_ref().expect("checked").state(),
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::PreparingRebalance,
            Phase::Completing { .. } => State::CompletingRebalance,
            Phase::Stable { .. } => State::Stable,
            Phase::Dead => State::Dead,
        }
    }

    /// The protocol that the group uses, or used last.
    #[must_use]
    pub fn kind(&self) -> GroupKind {
        if self.consumers.is_some() { GroupKind::Consumer } else { GroupKind::Classic }
    }

    /// The committed offsets that are durable, for `OffsetFetch`.
    #[must_use]
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// The offsets that wait for the end of a transaction.
    #[must_use]
    pub fn waiting_offsets(&self) -> &WaitingOffsets {
        &self.waiting
    }

    /// Whether the owner may drop the group: it holds nothing that a new one of the same id would lack, and nobody
    /// waits. True of deleted groups, and of those that nobody came to use.
    #[must_use]
    pub fn is_disposable(&self) -> bool {
        let holds_offsets = !self.offsets.is_empty() || !self.waiting.is_empty();
        let unused = self.pending.is_empty() && !holds_offsets && !self.durable.stored;
        match self.phase {
            Phase::Dead => self.durable.is_idle(),
            Phase::Empty => self.durable.is_idle() && unused && !self.has_consumers(),
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => false,
        }
    }

    /// The group for `ConsumerGroupDescribe`, if it uses the consumer protocol.
    #[must_use]
    pub fn describe_consumers(&self) -> Option<ConsumerDescription> {
        let consumers = self.consumers.as_ref()?;
        let member =
            |(id, member): (&MemberId, &crate::consumer::member::Member)| ConsumerMemberDescription {
                member_id: id.clone(),
                instance_id: member.instance_id.clone(),
                rack_id: member.rack_id.clone(),
                epoch: member.holding.epoch,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topic_names: member.subscription.names.iter().cloned().collect(),
                topic_pattern: member.subscription.pattern.clone(),
                assignment: member.holding.assigned.keys().copied().collect(),
                target: consumers.target(id).clone(),
                kind: if member.classic.is_some() { GroupKind::Classic } else { GroupKind::Consumer },
            };
        Some(ConsumerDescription {
            state: self.state(),
            epoch: consumers.epoch(),
            assignor: consumers.assignor(),
            members: consumers.members().iter().map(member).collect(),
        })
    }

    /// The group for `DescribeGroups` and `ListGroups`.
    #[must_use]
    pub fn describe(&self) -> Description {
        let stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol.as_ref().filter(|_| stable);
        let member = |(id, member): (&MemberId, &Member)| MemberDescription {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
            assignment: member.assignment.clone(),
        };
        let protocol_type = match self.kind() {
            GroupKind::Classic => self.protocol_type.clone(),
            GroupKind::Consumer => consumer_protocol::PROTOCOL_TYPE.into(),
        };
        Description {
            state: self.state(),
            protocol_type,
            protocol: protocol.cloned().unwrap_or_default(),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Asserts every invariant of the state; for tests and simulation.
    pub fn check(&self) {
        let (preparing, completing) =
            (matches!(self.phase, Phase::Preparing { .. }), matches!(self.phase, Phase::Completing { .. }));
        let in_generation = completing || matches!(self.phase, Phase::Stable { .. });
        assert!(preparing || in_generation != self.members.is_empty(), "members and state agree");
        assert!(
            self.members.len() <= self.config.members_max && self.pending.len() <= self.config.members_max
        );
        assert_eq!(self.leader.is_some(), !self.members.is_empty(), "members have a leader");
        assert!(self.leader.iter().all(|leader| self.members.contains_key(leader)), "the leader is a member");
        assert!(
            self.pending.keys().all(|id| !self.members.contains_key(id)),
            "nobody is pending and a member"
        );
        let instances = self.members.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(instances, self.statics.len(), "instance ids are taken once");
        for (instance, id) in &self.statics {
            assert_eq!(
                self.members[id].instance_id.as_ref(),
                Some(instance),
                "instance ids lead to their members"
            );
        }
        for member in self.members.values() {
            match member.standing {
                Standing::Idle { .. } => {}
                Standing::Joining { .. } => {
                    assert!(preparing, "only a group that prepares lets members wait to join")
                }
                Standing::Syncing { .. } => {
                    assert!(completing, "assignments are awaited between joining and assigning")
                }
            }
            assert!(in_generation || !member.owes_sync, "a sync is owed within a generation");
            assert!(!matches!(member.standing, Standing::Syncing { .. }) || !member.owes_sync);
        }
        assert_eq!(self.protocol.is_some(), in_generation, "a generation has a protocol");
        let common = common_protocols(self.members.values());
        assert!(self.members.is_empty() || !common.is_empty(), "the members have a protocol in common");
        assert!(
            self.protocol.iter().all(|protocol| common.contains(protocol)),
            "everyone supports the protocol"
        );
        let owing = self.members.values().any(|member| member.owes_sync);
        match &self.phase {
            Phase::Preparing { gathering: None, .. } => {
                let all_joined = self.members.values().all(Member::is_joining);
                assert!(!all_joined || !self.pending.is_empty(), "a rebalance ends when everyone is there");
            }
            Phase::Completing { .. } => {
                let leader = self.leader.as_ref().map(|leader| self.members[leader].standing);
                assert!(!matches!(leader, Some(Standing::Syncing { .. })), "the leader's sync ends the wait");
            }
            Phase::Stable { sync_deadline } => {
                assert_eq!(sync_deadline.is_some(), owing, "owed syncs have a deadline")
            }
            Phase::Preparing { .. } | Phase::Empty | Phase::Dead => {}
        }
        self.durable.check();
        if let Some(consumers) = &self.consumers {
            let classic = !self.members.is_empty() || !self.pending.is_empty();
            assert!(!classic && matches!(self.phase, Phase::Empty | Phase::Dead), "one protocol at a time");
            assert!(consumers.len() <= self.config.members_max);
            consumers.check();
        }
    }

    /// Whether members are there under the consumer protocol.
    fn has_consumers(&self) -> bool {
        self.consumers.as_ref().is_some_and(|consumers| !consumers.is_empty())
    }

    /// Whether a request that states this member and instance comes from a member.
    fn identify(&self, member_id: &MemberId, instance_id: Option<&InstanceId>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn member(&mut self, id: &MemberId) -> &mut Member {
        self.members.get_mut(id).expect("checked by identify, or taken from the table itself")
    }

    /// How long a rebalance waits for the slowest member, ms.
    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// The membership as it is stored; taken in a stable or an empty group.
    fn store(&self) -> StoredGroup {
        assert!(matches!(self.phase, Phase::Stable { .. } | Phase::Empty), "a group at rest is stored");
        StoredGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone(),
            empty_since: self.empty_since,
            members: self.members.iter().map(|(id, member)| member.store(id)).collect(),
        }
    }
}
