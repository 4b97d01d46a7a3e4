//! What time alone does to a group.

use super::{Group, Phase};
use crate::{
    ids::{MemberId, Millis},
    message::Output,
};
use keyway_record::ErrorCode;

impl Group {
    pub(super) fn tick(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.pending.retain(|_, expires| *expires > now);
        let silent = self.members.iter().filter(|(_, m)| m.expires().is_some_and(|expires| expires <= now));
        let silent = silent.map(|(id, _)| id.clone()).collect();
        self.expel(silent, now, out);
        self.fence_late(now, out);
        self.plan_if_due(now, out);
        match self.phase {
            Phase::Preparing { deadline, gathering } if deadline <= now => {
                self.preparing_is_due(now, gathering, out);
            }
            Phase::Completing { sync_deadline } if sync_deadline <= now => self.expel(self.owing(), now, out),
            Phase::Stable { sync_deadline: Some(sync_deadline) } if sync_deadline <= now => {
                self.expel(self.owing(), now, out);
            }
            _ => {}
        }
        assert!(self.next_deadline().is_none_or(|deadline| deadline > now), "a tick leaves nothing due");
    }

    fn plan_if_due(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(consumers) = &mut self.consumers else { return };
        consumers.plan_if_due(now, &self.catalog);
        self.persist_consumers(out);
    }

    /// Takes members out and does what follows from it, also if there are none: an id that expired may have been what
    /// a rebalance waited for.
    fn expel(&mut self, ids: Vec<MemberId>, now: Millis, out: &mut Vec<Output>) {
        let members_before = self.members.len();
        ids.iter().for_each(|id| self.remove(id, ErrorCode::UnknownMemberId, out));
        self.follow_departure(members_before, now, out);
    }

    /// Members may be gone, and ids that were handed out.
    pub(super) fn follow_departure(&mut self, members_before: usize, now: Millis, out: &mut Vec<Output>) {
        if self.members.len() < members_before {
            self.rebalance(now, out);
        } else {
            self.complete_if_all_joined(now, out);
        }
    }

    fn owing(&self) -> Vec<MemberId> {
        self.members.iter().filter(|(_, member)| member.owes_sync).map(|(id, _)| id.clone()).collect()
    }
}
