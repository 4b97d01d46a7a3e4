//! The rules, as naive as they can be said: one map of messages, one list of consumers, no index, no cache.
//!
//! The model takes every input beside the real dispatcher, foresees everything but the choice among ready messages, and
//! holds each delivery against the rules. After every step nothing may be left that the rules allow to be delivered.

use crate::placement::rank;
use crate::*;
use bytes::Bytes;
use keyway_record::{KeyHash, Offset};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Unread,
    Waiting,
    InFlight { consumer: ConsumerId, lease: Option<Millis> },
    Acked { consumer: ConsumerId },
    Blocked,
    SideWrite,
    SideRetry,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// It was parked, and is back.
    pub(crate) unparked: bool,
    pub(crate) key: u8,
    pub(crate) place: Place,
    pub(crate) token: Option<Token>,
    pub(crate) attempts: u16,
    /// The attempt that its lease was for, and which lease it was.
    pub(crate) leased: u16,
    pub(crate) nth_lease: u64,
    pub(crate) failures: u16,
    pub(crate) due: Millis,
    pub(crate) cause: Cause,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Connected,
    Lost { until: Millis },
    Leaving { deadline: Option<Millis> },
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: ConsumerId,
    pub(crate) name: u64,
    pub(crate) link: Link,
    pub(crate) credit: u32,
    pub(crate) per_key: usize,
    pub(crate) brake: Brake,
    pub(crate) patterns: Vec<Vec<u8>>,
}

/// Where a parked key is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Parked,
    Released,
    Asked,
    Unparking,
    /// Released under a former owner.
    Recovered,
}

/// The latest ends, whether they were used up, and whether that is too often.
#[derive(Clone, Default, Debug)]
pub(crate) struct Brake {
    ends: Vec<bool>,
    engaged: bool,
}

impl Brake {
    fn note(&mut self, used_up: bool, brake: FloodBrake) -> Option<bool> {
        self.ends.push(used_up);
        let looked_at = usize::from(brake.outcomes);
        let latest = &self.ends[self.ends.len().saturating_sub(looked_at)..];
        let bad = latest.iter().filter(|&&used_up| used_up).count();
        let before = self.engaged;
        self.engaged = if before {
            bad * 2 > looked_at
        } else {
            latest.len() == looked_at && bad * 100 >= usize::from(brake.used_up_percent) * looked_at
        };
        (before != self.engaged).then_some(self.engaged)
    }
}

impl Place {
    pub(crate) fn holder(self) -> Option<ConsumerId> {
        match self {
            Self::InFlight { consumer, .. } | Self::Acked { consumer } => Some(consumer),
            _ => None,
        }
    }
}

/// Leases of consumers that take runs double with every attempt, six times.
fn growth(holder: &Member, attempts: u16) -> u16 {
    if holder.per_key > 1 { (attempts - 1).min(6) } else { 0 }
}

impl Member {
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.link, Link::Leaving { .. })
    }
}

pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) epoch: OwnerEpoch,
    pub(crate) now: Millis,
    pub(crate) messages: BTreeMap<i64, Message>,
    pub(crate) done: BTreeSet<i64>,
    pub(crate) next_read: i64,
    pub(crate) log_start: i64,
    /// What the dispatcher left in the log, to read it again: how much that may be is its choice.
    pub(crate) spilled: BTreeSet<i64>,
    /// In order of joining.
    pub(crate) members: Vec<Member>,
    pub(crate) active: Option<u64>,
    /// Declarations that nobody makes any more.
    pub(crate) retained: Vec<(Vec<Vec<u8>>, Millis)>,
    pub(crate) brake: Brake,
    /// Keys whose messages go elsewhere, or come from there.
    pub(crate) parked: BTreeMap<u8, Stage>,
    /// Consumers in the order in which those of one deadline are given up.
    pub(crate) places: Vec<ConsumerId>,
    last_token: u64,
    leases: u64,
    expected: Vec<Output>,
    /// Runs that their consumers must be told to forget.
    revoked: Vec<(ConsumerId, KeyHash)>,
}

pub(crate) fn key_text(key: u8) -> Bytes {
    Bytes::from(format!("key-{}{}", key % 3, key))
}

pub(crate) fn key_hash(key: u8) -> KeyHash {
    KeyHash::of(&key_text(key))
}

fn matches(patterns: &[Vec<u8>], key: u8) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| glob_matches(pattern, &key_text(key)))
}

