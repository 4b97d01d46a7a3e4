//! Going on somewhere else, by a person's decision.

use crate::dispatcher::{Dispatcher, Timer};
use crate::entry::State;
use crate::key_table::KeyTable;
use crate::live::Live;
use crate::park::Parking;
use crate::queue::Queue;
use crate::slab::NIL;
use crate::spill::Spills;
use crate::window::Window;
use crate::{Millis, Output};
use keyway_record::{KeyHash, Offset};

impl Dispatcher {
    /// Forgets every message and goes on at `to`; consumers, filters and counters stay.
    pub(crate) fn seek(&mut self, to: i64, out: &mut Vec<Output>) {
        self.unlink_ready_keys();
        let held: Vec<u32> = self.leases.iter().collect();
        for &index in &held {
            let key = self.live[index].key;
            if key != NIL && self.live.keys[key].head == index {
                self.revoke_run(key, out);
            }
        }
        for index in held {
            let consumer = self.live[index].consumer;
            self.leases.remove(&mut self.live, index);
            self.put_down(consumer);
        }
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Retry(_)));
        (self.live, self.table) = (Live::new(), KeyTable::default());
        (self.queue, self.window) = (Queue::new(), Window::new(to));
        self.saved.clear();
        self.spills = Spills::from(to);
        self.parking = Parking::default();
        self.troubled.clear();
        self.fetching = None;
        self.touch().urgent = true;
        out.push(Output::CursorMoved(Offset(to)));
        self.skip_below_log_start();
    }

    /// A used-up head is tried again from its first attempt.
    pub(crate) fn release_key(&mut self, hash: KeyHash, out: &mut Vec<Output>) {
        self.release_parked(hash, out);
        let Some(key) = self.live_key(hash) else { return };
        let head = self.live.keys[key].head;
        if head != NIL && self.live[head].state == State::Blocked {
            self.try_anew(head, out);
        }
    }

    pub(crate) fn release_all(&mut self, out: &mut Vec<Output>) {
        let parked: Vec<KeyHash> = self.parking.keys.keys().copied().collect();
        parked.into_iter().for_each(|key| self.release_parked(key, out));
        let blocked = self.window.live(i64::MAX).map(|(_, index)| index);
        let blocked: Vec<u32> = blocked.filter(|&index| self.live[index].state == State::Blocked).collect();
        for index in blocked {
            self.try_anew(index, out);
        }
    }

    fn try_anew(&mut self, index: u32, out: &mut Vec<Output>) {
        self.stop_waiting(index);
        let entry = &mut self.live[index];
        (entry.attempts, entry.failures, entry.due) = (0, 0, Millis::default());
        self.troubled.remove(&index);
        self.touch();
        self.let_go_on(index, out);
    }
}
