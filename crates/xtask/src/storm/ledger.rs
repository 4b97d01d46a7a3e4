//! What a storm's workers have seen, and whether a broker that keeps its promises could have shown it to them.
//!
//! The broker is watched from outside, so every rule says what can be known there:
//!
//! - A delivery's token tells its place among all deliveries of the subscription, also when a client reads it late.
//!   Its upper bits are the epoch of the subscription's owner, which grows with every restart of the broker.
//! - A delivery is over once its answer was begun, its worker was killed or left, the broker was restarted, or its lease
//!   may have ended. It was sent some time after its message could be sent at the earliest, and the lease runs from there.
//! - An acknowledgement counts from the moment it was answered, and may be forgotten by a crash that follows soon.
//!
//! Whatever is delivered while an older delivery of its key is not over is in two hands at once.

use std::collections::{BTreeMap, BTreeSet};

/// Bits of a token below its epoch.
const SEQUENCE_BITS: u32 = 40;
/// An acknowledgement is stored within half a second; the rest is for a machine that is busy.
const FORGOTTEN_AGE_MAX_MS: u64 = 5_000;
/// The broker's clock and ours count the same milliseconds from different moments.
const CLOCK_SLACK_MS: u64 = 5;
/// Violations that are kept; the first one is what matters.
const VIOLATIONS_MAX: usize = 5;
/// Deliveries of a key that a violation shows.
const HISTORY_SHOWN: usize = 12;

/// One life of one worker: the same name that comes back is another hand.
pub(super) type Hand = u64;
/// Milliseconds since the storm began.
pub(super) type Ms = u64;

/// One message at one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) hand: Hand,
    pub(super) key: usize,
    /// Place among the messages of its key, from 0.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) token: u64,
}

/// How a worker answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Ack,
    Nack { delay_ms: u64 },
}

/// How a broker went down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Down {
    /// `kill -9`.
    Crash,
    /// SIGTERM.
    Stop,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Counts {
    pub(super) deliveries: u64,
    pub(super) acks: u64,
    pub(super) nacks: u64,
    /// Deliveries that were void when their client read them.
    pub(super) late: u64,
    /// Messages that a producer sent again because it was not told of the first.
    pub(super) stored_twice: u64,
    pub(super) repeated_after_crash: u64,
    pub(super) repeated_after_stop: u64,
    pub(super) repeated_after_loss: u64,
    pub(super) repeated_after_nack: u64,
    pub(super) repeated_after_lease: u64,
    /// Age of the oldest acknowledgement that a restart has forgotten.
    pub(super) forgotten_age_ms: u64,
}

#[derive(Debug)]
struct Answered {
    answer: Answer,
    begun_at: Ms,
    confirmed_at: Option<Ms>,
}

#[derive(Debug)]
struct Delivery {
    hand: Hand,
    offset: u64,
    received_at: Ms,
    /// It cannot have been sent before.
    earliest: Ms,
    answered: Option<Answered>,
    gone_at: Option<Ms>,
}

#[derive(Debug, Default)]
struct Message {
    number: u64,
    /// Of its deliveries, ascending.
    tokens: Vec<u64>,
    /// Its last delivery's acknowledgement was begun. The broker may have taken one that it could not answer any more;
    /// one that it has not taken brings the message again.
    done: bool,
}

#[derive(Debug, Default)]
struct Key {
    /// When each number was first sent.
    sent_at: Vec<Ms>,
    /// Numbers that the producer was told are stored.
    stored: u64,
    messages: BTreeMap<u64, Message>,
    /// Offsets whose acknowledgement was never begun.
    untouched: BTreeSet<u64>,
    deliveries: BTreeMap<u64, Delivery>,
    /// Tokens of deliveries without an answer at workers that live.
    open: BTreeSet<u64>,
    /// Messages that are not done.
    undone: usize,
    /// In the newest epoch: the highest offset that was delivered.
    reached: Option<(u64, u64)>,
}

/// The storm's memory. Times are given by the caller and never go back.
#[derive(Debug)]
pub(super) struct Ledger {
    ack_timeout_ms: u64,
    keys: Vec<Key>,
    /// The last token of every hand.
    hands: BTreeMap<Hand, u64>,
    downs: Vec<(Ms, Down)>,
    epochs: BTreeSet<u64>,
    counts: Counts,
    last_delivery_at: Ms,
    violations: Vec<String>,
}

fn epoch(token: u64) -> u64 {
    token >> SEQUENCE_BITS
}

