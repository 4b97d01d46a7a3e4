//! What goes into a group and what comes out of it.

use crate::{
    assignor::Assignor,
    catalog::{Assignment, Catalog},
    ids::{CallerId, Generation, InstanceId, MemberEpoch, MemberId, PersistId},
    offsets::Committed,
    stored::GroupRecord,
};
use bytes::Bytes;
use keyway_record::{ErrorCode, Outcome, PartitionId, ProducerId, Timestamp, TopicName};
use std::sync::Arc;

/// Something that happened to a group. Each input with a `caller` gets exactly one [`Output::Reply`], now or later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// `JoinGroup`.
    Join {
        /// Who waits.
        caller: CallerId,
        /// The request.
        join: Join,
    },
    /// `SyncGroup`.
    Sync {
        /// Who waits.
        caller: CallerId,
        /// The request.
        sync: Sync,
    },
    /// `Heartbeat`.
    Heartbeat {
        /// Who waits.
        caller: CallerId,
        /// The request.
        heartbeat: Heartbeat,
    },
    /// `LeaveGroup`: one member up to version 2, a batch from version 3 on.
    Leave {
        /// Who waits.
        caller: CallerId,
        /// Who is to leave.
        leaving: Vec<Leaving>,
    },
    /// `ConsumerGroupHeartbeat`: a member joins, goes on or leaves under the consumer protocol.
    ConsumerHeartbeat {
        /// Who waits.
        caller: CallerId,
        /// The request.
        heartbeat: ConsumerHeartbeat,
    },
    /// The topics are these now. Comes before anything that asks for partitions, after a restart too.
    Topics {
        /// All of them.
        catalog: Arc<Catalog>,
    },
    /// `OffsetCommit`, of topics that exist.
    Commit {
        /// Who waits.
        caller: CallerId,
        /// The request.
        commit: Commit,
    },
    /// `TxnOffsetCommit`, of topics that exist, by a producer whose transaction the group takes part in. Answered with
    /// [`Reply::Commit`].
    CommitInTransaction {
        /// Who waits.
        caller: CallerId,
        /// Whose transaction.
        producer_id: ProducerId,
        /// The request.
        commit: Commit,
    },
    /// The producer's transaction has ended. May come twice.
    EndTransaction {
        /// Who waits.
        caller: CallerId,
        /// Whose transaction.
        producer_id: ProducerId,
        /// Whether its offsets count.
        outcome: Outcome,
    },
    /// `OffsetDelete`.
    DeleteOffsets {
        /// Who waits.
        caller: CallerId,
        /// Which ones.
        partitions: Vec<(TopicName, PartitionId)>,
    },
    /// `DeleteGroups`.
    Delete {
        /// Who waits.
        caller: CallerId,
    },
    /// A topic is gone, and with it the offsets committed in it.
    TopicDeleted {
        /// The topic's name.
        topic: TopicName,
    },
    /// The records of this request and of all earlier ones are durable.
    Persisted {
        /// The newest durable request.
        id: PersistId,
    },
    /// Now and then (Kafka: every 10 minutes): forget offsets that outlived their retention.
    ExpireOffsets {
        /// The wall clock's time.
        wall: Timestamp,
    },
    /// [`crate::Group::next_deadline`] has passed. Inputs that wait are stepped first, so that a heartbeat in a
    /// queue still counts.
    Tick,
}

/// What the owner does for a group, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Answer this caller.
    Reply {
        /// The caller of the input.
        caller: CallerId,
        /// The answer.
        reply: Reply,
    },
    /// Append these records, then step [`Input::Persisted`] once they are durable. Requests are appended in the
    /// order of their ids; one request may be split, it need not be atomic.
    Persist {
        /// Names the request.
        id: PersistId,
        /// What to append; the last record of a key counts.
        records: Vec<GroupRecord>,
    },
}

/// One subscription or assignment protocol that a member knows, such as `range` or `cooperative-sticky`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member tells the leader under this protocol; opaque here.
    pub metadata: Bytes,
}

