//! From the log: records, gaps, the log's start; and asking for more.

use crate::ahead::BATCH;
use crate::declarations::Wanted;
use crate::dispatcher::Verdict;
use crate::entry::{Entry, State};
use crate::key_table::Vacant;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::window::Cell;
use crate::{Arrival, Dispatcher, Output};
use keyway_record::Offset;

impl Dispatcher {
    pub(crate) fn take_records(&mut self, base: i64, end: i64, records: &[Arrival], out: &mut Vec<Output>) {
        if self.fetching != Some(base) {
            return;
        }
        self.fetching = None;
        // A wide gap in front is one step when nothing is live.
        let first = records.first().map_or(end, |record| record.offset.0);
        if self.live.len() == 0 && self.spills.count == 0 && first > self.window.next_read() {
            self.window.jump(first);
        }
        let limit = self.window.cursor() + i64::from(self.config.span_max);
        let mut stop = end.min(limit);
        let mut last = i64::MIN;
        for (nth, record) in records.iter().enumerate() {
            if nth % BATCH == 0 {
                self.read_ahead_of_records(&records[nth..records.len().min(nth + BATCH)]);
            }
            let offset = record.offset.0;
            assert!(last < offset && offset < end, "records ascend inside their range");
            last = offset;
            if offset < self.window.next_read().max(self.log_start) {
                continue;
            }
            if offset >= limit || self.live.len() >= self.config.live_max as usize {
                stop = stop.min(offset);
                break;
            }
            self.window.read_up_to(offset);
            if self.window.is_done_ahead(offset) {
                self.window.read_one();
            } else {
                self.take_record(record, out);
            }
        }
        self.window.read_up_to(stop);
        self.forget_saved();
    }

    /// What is known of messages that were read, or never will be, is known no more.
    pub(crate) fn forget_saved(&mut self) {
        let (read_to, log_start) = (self.window.next_read(), self.log_start);
        if self.saved.first_key_value().is_some_and(|(&offset, _)| offset < read_to) {
            // What is spilled will be read again.
            let Self { saved, window, .. } = self;
            saved.retain(|&offset, _| {
                offset >= read_to || offset >= log_start && window.get(offset) == Cell::Spilled
            });
        }
    }

    #[inline]
    fn take_record(&mut self, record: &Arrival, out: &mut Vec<Output>) {
        let key = match self.find_key(record) {
            Found::None => NIL,
            Found::Key(key) => key,
            Found::Vacant(vacant) if self.take_single(record, vacant) => return,
            Found::Vacant(vacant) => self.add_key(record, vacant),
        };
        if key != NIL && self.must_spill(key) {
            return self.spill(key, record.offset.0);
        }
        self.window.read_one();
        if self.mutated(Mutant::SkipInFlight)
            && key != NIL
            && self.live.keys[key].run > 0
            && self.declarations.wanted(self.live.text(key)) == Wanted::Unmatched
        {
            self.window.set_done(record.offset.0);
            return out.push(Output::Skipped { offset: record.offset });
        }
        self.append(key, record, out);
    }

    /// A record gets an entry, behind the others of its key.
    #[inline]
    pub(crate) fn append(&mut self, key: u32, record: &Arrival, out: &mut Vec<Output>) {
        let offset = record.offset.0;
        let mut entry = Entry::new(offset, key, record.size);
        let retry = if self.saved.is_empty() { None } else { self.saved.remove(&offset) };
        if let Some(retry) = &retry {
            (entry.attempts, entry.failures, entry.cause) = (retry.attempts, retry.failures, retry.cause);
            // A clock that was far ahead when this was saved must not hold the message for ever.
            entry.due = retry.retry_at.min(self.now.plus(self.config.failure.max_redelivery_delay_ms));
        }
        let index = self.live.insert(entry);
        self.window.set_live(offset, index);
        if let Some(retry) = retry.filter(|retry| retry.failures > 0) {
            self.troubled.insert(index, retry.reason);
        }
        if key == NIL {
            return match self.judge(index, out) {
                Verdict::Ready => self.queue.push_fresh(&mut self.live, index),
                Verdict::Waits => {}
                Verdict::Done => self.complete(index, out),
            };
        }
        let owner = &mut self.live.keys[key];
        owner.count += 1;
        let (first, in_flight) = (owner.count == 1, owner.run > 0);
        let tail = std::mem::replace(&mut owner.tail, index);
        if tail == NIL {
            owner.head = index;
        } else {
            self.live[tail].next = index;
        }
        if first || in_flight && self.pipelining {
            self.advance_key(key, out);
        }
    }

    #[inline]
    fn find_key(&mut self, record: &Arrival) -> Found {
        let Self { table, live, .. } = self;
        if !self.config.mode.is_keyed() {
            return Found::None;
        }
        match table.find_or_vacant(record.key, |other| live.keys[other].hash) {
            Ok(index) => Found::Key(index),
            Err(vacant) => Found::Vacant(vacant),
        }
    }