impl Ledger {
    pub(super) fn new(keys: usize, ack_timeout_ms: u64) -> Self {
        Self {
            ack_timeout_ms,
            keys: (0..keys).map(|_| Key::default()).collect(),
            hands: BTreeMap::new(),
            downs: Vec::new(),
            epochs: BTreeSet::new(),
            counts: Counts::default(),
            last_delivery_at: 0,
            violations: Vec::new(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn last_delivery_at(&self) -> Ms {
        self.last_delivery_at
    }

    /// A producer begins to send the key's next number, and returns it.
    pub(super) fn sending(&mut self, now: Ms, key: usize) -> u64 {
        self.keys[key].sent_at.push(now);
        self.keys[key].sent_at.len() as u64 - 1
    }

    /// The producer was told that the number is stored.
    pub(super) fn stored(&mut self, key: usize, number: u64) {
        self.keys[key].stored = number + 1;
    }

    /// The broker is about to go down.
    pub(super) fn down(&mut self, now: Ms, down: Down) {
        self.downs.push((now, down));
    }

    /// How the broker went down last.
    pub(super) fn last_down(&self) -> Option<Down> {
        self.downs.last().map(|(_, down)| *down)
    }

    /// A worker is about to be killed or to leave: what it holds is over.
    pub(super) fn gone(&mut self, now: Ms, hand: Hand) {
        self.hands.remove(&hand);
        for key in &mut self.keys {
            for token in std::mem::take(&mut key.open) {
                let delivery = key.deliveries.get_mut(&token).expect("an open delivery is known");
                if delivery.hand == hand {
                    delivery.gone_at = Some(now);
                } else {
                    key.open.insert(token);
                }
            }
        }
    }

    /// A worker got a message. Returns how often it had been delivered before.
    pub(super) fn delivered(&mut self, now: Ms, arrival: Arrival) -> usize {
        self.counts.deliveries += 1;
        self.last_delivery_at = now;
        if let Err(violation) = self.judge(now, arrival) {
            self.violate(arrival.key, violation);
        }
        self.record(now, arrival)
    }

    /// A worker begins to answer a delivery.
    pub(super) fn answering(&mut self, now: Ms, key: usize, token: u64, answer: Answer) {
        let key = &mut self.keys[key];
        key.open.remove(&token);
        let delivery = key.deliveries.get_mut(&token).expect("what is answered was delivered");
        delivery.answered = Some(Answered { answer, begun_at: now, confirmed_at: None });
        match answer {
            Answer::Ack => {
                self.counts.acks += 1;
                key.untouched.remove(&delivery.offset);
                let message = key.messages.get_mut(&delivery.offset).expect("it was delivered");
                if message.tokens.last() == Some(&token) && !message.done {
                    message.done = true;
                    key.undone -= 1;
                }
            }
            Answer::Nack { .. } => self.counts.nacks += 1,
        }
    }

    /// The broker has taken the answer.
    pub(super) fn confirmed(&mut self, now: Ms, key: usize, token: u64) {
        let key = &mut self.keys[key];
        let delivery = key.deliveries.get_mut(&token).expect("what is answered was delivered");
        let answered = delivery.answered.as_mut().expect("it was begun");
        answered.confirmed_at = Some(now);
    }

    /// How many messages are stored and not acknowledged, as far as is known.
    pub(super) fn undone(&self) -> u64 {
        self.keys.iter().map(|key| key.undone as u64 + (key.stored - key.arrived().min(key.stored))).sum()
    }

    /// How many messages the producers were told are stored.
    pub(super) fn stored_messages(&self) -> u64 {
        self.keys.iter().map(|key| key.stored).sum()
    }

    /// The first key that is not done, and what is missing of it.
    pub(super) fn first_undone(&self) -> Option<String> {
        let (key, state) =
            self.keys.iter().enumerate().find(|(_, key)| key.undone > 0 || key.arrived() < key.stored)?;
        let unacknowledged: Vec<u64> =
            state.messages.values().filter(|message| !message.done).map(|message| message.number).collect();
        Some(format!(
            "key {key}: {} stored, {} arrived, not acknowledged {unacknowledged:?}; {}",
            state.stored,
            state.arrived(),
            self.history(key)
        ))
    }

    fn violate(&mut self, key: usize, violation: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            let history = self.history(key);
            self.violations.push(format!("key {key}: {violation}; {history}"));
        }
    }

    /// A violation that the worker itself has found.
    pub(super) fn accuse(&mut self, violation: &str) {
        self.violations.push(violation.to_string());
    }

    fn history(&self, key: usize) -> String {
        let state = &self.keys[key];
        let recent: Vec<_> = state.deliveries.iter().rev().take(HISTORY_SHOWN).collect();
        let lines = recent.into_iter().rev().map(|(token, delivery)| {
            let number = state.messages[&delivery.offset].number;
            let Delivery { hand, offset, received_at, answered, gone_at, .. } = delivery;
            let end = match (answered, gone_at) {
                (Some(answered), _) => format!(
                    "{:?} begun at {}, answered at {:?}",
                    answered.answer, answered.begun_at, answered.confirmed_at
                ),
                (None, Some(at)) => format!("worker gone at {at}"),
                (None, None) => "held".to_string(),
            };
            format!(
                "[epoch {} token {} offset {offset} number {number} hand {hand} at {received_at}: {end}]",
                epoch(*token),
                token & ((1 << SEQUENCE_BITS) - 1)
            )
        });
        format!(
            "the broker went down at {:?}; its deliveries: {}",
            self.downs,
            lines.collect::<Vec<_>>().join(" ")
        )
    }

    /// Whether the broker may have sent a later delivery, of this epoch and here by now.
    fn is_over(&self, older: &Delivery, older_token: u64, later_epoch: u64, now: Ms) -> bool {
        older.answered.is_some()
            || older.gone_at.is_some()
            || epoch(older_token) != later_epoch
            || now >= older.earliest + self.ack_timeout_ms
    }

    fn judge(&mut self, now: Ms, arrival: Arrival) -> Result<(), String> {
        let Arrival { hand, key, number, offset, token } = arrival;
        let last_of_hand = self.hands.get(&hand).copied().unwrap_or(0);
        if token <= last_of_hand {
            return Err(format!("hand {hand} got token {token} after {last_of_hand}"));
        }
        self.epochs.insert(epoch(token));
        if self.epochs.len() > self.downs.len() + 1 {
            return Err(format!("epochs {:?}, {} restarts", self.epochs, self.downs.len()));
        }
        let state = &self.keys[key];
        if number >= state.sent_at.len() as u64 {
            return Err(format!("number {number} was never sent"));
        }
        if let Some(known) = state.messages.get(&offset)
            && known.number != number
        {
            return Err(format!("offset {offset} was number {} and now is {number}", known.number));
        }
        // Read late: a newer delivery of the key was read before, so this one must have been void.
        if let Some((newest, _)) = state.deliveries.last_key_value().filter(|(newest, _)| **newest > token) {
            let this = self.delivery(arrival, now);
            if !self.is_over(&this, token, epoch(*newest), now) {
                return Err(format!("hand {hand} got number {number} while a newer delivery was out"));
            }
            self.counts.late += 1;
            return Ok(());
        }
        for older in &state.open {
            let delivery = &state.deliveries[older];
            if !self.is_over(delivery, *older, epoch(token), now) {
                return Err(format!(
                    "two at once: hand {hand} got number {number} while hand {} holds offset {}",
                    delivery.hand, delivery.offset
                ));
            }
        }
        self.judge_order(arrival)?;
        self.judge_repetition(now, arrival)
    }

    /// Messages of a key ascend, none is passed over, and within an epoch a rewind leaves nothing out.
    fn judge_order(&self, arrival: Arrival) -> Result<(), String> {
        let Arrival { key, number, offset, token, .. } = arrival;
        let state = &self.keys[key];
        if let Some(skipped) = state.untouched.first().filter(|first| **first < offset) {
            return Err(format!("number {number} came before offset {skipped} was acknowledged"));
        }
        let before = state.messages.range(..offset).next_back().map(|(_, message)| message.number);
        let follows = match before {
            None => number == 0,
            Some(before) => number == before || number == before + 1,
        };
        if !follows {
            return Err(format!("number {number} came after {before:?}"));
        }
        if let Some((newest, reached)) = state.reached.filter(|(newest, _)| *newest == epoch(token)) {
            let delivered_in_epoch = state
                .messages
                .get(&offset)
                .is_some_and(|message| message.tokens.iter().any(|token| epoch(*token) == newest));
            if offset < reached && !delivered_in_epoch {
                return Err(format!("offset {offset} came after {reached}"));
            }
            let left_out = state.messages.range(reached + 1..offset.max(reached + 1)).next();
            if let Some((left_out, _)) = left_out {
                return Err(format!("after a rewind to {reached}, {left_out} was left out before {offset}"));
            }
        }
        Ok(())
    }

    /// What was delivered before is delivered again for a reason only.
    fn judge_repetition(&mut self, now: Ms, arrival: Arrival) -> Result<(), String> {
        let Arrival { key, number, offset, token, .. } = arrival;
        let state = &self.keys[key];
        let Some(message) = state.messages.get(&offset) else {
            let twice = state.messages.range(..offset).next_back();
            self.counts.stored_twice += u64::from(twice.is_some_and(|(_, before)| before.number == number));
            return Ok(());
        };
        let earlier = *message.tokens.last().expect("a known message was delivered");
        let delivery = &state.deliveries[&earlier];
        let restarted = epoch(earlier) != epoch(token);
        let lease_over = |at: Ms| at >= delivery.earliest + self.ack_timeout_ms;
        match &delivery.answered {
            Some(Answered { answer: Answer::Ack, confirmed_at: Some(confirmed_at), .. }) => {
                if restarted {
                    return self.forgotten(*confirmed_at);
                }
                if !lease_over(*confirmed_at) {
                    return Err(format!("number {number} came again after its acknowledgement was answered"));
                }
                self.counts.repeated_after_lease += 1;
            }
            _ if restarted => match self.downs.last() {
                Some((_, Down::Stop)) => self.counts.repeated_after_stop += 1,
                _ => self.counts.repeated_after_crash += 1,
            },
            Some(Answered {
                answer: Answer::Nack { delay_ms },
                begun_at,
                confirmed_at: Some(confirmed_at),
            }) if !lease_over(*confirmed_at) => {
                if now + CLOCK_SLACK_MS < begun_at + delay_ms {
                    return Err(format!("number {number} came {} ms after its nack", now - begun_at));
                }
                self.counts.repeated_after_nack += 1;
            }
            _ if delivery.gone_at.is_some() => self.counts.repeated_after_loss += 1,
            // The answer's fate is unknown: it was cut off.
            Some(_) => self.counts.repeated_after_loss += 1,
            None => self.counts.repeated_after_lease += 1,
        }
        Ok(())
    }

    /// An acknowledgement was forgotten by a restart: it must have been young then.
    fn forgotten(&mut self, confirmed_at: Ms) -> Result<(), String> {
        let down = self.downs.iter().find(|(at, _)| *at >= confirmed_at);
        // Given after the restart, with a token of the former life: it never counted.
        let Some((at, down)) = down else {
            self.counts.repeated_after_crash += 1;
            return Ok(());
        };
        let age = at - confirmed_at;
        if age > FORGOTTEN_AGE_MAX_MS {
            return Err(format!("an acknowledgement was forgotten {age} ms after it was answered"));
        }
        self.counts.forgotten_age_ms = self.counts.forgotten_age_ms.max(age);
        match down {
            Down::Crash => self.counts.repeated_after_crash += 1,
            Down::Stop => self.counts.repeated_after_stop += 1,
        }
        Ok(())
    }

    /// The delivery as it begins, with the earliest moment at which it can have been sent.
    fn delivery(&self, arrival: Arrival, now: Ms) -> Delivery {
        let Arrival { hand, key, number, offset, token } = arrival;
        let state = &self.keys[key];
        let sent_at = state.sent_at.get(number as usize).copied().unwrap_or(0);
        let earlier = state.messages.get(&offset).and_then(|message| {
            let earlier = message.tokens.iter().rev().find(|earlier| **earlier < token)?;
            let delivery = &state.deliveries[earlier];
            let restart = self.downs.last().filter(|_| epoch(*earlier) != epoch(token)).map(|(at, _)| *at);
            let begun = delivery.answered.as_ref().map(|answered| answered.begun_at);
            let ends = [begun, delivery.gone_at, restart, Some(delivery.earliest + self.ack_timeout_ms)];
            ends.into_iter().flatten().min()
        });
        // A first delivery follows the first acknowledgement of the message before it.
        let before = state.messages.range(..offset).next_back().and_then(|(_, before)| {
            let acks = before.tokens.iter().filter_map(|token| state.deliveries[token].answered.as_ref());
            acks.filter(|answered| answered.answer == Answer::Ack).map(|answered| answered.begun_at).min()
        });
        let earliest = earlier.or(before).unwrap_or(0).max(sent_at);
        Delivery { hand, offset, received_at: now, earliest, answered: None, gone_at: None }
    }

    fn record(&mut self, now: Ms, arrival: Arrival) -> usize {
        let Arrival { hand, key, number, offset, token } = arrival;
        let delivery = self.delivery(arrival, now);
        self.hands.insert(hand, token);
        let state = &mut self.keys[key];
        let message = state.messages.entry(offset).or_insert_with(|| {
            state.untouched.insert(offset);
            state.undone += 1;
            Message { number, ..Message::default() }
        });
        let times = message.tokens.len();
        message.tokens.push(token);
        message.tokens.sort_unstable();
        if message.done && message.tokens.last() == Some(&token) {
            message.done = false;
            state.undone += 1;
        }
        state.deliveries.insert(token, delivery);
        state.open.insert(token);
        let here = (epoch(token), offset);
        state.reached = Some(state.reached.map_or(here, |reached| reached.max(here)));
        times
    }
}

impl Key {
    /// How many numbers have arrived.
    fn arrived(&self) -> u64 {
        self.messages.last_key_value().map_or(0, |(_, message)| message.number + 1)
    }
}

#[cfg(test)]
mod tests;