/// A `JoinGroup` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// The id given earlier, or empty.
    pub member_id: MemberId,
    /// Static membership (v5+).
    pub instance_id: Option<InstanceId>,
    /// The request header's client id.
    pub client_id: Arc<str>,
    /// The client's address, for people.
    pub client_host: Arc<str>,
    /// Silence after which the member is expelled, ms.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member, ms; version 0 has none and uses the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer` for consumers.
    pub protocol_type: Arc<str>,
    /// What the member supports, the preferred one first.
    pub protocols: Vec<Protocol>,
    /// Version 4 and later: a member without an id gets one and joins again with it (KIP-394).
    pub require_known_member_id: bool,
    /// Version 9 and later: the client understands [`Joined::skip_assignment`].
    pub supports_skip_assignment: bool,
    /// 16 fresh random bytes, for the id of a new member.
    pub random: [u8; 16],
}

/// A `SyncGroup` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sync {
    /// Who asks.
    pub member_id: MemberId,
    /// Static membership (v3+).
    pub instance_id: Option<InstanceId>,
    /// The generation that the member joined.
    pub generation: Generation,
    /// The protocol type that the member expects (v5+).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the member expects (v5+).
    pub protocol_name: Option<Arc<str>>,
    /// The leader's decision; empty from everyone else.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A `Heartbeat` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Who is alive.
    pub member_id: MemberId,
    /// Static membership (v3+).
    pub instance_id: Option<InstanceId>,
    /// The generation that the member is in.
    pub generation: Generation,
}

/// One member of a `LeaveGroup` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Who leaves; may be empty if the instance id is there.
    pub member_id: MemberId,
    /// Static membership (v3+).
    pub instance_id: Option<InstanceId>,
}

/// An `OffsetCommit` request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Who commits; empty outside of membership.
    pub member_id: MemberId,
    /// Static membership (v7+).
    pub instance_id: Option<InstanceId>,
    /// The generation, or [`Generation::NONE`] outside of membership.
    pub generation: Generation,
    /// Version 9 and later: the client knows member epochs.
    pub knows_member_epochs: bool,
    /// What to remember.
    pub offsets: Vec<(TopicName, PartitionId, Committed)>,
}

/// A `ConsumerGroupHeartbeat` request; what is `None` is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerHeartbeat {
    /// The id that the client gave itself.
    pub member_id: MemberId,
    /// How far the member has come, or one of the special epochs.
    pub member_epoch: MemberEpoch,
    /// Static membership.
    pub instance_id: Option<InstanceId>,
    /// Where the client is.
    pub rack_id: Option<Arc<str>>,
    /// The request header's client id.
    pub client_id: Arc<str>,
    /// The client's address, for people.
    pub client_host: Arc<str>,
    /// How long the member may take to give partitions up, ms.
    pub rebalance_timeout_ms: Option<i32>,
    /// The names of topics that it wants.
    pub topic_names: Option<Vec<Arc<str>>>,
    /// The regular expression of topics that it wants, empty for none.
    pub topic_pattern: Option<Arc<str>>,
    /// The assignor that it asks for.
    pub assignor: Option<Assignor>,
    /// What it uses.
    pub owned: Option<Assignment>,
}

/// The answer to one caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Input::Join`].
    Join(Result<Joined, Refused>),
    /// To [`Input::Sync`].
    Sync(Result<Synced, ErrorCode>),
    /// To [`Input::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`Input::Leave`]; the error outside means that no member was looked at.
    Leave(Result<Vec<(Leaving, ErrorCode)>, ErrorCode>),
    /// To [`Input::Commit`] and [`Input::CommitInTransaction`], in the order of its offsets.
    Commit(Vec<(TopicName, PartitionId, ErrorCode)>),
    /// To [`Input::EndTransaction`]: what follows from it has its place in the log.
    EndTransaction(ErrorCode),
    /// To [`Input::ConsumerHeartbeat`].
    ConsumerHeartbeat(Result<ConsumerBeat, ErrorCode>),
    /// To [`Input::DeleteOffsets`], in the order of its partitions.
    DeleteOffsets(Result<Vec<(TopicName, PartitionId, ErrorCode)>, ErrorCode>),
    /// To [`Input::Delete`].
    Delete(ErrorCode),
}