    /// The record's key, which becomes live if it is not.
    pub(crate) fn key_of(&mut self, record: &Arrival) -> u32 {
        match self.find_key(record) {
            Found::Key(key) => key,
            Found::Vacant(vacant) => self.add_key(record, vacant),
            Found::None => unreachable!("only keyed subscriptions park"),
        }
    }

    /// The record's key becomes live.
    fn add_key(&mut self, record: &Arrival, vacant: Vacant) -> u32 {
        let version = self.placement.version.wrapping_sub(1);
        let text = record.key_text.as_deref().unwrap_or_default();
        let index = self.live.add_key();
        self.live.keys[index].begin(record.key, text, NIL, version);
        self.table.insert(vacant, record.key, index);
        index
    }

    /// The log's start moved: what is older and not in anybody's hands is lost.
    pub(crate) fn move_log_start(&mut self, to: i64, out: &mut Vec<Output>) {
        if to <= self.log_start {
            return;
        }
        self.log_start = to;
        let old: Vec<(i64, u32)> = self.window.live(to).collect();
        for (offset, index) in old {
            // Its key may have lost it with the one before.
            if self.window.get(offset) == Cell::Done {
                continue;
            }
            match self.live[index].state {
                State::InFlight if self.mutated(Mutant::RetentionReleases) => {
                    self.release(index);
                    self.lose(index, out);
                }
                // A consumer or the owner has it; it is done or lost when they are.
                State::InFlight | State::Acked | State::SideWrite | State::Lost => {}
                state if !self.is_head(index) => {
                    let key = self.live[index].key;
                    if state == State::Backoff || self.live.keys[key].ready && self.next_of(key) == index {
                        self.stop_waiting(index);
                    }
                    self.live[index].state = State::Lost;
                }
                _ => {
                    self.stop_waiting(index);
                    self.lose(index, out);
                }
            }
        }
        self.lose_spilled(out);
        self.skip_below_log_start();
    }

    /// Completes a message that the log no longer has.
    pub(crate) fn lose(&mut self, index: u32, out: &mut Vec<Output>) {
        self.counters.lost += 1;
        out.push(Output::Lost { offset: Offset(self.live[index].offset) });
        self.complete(index, out);
    }

    pub(crate) fn skip_below_log_start(&mut self) {
        if self.log_start <= self.window.next_read() {
            return;
        }
        self.touch();
        // What was parked has no place in the window.
        if self.live.len() == self.parking.entries.len() && self.spills.count == 0 {
            self.window.advance();
            self.window.jump(self.log_start.max(self.window.cursor()));
        } else {
            let limit = self.window.cursor() + i64::from(self.config.span_max);
            self.window.read_up_to(self.log_start.min(limit));
        }
        self.forget_saved();
    }

    /// Asks for more when consumers could take more than there is, and there is room.
    pub(crate) fn ask_to_fetch(&mut self, out: &mut Vec<Output>) {
        if self.fetching.is_some() || !self.wants_more() {
            return;
        }
        self.skip_below_log_start();
        self.window.skip_done();
        let Some(room) = self.room() else { return };
        self.fetching = Some(self.window.next_read());
        out.push(Output::Fetch {
            from: Offset(self.window.next_read()),
            records_max: room.min(self.config.fetch_records_max),
            bytes_max: self.config.fetch_bytes_max,
        });
    }

    fn wants_more(&self) -> bool {
        if self.roster.connected().next().is_none() || !self.queue.blocked.is_empty() {
            return false;
        }
        self.ready() < self.config.ready_min as usize
            || self.roster.connected().any(|(at, consumer)| {
                consumer.can_take() && (!self.config.mode.is_ordered() || at == self.active)
            })
    }

    /// Messages that could be delivered if somebody could take them.
    pub(crate) fn ready(&self) -> usize {
        self.placement.ready_keys as usize + self.queue.len()
    }

    /// How many records may come in; none until there is room for a worthwhile number, so that fetches stay large.
    pub(crate) fn room(&self) -> Option<u32> {
        let live = u32::try_from(self.live.len()).expect("live messages are bounded");
        let span = self.window.span();
        let worth = |max: u32| (max / 8).clamp(1, self.config.fetch_records_max);
        let room = self.config.live_max.saturating_sub(live);
        let span_room = i64::from(self.config.span_max) - span;
        let enough =
            room >= worth(self.config.live_max) && span_room >= i64::from(worth(self.config.span_max));
        enough.then_some(room)
    }
}

/// What the table says of a record's key.
enum Found {
    /// Messages do not queue by key.
    None,
    /// It is live.
    Key(u32),
    /// It is not.
    Vacant(Vacant),
}
