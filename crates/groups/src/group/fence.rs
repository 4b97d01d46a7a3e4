//! Members of a consumer group go: they leave, are taken out, or did not do in time what they had to.

use super::Group;
use crate::{
    ids::{MemberId, Millis},
    message::Output,
};

impl Group {
    /// Takes members out. Their partitions are free at once: whoever still used them was told so by its epoch, or is
    /// taken for dead.
    pub(super) fn fence(&mut self, now: Millis, ids: Vec<MemberId>, out: &mut Vec<Output>) {
        if ids.is_empty() {
            return;
        }
        let consumers = self.consumers.as_mut().expect("members are fenced where members are");
        ids.iter().for_each(|id| _ = consumers.remove(id));
        if self.can_downgrade() {
            return self.downgrade(now, true, out);
        }
        let consumers = self.consumers.as_mut().expect("not downgraded");
        consumers.advance(now, &self.catalog, &self.config);
        self.persist_consumers(out);
    }

    /// Takes out whoever missed a deadline.
    pub(super) fn fence_late(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(consumers) = &self.consumers else { return };
        let late = consumers.members().iter().filter(|(_, member)| member.due.next() <= now);
        let late = late.map(|(id, _)| id.clone()).collect();
        self.fence(now, late, out);
    }
}
