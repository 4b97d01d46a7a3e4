//! `Heartbeat`: a sign of life, answered with what the member has missed.

use super::{Group, Phase};
use crate::{
    ids::{CallerId, Millis},
    message::{Heartbeat, Output, Reply},
};
use keyway_record::ErrorCode;

impl Group {
    pub(super) fn heartbeat(
        &mut self,
        now: Millis,
        caller: CallerId,
        heartbeat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        let error = self.try_heartbeat(now, heartbeat).err().unwrap_or(ErrorCode::None);
        out.push(Output::Reply { caller, reply: Reply::Heartbeat(error) });
    }

    fn try_heartbeat(&mut self, now: Millis, heartbeat: &Heartbeat) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.identify(&heartbeat.member_id, heartbeat.instance_id.as_ref())?;
        if heartbeat.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.member(&heartbeat.member_id).touch(now);
        match self.phase {
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            // A member may beat between its join and its sync.
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
            Phase::Empty | Phase::Dead => unreachable!("neither has members"),
        }
    }
}