fn canonical(filters: &[Bytes]) -> Vec<Vec<u8>> {
    if filters.iter().any(|pattern| pattern == "*") {
        return vec![];
    }
    filters.iter().map(|pattern| pattern.to_vec()).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Model {
    pub(crate) fn new(config: Config, epoch: OwnerEpoch) -> Self {
        let start = config.start.0;
        Self {
            config,
            epoch,
            now: Millis(0),
            messages: BTreeMap::new(),
            done: (0..start).collect(),
            next_read: start,
            log_start: 0,
            spilled: BTreeSet::new(),
            members: vec![],
            active: None,
            retained: vec![],
            brake: Brake::default(),
            parked: BTreeMap::new(),
            places: vec![],
            last_token: 0,
            leases: 0,
            expected: vec![],
            revoked: vec![],
        }
    }

    /// A new owner knows what the snapshot says, and nothing else.
    pub(crate) fn restart(
        &mut self,
        now: Millis,
        epoch: OwnerEpoch,
        snapshot: Option<&Snapshot>,
        config: &Config,
        log: &[Option<u8>],
    ) {
        let last_token = self.last_token;
        *self = Self::new(config.clone(), epoch);
        (self.now, self.last_token) = (now, last_token);
        let Some(snapshot) = snapshot else { return };
        self.done = (0..snapshot.cursor.0).collect();
        self.done.extend(snapshot.done.iter().cloned().flatten());
        self.next_read = snapshot.cursor.0;
        for retry in &snapshot.retries {
            let message = Message {
                unparked: false,
                key: log[retry.offset.0 as usize].unwrap(),
                place: Place::Unread,
                token: None,
                attempts: retry.attempts,
                leased: 0,
                nth_lease: 0,
                failures: retry.failures,
                due: retry.retry_at,
                cause: retry.cause,
                reason: retry.reason.clone(),
            };
            self.messages.insert(retry.offset.0, message);
        }
        for (hash, released) in &snapshot.parked {
            let key = (0..=255).find(|&key| key_hash(key) == *hash).unwrap();
            self.parked.insert(key, if *released { Stage::Recovered } else { Stage::Parked });
        }
        let grace = now.plus(self.config.filter_grace_ms);
        let retained = snapshot.declarations.iter();
        self.retained = retained.map(|d| (d.patterns.clone(), d.until.unwrap_or(grace))).collect();
    }

    /// Takes one step, given what the dispatcher put out and how far it has read now.
    pub(crate) fn step(
        &mut self,
        now: Millis,
        input: &Input,
        read_to: i64,
        spilled: BTreeSet<i64>,
        log: &[Option<u8>],
        out: &[Output],
    ) {
        self.now = self.now.max(now);
        self.expected.clear();
        self.apply(input);
        self.apply_time();
        self.take_in(input, read_to, log);
        self.spill(spilled);
        self.settle();
        for output in out {
            match output {
                Output::Deliver { consumer, offset, token, attempt } => {
                    self.deliver(*consumer, offset.0, *token, *attempt);
                }
                Output::Revoke { consumer, key, token } => {
                    self.ascend(*token);
                    let revoked = self.revoked.iter().position(|revoked| *revoked == (*consumer, *key));
                    self.revoked.swap_remove(revoked.expect("only what is void is revoked"));
                }
                _ => {}
            }
        }
        assert!(self.revoked.is_empty(), "what is void is revoked: {:?}", self.revoked);
        self.pass_over();
        self.assert_nothing_left();
        self.forget_drained();
        let said = |output: &&Output| {
            !matches!(
                output,
                Output::Deliver { .. }
                    | Output::Revoke { .. }
                    | Output::Fetch { .. }
                    | Output::Reread { .. }
                    | Output::CursorMoved(_)
                    | Output::Persist
            )
        };
        let mut said: Vec<String> = out.iter().filter(said).map(|output| format!("{output:?}")).collect();
        let mut expected: Vec<String> = self.expected.iter().map(|output| format!("{output:?}")).collect();
        said.sort();
        expected.sort();
        assert_eq!(said, expected, "what happened (left) is what the rules foresee (right)");
    }

    fn apply(&mut self, input: &Input) {
        match input {
            Input::Records { .. } | Input::Tick => {}
            Input::Reread { .. } => {}
            Input::Unpark { key, parked } => self.unpark(*key, parked),
            Input::Renew { offset, token } => {
                let message = self.messages.get(&offset.0);
                if let Some(Message { place: Place::InFlight { lease: Some(_), .. }, .. }) = message
                    && message.is_some_and(|message| message.token == Some(*token))
                {
                    self.lease(offset.0);
                }
            }
            Input::Seek { to } => {
                let held = |m: &&Message| matches!(m.place, Place::InFlight { lease: Some(_), .. });
                let held: Vec<(u8, ConsumerId)> = (self.messages.values().filter(held))
                    .map(|message| (message.key, message.place.holder().unwrap()))
                    .collect();
                held.into_iter().for_each(|(key, consumer)| self.revoke_from(key, consumer));
                self.messages.clear();
                self.parked.clear();
                self.done = (0..to.0).collect();
                self.next_read = to.0;
            }
            Input::Release { key } => {
                let keyed = self.config.mode == Mode::KeyShared;
                self.release(|message| keyed && key_hash(message.key) == *key);
                let parked = self.parked.keys().copied().find(|&parked| key_hash(parked) == *key);
                parked.into_iter().for_each(|key| self.release_parked(key));
            }
            Input::ReleaseAll => {
                self.release(|_| true);
                let parked: Vec<u8> = self.parked.keys().copied().collect();
                parked.into_iter().for_each(|key| self.release_parked(key));
            }
            Input::Join(join) => self.join(join),
            Input::Leave { consumer, deadline } => {
                let Some(at) = self.find(*consumer) else { return };
                if !matches!(self.members[at].link, Link::Leaving { .. }) {
                    if self.members[at].link != Link::Connected {
                        self.return_held(*consumer);
                    }
                    self.stop_wanting(at);
                }
                self.members[at].link = Link::Leaving { deadline: *deadline };
            }
            Input::Gone { consumer } => {
                let Some(at) = self.find(*consumer) else { return };
                match (self.members[at].link, self.config.mode) {
                    (Link::Leaving { .. }, _) => self.return_held(*consumer),
                    (Link::Lost { .. }, _) => {}
                    (Link::Connected, Mode::KeyShared | Mode::Exclusive) => {
                        let until = self.now.plus(self.config.reconnect_grace_ms);
                        self.members[at].link = Link::Lost { until };
                        if self.config.mode == Mode::Exclusive {
                            self.return_held(*consumer);
                        }
                    }
                    (Link::Connected, Mode::Shared | Mode::Failover) => self.expel(*consumer),
                }
            }
            Input::Resume { consumer } => {
                if let Some(at) =
                    self.find(*consumer).filter(|&at| matches!(self.members[at].link, Link::Lost { .. }))
                {
                    self.members[at].link = Link::Connected;
                }
            }
            Input::SetFilters { consumer, filters } => {
                if let Some(at) = self.find(*consumer).filter(|&at| !self.members[at].is_leaving()) {
                    self.want(at, filters);
                }
            }
            Input::SetCredit { consumer, credit } => {
                if let Some(at) = self.find(*consumer) {
                    self.members[at].credit = *credit;
                }
            }
            Input::Ack { offset, token } => self.ack(offset.0, *token),
            Input::Nack { offset, token, delay_ms, reason } => {
                let Some(message) = self.messages.get(&offset.0) else { return };
                let current = token.is_none() || *token == message.token;
                if matches!(message.place, Place::InFlight { .. }) && current {
                    if self.run(message.key).len() > 1 {
                        self.revoke(offset.0);
                    }
                    self.fail(offset.0, Cause::Nack, true, Some(delay_ms.unwrap_or(0)), reason.clone());
                }
            }
            Input::LogStart { to } => self.apply_log_start(to.0),
            Input::SetPolicy(policy) => {
                let members = self.members.clone();
                for message in self.messages.values_mut() {
                    match &mut message.place {
                        Place::InFlight { consumer, lease: Some(lease) } => {
                            let holder = members.iter().find(|member| member.id == *consumer).unwrap();
                            let longest = policy.ack_timeout_ms << growth(holder, message.leased);
                            *lease = (*lease).min(self.now.plus(longest));
                        }
                        place @ Place::Blocked
                            if !(policy.poison == Poison::Block
                                || policy.poison == Poison::Park && self.config.mode != Mode::KeyShared)
                                || message.failures <= policy.max_redelivery_count =>
                        {
                            *place = Place::Waiting;
                        }
                        _ => {}
                    }
                }
                self.config.failure = policy.clone();
                if policy.flood_brake.is_none() {
                    let mut engaged = vec![];
                    for member in &mut self.members {
                        let was = std::mem::take(&mut member.brake).engaged;
                        engaged.extend(was.then_some(Some(member.id)));
                    }
                    engaged.extend(std::mem::take(&mut self.brake).engaged.then_some(None));
                    let released = |consumer| Output::FloodBrake { consumer, engaged: false };
                    self.expected.extend(engaged.into_iter().map(released));
                }
            }
            Input::SideDone { offset, ok } => {
                let due = self.now.plus(1_000);
                if let Some(message) =
                    self.messages.get_mut(&offset.0).filter(|m| m.place == Place::SideWrite)
                {
                    if *ok {
                        self.finish(offset.0);
                    } else if offset.0 < self.log_start && !message.unparked {
                        self.lose(offset.0);
                    } else {
                        (message.place, message.due) = (Place::SideRetry, due);
                    }
                }
            }
        }
        self.elect();
    }

    fn release_parked(&mut self, key: u8) {
        if self.parked.get(&key) == Some(&Stage::Parked) {
            let writing =
                |m: &Message| m.key == key && matches!(m.place, Place::SideWrite | Place::SideRetry);
            let stage = if self.messages.values().any(writing) { Stage::Released } else { Stage::Asked };
            if stage == Stage::Asked {
                self.expected.push(Output::Unpark { key: key_hash(key) });
            }
            self.parked.insert(key, stage);
        }
    }

    fn unpark(&mut self, hash: KeyHash, parked: &[Arrival]) {
        let key = self.parked.keys().copied().find(|&key| key_hash(key) == hash);
        let Some(key) = key else { return };
        match self.parked[&key] {
            Stage::Asked => {}
            _ => return self.release_parked(key),
        }
        let in_memory = |(o, m): &(&i64, &Message)| {
            m.key == key && m.place != Place::Unread && !self.spilled.contains(*o)
        };
        let count = self.messages.iter().filter(in_memory).count();
        let room = (self.config.live_max as usize / 8).max(1).saturating_sub(count).max(1);
        let taken = parked.iter().take(room).filter(|record| self.done.contains(&record.offset.0));
        let taken: Vec<i64> = taken.map(|record| record.offset.0).collect();
        for &offset in &taken {
            let (place, due, cause, reason) = (Place::Waiting, Millis(0), Cause::Nack, None);
            let fresh = Message {
                unparked: true,
                key,
                place,
                token: None,
                attempts: 0,
                leased: 0,
                nth_lease: 0,
                failures: 0,
                due,
                cause,
                reason,
            };
            self.messages.insert(offset, fresh);
        }
        if taken.is_empty() {
            self.parked.remove(&key);
        } else {
            self.parked.insert(key, Stage::Unparking);
        }
    }

    /// Whether a live message waits for its key's parked ones.
    fn is_held_back(&self, offset: i64) -> bool {
        let message = &self.messages[&offset];
        self.config.mode == Mode::KeyShared && self.parked.contains_key(&message.key) && !message.unparked
    }

    fn release(&mut self, which: impl Fn(&Message) -> bool) {
        for message in self.messages.values_mut().filter(|m| m.place == Place::Blocked && which(m)) {
            let fresh = (Place::Waiting, 0, 0, Millis(0));
            (message.place, message.attempts, message.failures, message.due) = fresh;
        }
    }

    fn join(&mut self, join: &Join) {
        let known = self.members.iter().position(|member| member.name == join.name_hash);
        let others = self.members.iter().find(|m| m.name != join.name_hash && !m.is_leaving());
        if let Some(holder) = others.filter(|_| self.config.mode == Mode::Exclusive) {
            let refusal = Refusal::Exclusive { holder: holder.id };
            return self.expected.push(Output::Refused { consumer: join.consumer, refusal });
        }
        let Some(at) = known else {
            let (id, name, credit) = (join.consumer, join.name_hash, join.credit);
            self.members.push(Member {
                id,
                name,
                link: Link::Connected,
                credit,
                per_key: 1,
                brake: Brake::default(),
                patterns: vec![b"\0new".into()],
            });
            self.members.last_mut().unwrap().per_key = self.per_key(join);
            return self.want(self.members.len() - 1, &join.filters);
        };
        let old = self.members[at].id;
        if old != join.consumer {
            self.expected.push(Output::Replaced { consumer: old });
            self.members[at].id = join.consumer;
            for message in self.messages.values_mut() {
                if let Place::InFlight { consumer, .. } | Place::Acked { consumer } = &mut message.place
                    && *consumer == old
                {
                    *consumer = join.consumer;
                }
            }
        }
        if self.members[at].is_leaving() {
            self.members[at].patterns = vec![b"\0new".into()];
            if self.members[at].per_key > 1 {
                for offset in self.held(join.consumer) {
                    if self.is_held_by(offset, join.consumer) {
                        self.fail(offset, Cause::Disconnect, false, None, None);
                    }
                }
            }
        } else {
            self.return_held(join.consumer);
        }
        self.members[at].link = Link::Connected;
        self.members[at].credit = join.credit;
        self.members[at].per_key = self.per_key(join);
        self.want(at, &join.filters);
    }

    fn per_key(&self, join: &Join) -> usize {
        if self.config.mode == Mode::KeyShared { join.in_flight_per_key as usize } else { 1 }
    }

    /// Messages of a key in flight, which are its oldest.
    fn run(&self, key: u8) -> Vec<i64> {
        let held = |m: &Message| m.key == key && m.place.holder().is_some();
        self.messages.iter().filter(|(_, message)| held(message)).map(|(&offset, _)| offset).collect()
    }

    fn revoke(&mut self, offset: i64) {
        let message = &self.messages[&offset];
        self.revoke_from(message.key, message.place.holder().unwrap());
    }

    /// Consumers that take one message of a key need not be told.
    fn revoke_from(&mut self, key: u8, consumer: ConsumerId) {
        if self.members[self.find(consumer).unwrap()].per_key > 1 {
            self.revoked.push((consumer, key_hash(key)));
        }
    }

    /// Starts the lease of the lowest message of a run.
    fn lease(&mut self, offset: i64) {
        let attempts = self.messages[&offset].attempts;
        let consumer = self.messages[&offset].place.holder().unwrap();
        let holder = &self.members[self.find(consumer).unwrap()];
        let end = self.now.plus(self.config.failure.ack_timeout_ms << growth(holder, attempts));
        self.leases += 1;
        let message = self.messages.get_mut(&offset).unwrap();
        (message.place, message.leased) = (Place::InFlight { consumer, lease: Some(end) }, attempts);
        message.nth_lease = self.leases;
    }

    fn want(&mut self, at: usize, filters: &[Bytes]) {
        let patterns = if self.config.mode == Mode::KeyShared { canonical(filters) } else { vec![] };
        if self.members[at].patterns == patterns {
            return;
        }
        self.stop_wanting(at);
        self.retained.retain(|(retained, _)| *retained != patterns);
        self.members[at].patterns = patterns;
    }

    /// The last one who wanted this leaves it behind for a while.
    fn stop_wanting(&mut self, at: usize) {
        let patterns = self.members[at].patterns.clone();
        let others = self
            .members
            .iter()
            .enumerate()
            .any(|(other, member)| other != at && !member.is_leaving() && member.patterns == patterns);
        if !others && patterns != [b"\0new"] && self.config.mode == Mode::KeyShared {
            self.retained.push((patterns, self.now.plus(self.config.filter_grace_ms)));
        }
    }

    fn apply_log_start(&mut self, to: i64) {
        if to <= self.log_start {
            return;
        }
        self.log_start = to;
        let gone = |offset: &i64, m: &Message| {
            !m.unparked && matches!(m.place, Place::Blocked | Place::SideRetry)
                || self.spilled.contains(offset)
        };
        let lost: Vec<i64> =
            self.messages.range(..to).filter(|(offset, m)| gone(offset, m)).map(|(&o, _)| o).collect();
        lost.into_iter().for_each(|offset| self.lose(offset));
    }

    fn apply_time(&mut self) {
        let mut ends: Vec<(Millis, u16, u64, i64)> = self
            .messages
            .iter()
            .filter_map(|(&offset, message)| match message.place {
                Place::InFlight { lease: Some(lease), consumer } if lease <= self.now => {
                    let holder = &self.members[self.find(consumer).unwrap()];
                    Some((lease, growth(holder, message.leased), message.nth_lease, offset))
                }
                _ => None,
            })
            .collect();
        ends.sort_unstable();
        for (.., offset) in ends {
            if self.config.mode == Mode::KeyShared {
                self.revoke(offset);
            }
            self.fail(offset, Cause::AckTimeout, true, Some(0), None);
        }
        let over = |member: &&Member| matches!(member.link, Link::Lost { until } if until <= self.now);
        let mut over: Vec<Member> = self.members.iter().filter(over).cloned().collect();
        over.sort_by_key(|member| {
            let Link::Lost { until } = member.link else { unreachable!() };
            (until, self.places.iter().position(|&id| id == member.id))
        });
        let over: Vec<ConsumerId> = over.into_iter().map(|member| member.id).collect();
        over.into_iter().for_each(|consumer| self.expel(consumer));
        let due =
            |member: &&Member| matches!(member.link, Link::Leaving { deadline: Some(at) } if at <= self.now);
        let due: Vec<ConsumerId> = self.members.iter().filter(due).map(|member| member.id).collect();
        for consumer in due {
            for offset in self.held(consumer) {
                if !self.is_held_by(offset, consumer) {
                    continue;
                }
                if self.config.mode == Mode::KeyShared {
                    self.revoke(offset);
                }
                self.fail(offset, Cause::Disconnect, false, None, None);
            }
        }
        self.retained.retain(|&(_, until)| until > self.now);
        let again: Vec<i64> = (self.messages.iter())
            .filter(|(_, message)| message.place == Place::SideRetry && message.due <= self.now)
            .map(|(&offset, _)| offset)
            .collect();
        again.into_iter().for_each(|offset| self.side_write(offset));
    }

    fn take_in(&mut self, input: &Input, read_to: i64, log: &[Option<u8>]) {
        for offset in self.next_read..read_to {
            if self.done.contains(&offset) {
                continue;
            }
            let record = log.get(offset as usize).copied().flatten().filter(|_| offset >= self.log_start);
            let Some(key) = record else {
                self.messages.remove(&offset);
                self.done.insert(offset);
                continue;
            };
            let offered =
                matches!(input, Input::Records { base, end, .. } if (base.0..end.0).contains(&offset));
            assert!(offered, "offset {offset} was passed over without being read");
            let (due, place) = (Millis(0), Place::Unread);
            let (cause, reason) = (Cause::Nack, None);
            let fresh = Message {
                unparked: false,
                key,
                place,
                token: None,
                attempts: 0,
                leased: 0,
                nth_lease: 0,
                failures: 0,
                due,
                cause,
                reason,
            };
            let message = self.messages.entry(offset).or_insert(fresh);
            message.place = Place::Waiting;
            message.due = message.due.min(self.now.plus(self.config.failure.max_redelivery_delay_ms));
        }
        self.next_read = self.next_read.max(read_to);
    }

    fn is_held_by(&self, offset: i64, consumer: ConsumerId) -> bool {
        self.messages.get(&offset).is_some_and(|message| message.place.holder() == Some(consumer))
    }

    /// Only messages that waited behind others of their key are left in the log.
    fn spill(&mut self, spilled: BTreeSet<i64>) {
        for &offset in &spilled {
            let message = &self.messages[&offset];
            let behind = self.messages.range(offset..).filter(|(_, m)| m.key == message.key);
            let hidden = behind.filter(|(_, m)| m.place != Place::Unread).all(|(o, _)| spilled.contains(o));
            assert!(message.place == Place::Waiting && hidden, "{offset} cannot be left in the log");
        }
        self.spilled = spilled;
    }

    /// Messages that nothing is before: the oldest of each key, or each by itself.
    fn heads(&self) -> Vec<i64> {
        let keyed = self.config.mode == Mode::KeyShared;
        let mut heads = self.nexts();
        heads.retain(|offset| !keyed || self.run(self.messages[offset].key).is_empty());
        heads
    }

    /// The oldest of each key that is not in flight, or each by itself.
    fn nexts(&self) -> Vec<i64> {
        let mut keys = BTreeSet::new();
        let out = |message: &Message| message.place == Place::Unread || message.place.holder().is_some();
        let read = self.messages.iter().filter(|(_, message)| !out(message));
        read.filter(|(_, m)| self.config.mode != Mode::KeyShared || keys.insert(m.key))
            .map(|(&o, _)| o)
            .filter(|offset| !self.spilled.contains(offset))
            .collect()
    }

    /// Heads that were lost or used up come to their end.
    fn settle(&mut self) {
        self.ask_for_parked();
        loop {
            let waiting = |offset: &i64| self.messages[offset].place == Place::Waiting;
            let max = self.config.failure.max_redelivery_count;
            let ends = |offset: &i64| {
                let message = &self.messages[offset];
                let parks = || self.parked[&message.key] != Stage::Asked;
                *offset < self.log_start && !message.unparked
                    || self.is_held_back(*offset) && parks()
                    || !self.is_held_back(*offset) && message.failures > max
            };
            let Some(offset) = self.heads().into_iter().find(|offset| waiting(offset) && ends(offset)) else {
                return;
            };
            let Message { key, unparked, .. } = self.messages[&offset];
            if offset < self.log_start && !unparked {
                self.lose(offset);
                self.ask_for_parked();
                continue;
            }
            if self.is_held_back(offset) {
                if self.parked[&key] == Stage::Parked {
                    self.side_write(offset);
                } else {
                    self.expected.push(Output::Unpark { key: key_hash(key) });
                    self.parked.insert(key, Stage::Asked);
                }
                continue;
            }
            if self.config.failure.poison == Poison::Park && self.config.mode == Mode::KeyShared {
                self.parked.insert(key, Stage::Parked);
                if unparked {
                    self.messages.retain(|_, m| m.key != key || !m.unparked);
                } else {
                    self.side_write(offset);
                }
                continue;
            }
            let message = self.messages.get_mut(&offset).unwrap();
            let (attempts, cause) = (u32::from(message.attempts), message.cause);
            match self.config.failure.poison {
                Poison::Block | Poison::Park => {
                    message.place = Place::Blocked;
                    self.expected.push(Output::Blocked { offset: Offset(offset), attempts, cause });
                }
                Poison::DeadLetter => self.side_write(offset),
                Poison::Drop => {
                    self.expected.push(Output::Dropped { offset: Offset(offset), attempts, cause });
                    self.finish(offset);
                    self.ask_for_parked();
                }
            }
        }
    }

    /// Released keys with nothing left to do ask for the next part; so do those that a new owner finds released.
    fn ask_for_parked(&mut self) {
        for (key, stage) in self.parked.clone() {
            let empty = !self.messages.values().any(|m| m.key == key && m.place != Place::Unread);
            let through = matches!(stage, Stage::Released | Stage::Unparking) && empty;
            if through || stage == Stage::Recovered {
                self.expected.push(Output::Unpark { key: key_hash(key) });
                self.parked.insert(key, Stage::Asked);
            }
        }
    }

    fn side_write(&mut self, offset: i64) {
        let parks = self.is_held_back(offset);
        let message = self.messages.get_mut(&offset).unwrap();
        message.place = Place::SideWrite;
        let (attempts, cause) = (message.attempts.into(), message.cause);
        let (offset, reason) = (Offset(offset), message.reason.clone());
        self.expected.push(match parks {
            true => Output::Park { offset, attempts, cause, reason },
            false => Output::DeadLetter { offset, attempts, cause, reason },
        });
    }

    /// Whom a key belongs to: the best of those who want it, or, where no filter is asked, its slot's owner.
    fn owner(&self, key: u8) -> Option<&Member> {
        let slot = ((u128::from(self.config.slots) * (key_hash(key).0 >> 96)) >> 32) as u32;
        let filters = self.members.iter().filter(|m| !m.is_leaving()).map(|member| &member.patterns);
        let mut filters = filters.chain(self.retained.iter().map(|(patterns, _)| patterns));
        if !filters.any(|patterns| !patterns.is_empty() && matches(patterns, key)) {
            return self.slot_owner(slot);
        }
        let wanting = |m: &&Member| !m.is_leaving() && matches(&m.patterns, key);
        self.members.iter().filter(wanting).max_by_key(|member| rank(slot, member.name))
    }

    /// Slots and members by descending score: each pair comes together if the slot is free and the member may have more.
    fn slot_owner(&self, wanted: u32) -> Option<&Member> {
        let members = self.members.iter().filter(|member| !member.is_leaving() && member.patterns.is_empty());
        let members: Vec<&Member> = members.collect();
        let slots = self.config.slots as usize;
        let percent = self.config.slots_max_percent.unwrap_or(100_000) as usize;
        let mean_up = slots.div_ceil(members.len().max(1));
        let most = (slots * percent / 100 / members.len().max(1)).max(mean_up);
        let pairs = members.iter().flat_map(|member| (0..self.config.slots).map(move |slot| (slot, *member)));
        let mut pairs: Vec<(u32, &Member)> = pairs.collect();
        pairs.sort_by_key(|(slot, member)| std::cmp::Reverse(rank(*slot, member.name)));
        let (mut owners, mut loads) = (BTreeMap::new(), BTreeMap::new());
        for (slot, member) in pairs {
            let load = loads.entry(member.name).or_insert(0);
            if *load < most && !owners.contains_key(&slot) {
                owners.insert(slot, member);
                *load += 1;
            }
        }
        owners.get(&wanted).copied()
    }

    fn held(&self, consumer: ConsumerId) -> Vec<i64> {
        let held = self.messages.iter().filter(
            |(_, message)| matches!(message.place, Place::InFlight { consumer: holder, .. } if holder == consumer),
        );
        held.map(|(&offset, _)| offset).collect()
    }

    fn can_take(&self, member: &Member) -> bool {
        member.link == Link::Connected && self.held(member.id).len() < member.credit as usize
    }

    /// Who may be given this head now, by the rules of order and place.
    fn takers(&self, offset: i64) -> Vec<&Member> {
        let message = &self.messages[&offset];
        if message.place != Place::Waiting || message.due > self.now || self.is_held_back(offset) {
            return vec![];
        }
        let mut before = self.messages.range(..offset).map(|(_, message)| message);
        let active = self.active.and_then(|name| self.members.iter().find(|member| member.name == name));
        let takers: Vec<&Member> = match self.config.mode {
            Mode::KeyShared => {
                let owner = self.owner(message.key).into_iter();
                owner.filter(|owner| self.may_join_run(owner, offset)).collect()
            }
            _ if before
                .any(|m| m.place == Place::Blocked || m.place == Place::Waiting && m.due <= self.now) =>
            {
                vec![]
            }
            Mode::Shared => self.members.iter().collect(),
            Mode::Exclusive | Mode::Failover => {
                let others_hold = self
                    .members
                    .iter()
                    .any(|other| Some(other.name) != self.active && !self.held(other.id).is_empty());
                active.into_iter().filter(|_| !others_hold).collect()
            }
        };
        takers.into_iter().filter(|member| self.can_take(member)).collect()
    }

    /// A key's messages in flight are at one consumer and no more than it takes; a last attempt is made alone.
    fn may_join_run(&self, owner: &Member, offset: i64) -> bool {
        let run = self.run(self.messages[&offset].key);
        let last = |offset: &i64| self.messages[offset].failures >= self.config.failure.max_redelivery_count;
        run.is_empty()
            || run.len() < owner.per_key
                && self.is_held_by(run[0], owner.id)
                && (offset >= self.log_start || self.messages[&offset].unparked)
                && !last(&offset)
                && !last(&run[0])
    }

    fn ascend(&mut self, token: Token) {
        let of_owner = token.raw() >> 40 == self.epoch.get().into();
        assert!(token.raw() > self.last_token && of_owner, "tokens ascend");
        self.last_token = token.raw();
    }

    fn deliver(&mut self, consumer: ConsumerId, offset: i64, token: Token, attempt: u32) {
        assert!(self.messages.contains_key(&offset), "offset {offset} is not there to be delivered");
        assert!(
            self.nexts().contains(&offset),
            "offset {offset} is delivered before an older one of its key"
        );
        let allowed = self.takers(offset).iter().any(|member| member.id == consumer);
        assert!(allowed, "consumer {consumer} may not be given {offset}: {:?}", self.messages[&offset]);
        self.ascend(token);
        let alone = self.config.mode != Mode::KeyShared || self.run(self.messages[&offset].key).is_empty();
        let message = self.messages.get_mut(&offset).unwrap();
        message.attempts += 1;
        assert_eq!(attempt, message.attempts.into());
        (message.token, message.place) = (Some(token), Place::InFlight { consumer, lease: None });
        if alone {
            self.lease(offset);
        }
    }

    fn pass_over(&mut self) {
        let connected = self.members.iter().any(|member| member.link == Link::Connected);
        if !connected || self.config.mode != Mode::KeyShared || self.config.unmatched == Unmatched::Hold {
            return;
        }
        let unwanted = |model: &Self, key| {
            let wanted = model.members.iter().any(|m| !m.is_leaving() && matches(&m.patterns, key));
            !wanted && !model.retained.iter().any(|(patterns, _)| matches(patterns, key))
        };
        loop {
            let held = |key| self.parked.contains_key(&key);
            let ready = |m: &Message| {
                (m.unparked || !held(m.key))
                    && m.place == Place::Waiting
                    && m.due <= self.now
                    && unwanted(self, m.key)
            };
            let Some(offset) = self.heads().into_iter().find(|offset| ready(&self.messages[offset])) else {
                return;
            };
            if self.config.unmatched == Unmatched::Skip {
                self.expected.push(Output::Skipped { offset: Offset(offset) });
                self.finish(offset);
                self.settle();
            } else {
                self.messages.get_mut(&offset).unwrap().cause = Cause::Unmatched;
                self.side_write(offset);
            }
        }
    }

    fn assert_nothing_left(&self) {
        for offset in self.nexts() {
            let takers = self.takers(offset);
            assert!(takers.is_empty(), "{offset} could be delivered to {takers:?} and was not");
        }
    }

    fn forget_drained(&mut self) {
        let drained: Vec<ConsumerId> = (self.members.iter())
            .filter(|member| member.is_leaving() && self.held(member.id).is_empty())
            .map(|member| member.id)
            .collect();
        for consumer in drained {
            self.expected.push(Output::Drained { consumer });
            self.members.retain(|member| member.id != consumer);
        }
    }

    fn ack(&mut self, offset: i64, token: Option<Token>) {
        let Some(message) = self.messages.get(&offset) else { return };
        let same = token.is_some() && token == message.token;
        let (key, keyed) = (message.key, self.config.mode == Mode::KeyShared);
        let run = self.run(key);
        let lowest =
            !keyed || self.messages.range(..offset).all(|(_, m)| m.key != key || m.place == Place::Unread);
        match message.place {
            Place::InFlight { consumer, .. } if (same || token.is_none()) && !lowest => {
                self.messages.get_mut(&offset).unwrap().place = Place::Acked { consumer };
            }
            Place::InFlight { consumer, .. } if same || token.is_none() => {
                self.note(consumer, false);
                self.finish(offset);
                if !keyed {
                    return;
                }
                for behind in run.into_iter().skip(1) {
                    if !matches!(self.messages[&behind].place, Place::Acked { .. }) {
                        return self.lease(behind);
                    }
                    self.note(consumer, false);
                    self.finish(behind);
                }
            }
            // Late, and nothing after it was released.
            Place::Waiting | Place::Blocked if same && lowest => self.finish(offset),
            _ => {}
        }
    }

    fn fail(&mut self, offset: i64, cause: Cause, counts: bool, wait: Option<u64>, reason: Option<String>) {
        let policy = self.config.failure.clone();
        let place = self.messages[&offset].place;
        let braked = self.members[self.find(place.holder().unwrap()).unwrap()].brake.engaged;
        let message = self.messages.get_mut(&offset).unwrap();
        if self.config.mode != Mode::KeyShared {
            message.place = Place::Waiting;
        }
        let (mut wait, holder) = (wait, place.holder().unwrap());
        if counts {
            (message.cause, message.reason) = (cause, reason);
            let uses_up = message.failures >= policy.max_redelivery_count && policy.poison != Poison::Block;
            if uses_up && policy.flood_brake.is_some() && (self.brake.engaged || braked) {
                wait = Some(u64::MAX);
                message.failures = policy.max_redelivery_count;
            } else {
                message.failures += 1;
                if uses_up {
                    self.note(holder, true);
                }
            }
        }
        let message = self.messages.get_mut(&offset).unwrap();
        let doubled = match policy.backoff {
            Backoff::Fixed => policy.base_redelivery_delay_ms,
            Backoff::Exponential => policy.base_redelivery_delay_ms << (message.failures.max(1) - 1),
        };
        let wait = wait.map_or(0, |least| doubled.max(least).min(policy.max_redelivery_delay_ms));
        let key = message.key;
        if self.config.mode == Mode::KeyShared {
            for other in self.run(key) {
                let message = self.messages.get_mut(&other).unwrap();
                (message.place, message.due) = (Place::Waiting, Millis(0));
            }
        }
        self.messages.get_mut(&offset).unwrap().due = self.now.plus(wait);
        if offset < self.log_start && self.config.mode != Mode::KeyShared {
            self.lose(offset);
        }
    }

    fn note(&mut self, consumer: ConsumerId, used_up: bool) {
        let Some(brake) = self.config.failure.flood_brake else { return };
        let at = self.find(consumer).unwrap();
        if let Some(engaged) = self.members[at].brake.note(used_up, brake) {
            self.expected.push(Output::FloodBrake { consumer: Some(consumer), engaged });
        }
        if let Some(engaged) = self.brake.note(used_up, brake) {
            self.expected.push(Output::FloodBrake { consumer: None, engaged });
        }
    }

    fn return_held(&mut self, consumer: ConsumerId) {
        let ordered = matches!(self.config.mode, Mode::Exclusive | Mode::Failover);
        for (nth, offset) in self.held(consumer).into_iter().enumerate() {
            if !self.is_held_by(offset, consumer) {
                continue;
            }
            let counts = self.config.failure.disconnects == Disconnects::Count && (nth == 0 || !ordered);
            self.fail(offset, Cause::Disconnect, counts, None, None);
        }
    }

    fn expel(&mut self, consumer: ConsumerId) {
        self.return_held(consumer);
        let at = self.find(consumer).unwrap();
        self.stop_wanting(at);
        self.members.remove(at);
        self.elect();
    }

    fn elect(&mut self) {
        let connected = |member: &&Member| member.link == Link::Connected;
        let stays = self.members.iter().filter(connected).any(|member| Some(member.name) == self.active);
        if !stays {
            self.active = self.members.iter().find(connected).map(|member| member.name);
        }
    }

    pub(crate) fn find(&self, consumer: ConsumerId) -> Option<usize> {
        self.members.iter().position(|member| member.id == consumer)
    }

    fn lose(&mut self, offset: i64) {
        self.expected.push(Output::Lost { offset: Offset(offset) });
        self.finish(offset);
    }

    fn finish(&mut self, offset: i64) {
        let message = self.messages.remove(&offset).expect("a message is done once");
        if message.unparked {
            self.expected.push(Output::Unparked { offset: Offset(offset) });
        } else {
            assert!(self.done.insert(offset));
        }
    }

    /// The lowest offset that is not done.
    pub(crate) fn cursor(&self) -> i64 {
        (0..).find(|offset| !self.done.contains(offset)).unwrap()
    }
}
