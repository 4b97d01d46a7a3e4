//! What a member of a consumer group is stored as. Notation as in [`crate::stored`].
//!
//! | value of a consumer member | type |
//! |---|---|
//! | version, 1 | u8 |
//! | instance id, rack id | optional text, optional text |
//! | client id, client host | text, text |
//! | rebalance timeout, ms | i32 |
//! | assignor asked for | optional text |
//! | number of subscribed names, each | u32, text |
//! | subscribed expression | optional text |
//! | epoch, epoch before | i32, i32 |
//! | progress: 0 stable, 1 unrevoked, 2 unreleased | u8 |
//! | assigned partitions, partitions to give up | runs, runs |
//! | whether it speaks the classic protocol, and if so: | u8 |
//! | – session timeout, ms | i32 |
//! | – number of protocols, each name and metadata | u32, text, bytes |
//!
//! | runs | type |
//! |---|---|
//! | number of runs | u32 |
//! | per run, ascending: topic id | 16 bytes |
//! | – first partition, number of partitions | i32, u32 |
//! | – epoch since which the member has them | i32 |

use super::{
    holding::{Held, Holding, Progress},
    member::{Classic, Deadlines, Member},
    subscription::Subscription,
};
use crate::{
    assignor::Assignor,
    catalog::TopicIdPartition,
    ids::{InstanceId, MemberEpoch, Millis},
    stored::{GroupRecordError, codec::*},
};
use bytes::{BufMut, Bytes};
use keyway_record::{PartitionId, TopicId};
use std::sync::Arc;

/// Most partitions of one run that a stored member may claim: more than any topic has.
const RUN_LEN_MAX: u32 = 1 << 20;

/// A member of a consumer group as a restart finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredConsumer {
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) rack_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) subscription: Subscription,
    pub(crate) holding: Holding,
    pub(crate) classic: Option<Classic>,
}

impl StoredConsumer {
    pub(crate) fn of(member: &Member) -> Self {
        let Member { instance_id, rack_id, client_id, client_host, .. } = member.clone();
        Self {
            instance_id,
            rack_id,
            client_id,
            client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: member.assignor,
            subscription: member.subscription.clone(),
            holding: member.holding.clone(),
            classic: member.classic.clone(),
        }
    }

    /// The member, who has until `session` to be heard of.
    pub(crate) fn into_member(self, session: Millis) -> Member {
        Member {
            instance_id: self.instance_id,
            rack_id: self.rack_id,
            client_id: self.client_id,
            client_host: self.client_host,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            assignor: self.assignor,
            subscription: self.subscription,
            classic: self.classic,
            holding: self.holding,
            due: Deadlines::new(session),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_optional_text(&mut out, self.instance_id.as_ref().map(InstanceId::as_str));
        put_optional_text(&mut out, self.rack_id.as_deref());
        put_bytes(&mut out, self.client_id.as_bytes());
        put_bytes(&mut out, self.client_host.as_bytes());
        out.put_i32(self.rebalance_timeout_ms);
        put_optional_text(&mut out, self.assignor.map(Assignor::name));
        put_count(&mut out, self.subscription.names.len());
        self.subscription.names.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
        put_optional_text(&mut out, self.subscription.pattern.as_deref());
        out.put_i32(self.holding.epoch.0);
        out.put_i32(self.holding.previous_epoch.0);
        out.put_u8(match self.holding.progress {
            Progress::Stable => 0,
            Progress::Unrevoked => 1,
            Progress::Unreleased => 2,
        });
        put_runs(&mut out, &self.holding.assigned);
        put_runs(&mut out, &self.holding.revoking);
        out.put_u8(u8::from(self.classic.is_some()));
        if let Some(classic) = &self.classic {
            out.put_i32(classic.session_timeout_ms);
            put_protocols(&mut out, &classic.protocols);
        }
        out.into()
    }

    pub(crate) fn decode(mut value: &[u8]) -> Result<Self, GroupRecordError> {
        let value = &mut value;
        version(value)?;
        let member = Self {
            instance_id: take_optional(value, take_text)?.map(InstanceId),
            rack_id: take_optional(value, take_text)?,
            client_id: take_text(value)?,
            client_host: take_text(value)?,
            rebalance_timeout_ms: take_i32(value)?,
            assignor: take_optional(value, take_assignor)?,
            subscription: Subscription {
                names: (0..take_u32(value)?).map(|_| take_text(value)).collect::<Result<_, _>>()?,
                pattern: take_optional(value, take_text)?,
            },
            holding: take_holding(value)?,
            classic: take_optional(value, |value| {
                Ok(Classic { session_timeout_ms: take_i32(value)?, protocols: take_protocols(value)? })
            })?,
        };
        at_end(value)?;
        Ok(member)
    }
}

fn take_assignor(value: &mut &[u8]) -> Result<Assignor, GroupRecordError> {
    Assignor::named(&take_text(value)?).ok_or(GroupRecordError::Field)
}

fn take_holding(value: &mut &[u8]) -> Result<Holding, GroupRecordError> {
    let holding = Holding {
        epoch: MemberEpoch(take_i32(value)?),
        previous_epoch: MemberEpoch(take_i32(value)?),
        progress: match take_u8(value)? {
            0 => Progress::Stable,
            1 => Progress::Unrevoked,
            2 => Progress::Unreleased,
            _ => return Err(GroupRecordError::Field),
        },
        assigned: take_runs(value)?,
        revoking: take_runs(value)?,
    };
    let unrevoked = holding.progress == Progress::Unrevoked;
    let overlaps = holding.revoking.keys().any(|at| holding.assigned.contains_key(at));
    let consistent = unrevoked != holding.revoking.is_empty() && !overlaps;
    if consistent { Ok(holding) } else { Err(GroupRecordError::Contradiction) }
}

/// A run: the place after its last partition, how many there are, and their epoch.
struct Run {
    end: TopicIdPartition,
    len: u32,
    since: MemberEpoch,
}

fn put_runs(out: &mut Vec<u8>, held: &Held) {
    let mut runs: Vec<Run> = Vec::new();
    for (at, since) in held {
        let end = TopicIdPartition { partition: PartitionId(at.partition.0 + 1), ..*at };
        match runs.last_mut() {
            Some(run) if run.end == *at && run.since == *since => (run.end, run.len) = (end, run.len + 1),
            _ => runs.push(Run { end, len: 1, since: *since }),
        }
    }
    put_count(out, runs.len());
    for Run { end, len, since } in runs {
        out.put_slice(&end.topic.0);
        out.put_i32(end.partition.0 - len as i32);
        out.put_u32(len);
        out.put_i32(since.0);
    }
}

fn take_runs(value: &mut &[u8]) -> Result<Held, GroupRecordError> {
    let mut held = Held::new();
    for _ in 0..take_u32(value)? {
        let topic = TopicId(take(value)?);
        let (first, len) = (take_i32(value)?, take_u32(value)?);
        let since = MemberEpoch(take_i32(value)?);
        let end = first.checked_add_unsigned(len).filter(|_| first >= 0 && (1..=RUN_LEN_MAX).contains(&len));
        let partitions = first..end.ok_or(GroupRecordError::Field)?;
        held.extend(
            partitions.map(|index| (TopicIdPartition { topic, partition: PartitionId(index) }, since)),
        );
    }
    Ok(held)
}
