//! The rebalance itself: from the first reason for one to the next generation.

use super::{Gathering, Group, Phase, Standing, durable::refusal, member::vote};
use crate::{
    ids::{MemberId, Millis, after},
    message::{Joined, JoinedMember, Output, Reply},
};
use keyway_record::ErrorCode;
use std::sync::Arc;

/// How long to wait again for static members when none at all came back, ms; their sessions end it.
const POSTPONE_MS_MIN: i32 = 1_000;

impl Group {
    /// Something changed that the members must agree on: starts a rebalance unless one gathers members already, and
    /// ends it if everyone is there.
    pub(super) fn rebalance(&mut self, now: Millis, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Dead => return,
            Phase::Empty if self.members.is_empty() => return,
            Phase::Preparing { .. } => {}
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(now, out),
        }
        self.complete_if_all_joined(now, out);
    }

    fn prepare(&mut self, now: Millis, out: &mut Vec<Output>) {
        for (id, member) in &mut self.members {
            member.owes_sync = false;
            if matches!(member.standing, Standing::Syncing { .. }) {
                out.extend(refusal(id, member.standing, ErrorCode::RebalanceInProgress));
                member.idle(now);
            }
        }
        let timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = self.config.initial_rebalance_delay_ms;
        let gathers = matches!(self.phase, Phase::Empty) && delay_ms > 0;
        self.phase = if gathers {
            let remaining_ms = timeout_ms.saturating_sub(delay_ms).max(0);
            let gathering = Gathering { remaining_ms, joined_since: false };
            Phase::Preparing { deadline: after(now, delay_ms), gathering: Some(gathering) }
        } else {
            Phase::Preparing { deadline: after(now, timeout_ms), gathering: None }
        };
        self.protocol = None;
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Millis, out: &mut Vec<Output>) {
        let waits_for_joins_only = matches!(self.phase, Phase::Preparing { gathering: None, .. });
        let all_joined = self.pending.is_empty() && self.members.values().all(|member| member.is_joining());
        if waits_for_joins_only && all_joined {
            self.complete(now, out);
        }
    }

    /// The deadline of [`Phase::Preparing`] has passed.
    pub(super) fn preparing_is_due(
        &mut self,
        now: Millis,
        gathering: Option<Gathering>,
        out: &mut Vec<Output>,
    ) {
        match gathering {
            Some(Gathering { remaining_ms, joined_since: true }) if remaining_ms > 0 => {
                let delay_ms = self.config.initial_rebalance_delay_ms.min(remaining_ms);
                let gathering = Gathering { remaining_ms: remaining_ms - delay_ms, joined_since: false };
                self.phase = Phase::Preparing { deadline: after(now, delay_ms), gathering: Some(gathering) };
            }
            _ => self.complete(now, out),
        }
    }

    /// Ends the wait for joins: who did not join is out, except for static members, who may be restarting.
    fn complete(&mut self, now: Millis, out: &mut Vec<Output>) {
        let gone = self.members.iter().filter(|(_, m)| !m.is_joining() && m.instance_id.is_none());
        let gone: Vec<MemberId> = gone.map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.remove(id, ErrorCode::UnknownMemberId, out));
        if self.members.is_empty() {
            return self.become_empty(out);
        }
        let joining = |id: &&MemberId| self.members[*id].is_joining();
        let leader = self.leader.iter().find(joining).or_else(|| self.members.keys().find(joining)).cloned();
        let Some(leader) = leader else {
            let deadline = after(now, self.rebalance_timeout_ms().max(POSTPONE_MS_MIN));
            self.phase = Phase::Preparing { deadline, gathering: None };
            return;
        };
        self.leader = Some(leader);
        self.generation = self.generation.next();
        self.protocol = Some(vote(&self.members));
        self.phase = Phase::Completing { sync_deadline: after(now, self.rebalance_timeout_ms()) };
        let joined: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.is_joining()).map(|(id, _)| id.clone()).collect();
        for id in joined {
            let reply = Reply::Join(Ok(self.joined(&id)));
            let member = self.member(&id);
            let Standing::Joining { caller, .. } = member.standing else { unreachable!("filtered above") };
            member.idle(now);
            member.owes_sync = true;
            out.push(Output::Reply { caller, reply });
        }
    }

    fn become_empty(&mut self, out: &mut Vec<Output>) {
        self.generation = self.generation.next();
        self.protocol = None;
        self.phase = Phase::Empty;
        if self.durable.stored {
            self.persist_membership(out);
        }
    }

    /// The current generation as `id` is told of it.
    pub(super) fn joined(&self, id: &MemberId) -> Joined {
        let leads = self.leader.as_ref() == Some(id);
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.current_protocol(),
            leader: self.leader.clone().expect("a generation has a leader"),
            skip_assignment: false,
            member_id: id.clone(),
            members: if leads { self.joined_members() } else { Vec::new() },
        }
    }

    /// Everyone, for the leader.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.current_protocol();
        self.members.iter().map(|(id, member)| member.joined(id, &protocol)).collect()
    }

    pub(super) fn current_protocol(&self) -> Arc<str> {
        self.protocol.clone().expect("a generation has a protocol")
    }

    /// Takes a member out; whoever waits for it is told `error`. The caller decides what follows.
    pub(super) fn remove(&mut self, id: &MemberId, error: ErrorCode, out: &mut Vec<Output>) {
        let member = self.members.remove(id).expect("only members are removed");
        out.extend(refusal(id, member.standing, error));
        if let Some(instance) = &member.instance_id {
            let named = self.statics.remove(instance);
            assert_eq!(named.as_ref(), Some(id), "an instance id leads to its member");
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}
