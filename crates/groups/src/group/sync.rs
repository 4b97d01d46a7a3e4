//! `SyncGroup`: the leader hands in the assignment, everyone takes their part of it.

use super::{Group, Phase, Standing, durable::refusal};
use crate::{
    ids::{CallerId, MemberId, Millis},
    message::{Output, Reply, Sync, Synced},
};
use bytes::Bytes;
use keyway_record::ErrorCode;
use std::collections::BTreeMap;

impl Group {
    pub(super) fn sync(&mut self, now: Millis, caller: CallerId, sync: Sync, out: &mut Vec<Output>) {
        if let Err(error) = self.try_sync(now, caller, sync, out) {
            out.push(Output::Reply { caller, reply: Reply::Sync(Err(error)) });
        }
    }

    /// `Ok` if the caller is answered, or will be.
    fn try_sync(
        &mut self,
        now: Millis,
        caller: CallerId,
        sync: Sync,
        out: &mut Vec<Output>,
    ) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.identify(&sync.member_id, sync.instance_id.as_ref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let other_type = sync.protocol_type.is_some_and(|name| name != self.protocol_type);
        let other_name =
            sync.protocol_name.is_some_and(|name| self.protocol.as_ref().is_some_and(|p| *p != name));
        if other_type || other_name {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty | Phase::Dead => unreachable!("neither has members"),
            Phase::Preparing { .. } => return Err(ErrorCode::RebalanceInProgress),
            Phase::Completing { .. } => {
                let member = self.member(&sync.member_id);
                // The client gave up on its earlier request.
                out.extend(refusal(&sync.member_id, member.standing, ErrorCode::RebalanceInProgress));
                member.standing = Standing::Syncing { caller };
                member.owes_sync = false;
                if self.leader.as_ref() == Some(&sync.member_id) {
                    self.assign(now, sync.assignments, out);
                }
            }
            Phase::Stable { .. } => {
                self.settle(&sync.member_id, now);
                let reply = Reply::Sync(Ok(self.synced(&sync.member_id)));
                self.reply_once_stored(caller, reply, out);
            }
        }
        Ok(())
    }

    /// The leader has decided: the group is stable, and everyone who waits is answered once that is durable.
    fn assign(&mut self, now: Millis, assignments: Vec<(MemberId, Bytes)>, out: &mut Vec<Output>) {
        let mut assignments: BTreeMap<_, _> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        let Phase::Completing { sync_deadline } = self.phase else { unreachable!("only then it is decided") };
        self.phase = Phase::Stable { sync_deadline: Some(sync_deadline) };
        let syncing = self.members.iter().filter_map(|(id, member)| match member.standing {
            Standing::Syncing { caller } => Some((id.clone(), caller)),
            Standing::Idle { .. } | Standing::Joining { .. } => None,
        });
        let syncing: Vec<(MemberId, CallerId)> = syncing.collect();
        syncing.iter().for_each(|(id, _)| self.settle(id, now));
        if self.store().encoded_len() > self.config.group_record_bytes_max {
            let reply = Reply::Sync(Err(ErrorCode::UnknownServerError));
            out.extend(
                syncing.iter().map(|(_, caller)| Output::Reply { caller: *caller, reply: reply.clone() }),
            );
            self.members.values_mut().for_each(|member| member.assignment = Bytes::new());
            return self.rebalance(now, out);
        }
        self.persist_membership(out);
        for (id, caller) in syncing {
            let reply = Reply::Sync(Ok(self.synced(&id)));
            self.reply_once_stored(caller, reply, out);
        }
    }

    /// The member has, or is about to get, its assignment.
    fn settle(&mut self, id: &MemberId, now: Millis) {
        let member = self.member(id);
        member.owes_sync = false;
        member.idle(now);
        self.forget_sync_deadline_if_met();
    }

    pub(super) fn forget_sync_deadline_if_met(&mut self) {
        if let Phase::Stable { sync_deadline } = &mut self.phase
            && !self.members.values().any(|member| member.owes_sync)
        {
            *sync_deadline = None;
        }
    }

    fn synced(&self, id: &MemberId) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.current_protocol(),
            assignment: self.members[id].assignment.clone(),
        }
    }
}
