//! `LeaveGroup`: members leave, or are taken out by an administrator.

use super::{Group, Phase};
use crate::{
    ids::{CallerId, MemberId, Millis},
    message::{Leaving, Output, Reply},
};
use keyway_record::ErrorCode;

impl Group {
    pub(super) fn leave(
        &mut self,
        now: Millis,
        caller: CallerId,
        leaving: Vec<Leaving>,
        out: &mut Vec<Output>,
    ) {
        if matches!(self.phase, Phase::Dead) {
            let reply = Reply::Leave(Err(ErrorCode::CoordinatorNotAvailable));
            return out.push(Output::Reply { caller, reply });
        }
        let members_before = self.members.len();
        let mut left = Vec::with_capacity(leaving.len());
        for one in leaving {
            let error = self.take_out(&one, out).err().unwrap_or(ErrorCode::None);
            left.push((one, error));
        }
        out.push(Output::Reply { caller, reply: Reply::Leave(Ok(left)) });
        self.follow_departure(members_before, now, out);
    }

    fn take_out(&mut self, leaving: &Leaving, out: &mut Vec<Output>) -> Result<(), ErrorCode> {
        let member_id: MemberId = match &leaving.instance_id {
            // By its instance id alone a member is taken out whoever it is now.
            Some(instance_id) if leaving.member_id.is_empty() => {
                self.statics.get(instance_id).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            _ => leaving.member_id.clone(),
        };
        if leaving.instance_id.is_none() && self.pending.remove(&member_id).is_some() {
            return Ok(());
        }
        self.identify(&member_id, leaving.instance_id.as_ref())?;
        self.remove(&member_id, ErrorCode::UnknownMemberId, out);
        Ok(())
    }
}