/// A successful `ConsumerGroupHeartbeat`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerBeat {
    /// The member.
    pub member_id: MemberId,
    /// Its epoch now.
    pub member_epoch: MemberEpoch,
    /// When it is to be heard of again, ms.
    pub heartbeat_interval_ms: i32,
    /// What it may use, if that is new or it asked.
    pub assignment: Option<Assignment>,
}

/// A successful `JoinGroup`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The generation that was agreed on.
    pub generation: Generation,
    /// The group's protocol type.
    pub protocol_type: Arc<str>,
    /// The protocol that was voted for.
    pub protocol_name: Arc<str>,
    /// The member that assigns.
    pub leader: MemberId,
    /// The leader need not assign anew (v9+).
    pub skip_assignment: bool,
    /// The member that is answered.
    pub member_id: MemberId,
    /// Everyone, for the leader; empty for everyone else.
    pub members: Vec<JoinedMember>,
}

/// One member, as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// The member.
    pub member_id: MemberId,
    /// Static membership.
    pub instance_id: Option<InstanceId>,
    /// The member's metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A refused `JoinGroup`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The reason.
    pub error: ErrorCode,
    /// The request's member id, or the new one with [`ErrorCode::MemberIdRequired`].
    pub member_id: MemberId,
}

/// A successful `SyncGroup`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Arc<str>,
    /// The generation's protocol.
    pub protocol_name: Arc<str>,
    /// What the leader decided for this member; opaque here.
    pub assignment: Bytes,
}

/// Where a group is in its rebalance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// No members; offsets may be there.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everyone has, or can have, an assignment.
    Stable,
    /// What members are to have is about to be decided; only under the consumer protocol.
    Assigning,
    /// Members move towards what they are to have; only under the consumer protocol.
    Reconciling,
    /// Deleted; the owner drops the group.
    Dead,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Assigning,
        Self::Reconciling,
        Self::Dead,
    ];

    /// Kafka's name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

/// The protocol of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GroupKind {
    /// Its leader assigns.
    Classic,
    /// The broker assigns (KIP-848); single members may speak the classic protocol.
    Consumer,
}

impl GroupKind {
    /// Kafka's name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
        }
    }
}

/// A group for `ConsumerGroupDescribe`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerDescription {
    /// The state.
    pub state: State,
    /// The group's epoch, and that of its assignment.
    pub epoch: MemberEpoch,
    /// The assignor.
    pub assignor: Assignor,
    /// Everyone, by member id.
    pub members: Vec<ConsumerMemberDescription>,
}

/// One member of a [`ConsumerDescription`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerMemberDescription {
    /// The member.
    pub member_id: MemberId,
    /// Static membership.
    pub instance_id: Option<InstanceId>,
    /// Where the client is.
    pub rack_id: Option<Arc<str>>,
    /// How far it has come.
    pub epoch: MemberEpoch,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// The client's address.
    pub client_host: Arc<str>,
    /// What it is subscribed to by name.
    pub topic_names: Vec<Arc<str>>,
    /// And by expression.
    pub topic_pattern: Option<Arc<str>>,
    /// What it may use.
    pub assignment: Assignment,
    /// What it is to have.
    pub target: Assignment,
    /// The protocol that it speaks.
    pub kind: GroupKind,
}

/// A group for `DescribeGroups` and `ListGroups`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// The state.
    pub state: State,
    /// The protocol type, empty if there never was one.
    pub protocol_type: Arc<str>,
    /// The protocol, empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Everyone, by member id.
    pub members: Vec<MemberDescription>,
}

/// One member of a [`Description`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDescription {
    /// The member.
    pub member_id: MemberId,
    /// Static membership.
    pub instance_id: Option<InstanceId>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// The client's address.
    pub client_host: Arc<str>,
    /// The member's metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What the member was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}
