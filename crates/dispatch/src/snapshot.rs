//! What survives a restart.
//!
//! | field | bytes |
//! |---|---|
//! | magic `KWD` and version 2 | 4 |
//! | owner epoch | varint |
//! | cursor | varint |
//! | span: offsets from the cursor to the end of the last done range | varint |
//! | form of the holes in it: 0 runs, 1 Rice | 1 |
//! | runs: count, then the lengths of hole, done, hole, done, … | varints |
//! | Rice: parameter, count, byte count, then each hole's gap as quotient (ones, zero) and remainder, high bit first | 1, varints, bits |
//! | retries: count, then offset − previous (the first: − cursor), attempts, failures, retry time, cause, reason (length + 1, or 0; UTF-8) | varints; cause 1 |
//! | declarations: count, then end (0: present) and count of patterns with length and bytes | varints |
//! | parked keys: count, then hash (high half first) and whether it was released (1) | varint; 16, 1 |
//! | CRC-32C of everything before | 4, little endian |
//!
//! A hole is an offset that is not done. Retry times and ends are milliseconds since the Unix epoch.

use crate::dispatcher::{Dispatcher, Timer};
use crate::entry::State;
use crate::park::Stage;
use crate::{Cause, Millis, OwnerEpoch};
use keyway_record::varint::{put_unsigned, take_unsigned};
use keyway_record::{KeyHash, Offset};
use std::ops::Range;

mod holes;

const MAGIC: &[u8; 4] = b"KWD\x02";
/// No dispatcher has a larger span, so a larger one is damage.
const SPAN_MAX: u64 = 1 << 25;

/// The durable state of a dispatcher. Per key, what is done is what is oldest: an old snapshot makes a key go back, never
/// out of order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Who wrote it.
    pub epoch: OwnerEpoch,
    /// Everything below is done.
    pub cursor: Offset,
    /// What else is done: ascending, apart from each other.
    pub done: Vec<Range<i64>>,
    /// Messages that failed and are not done, ascending.
    pub retries: Vec<Retry>,
    /// What consumers want, or wanted a moment ago.
    pub declarations: Vec<Declaration>,
    /// Parked keys, ascending, and whether their parked messages are being delivered.
    pub parked: Vec<(KeyHash, bool)>,
}

/// A message that failed before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Which.
    pub offset: Offset,
    /// Deliveries.
    pub attempts: u16,
    /// Failures that count.
    pub failures: u16,
    /// Not to be delivered before.
    pub retry_at: Millis,
    /// The last failure.
    pub cause: Cause,
    /// What the consumer said.
    pub reason: Option<String>,
}

/// What some consumers want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// Their patterns; none means every key.
    pub patterns: Vec<Vec<u8>>,
    /// When it stops to count; `None` while there is such a consumer.
    pub until: Option<Millis>,
}

/// Why bytes are not a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot at all.
    #[error("not a dispatcher snapshot")]
    Magic,
    /// Written by another version.
    #[error("snapshot version {version} is not known; 2 is")]
    Version {
        /// The version it names.
        version: u8,
    },
    /// The bytes do not match their checksum.
    #[error("the snapshot's checksum does not match")]
    Checksum,
    /// The checksum is right and the content is not.
    #[error("the snapshot's {field} cannot be")]
    Malformed {
        /// Where.
        field: &'static str,
    },
}

impl Snapshot {
    /// The bytes, as the table says.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from(*MAGIC);
        put_unsigned(&mut out, u64::from(self.epoch.get()));
        put_unsigned(&mut out, self.cursor.0 as u64);
        holes::encode(self.cursor.0, &self.done, &mut out);
        put_unsigned(&mut out, self.retries.len() as u64);
        let mut last = self.cursor.0;
        for retry in &self.retries {
            put_unsigned(&mut out, (retry.offset.0 - last) as u64);
            last = retry.offset.0;
            put_unsigned(&mut out, u64::from(retry.attempts));
            put_unsigned(&mut out, u64::from(retry.failures));
            put_unsigned(&mut out, retry.retry_at.0);
            out.push(retry.cause as u8);
            put_unsigned(&mut out, retry.reason.as_ref().map_or(0, |reason| reason.len() as u64 + 1));
            out.extend(retry.reason.iter().flat_map(|reason| reason.bytes()));
        }
        put_unsigned(&mut out, self.declarations.len() as u64);
        for declaration in &self.declarations {
            put_unsigned(&mut out, declaration.until.map_or(0, |until| until.0));
            put_unsigned(&mut out, declaration.patterns.len() as u64);
            for pattern in &declaration.patterns {
                put_unsigned(&mut out, pattern.len() as u64);
                out.extend_from_slice(pattern);
            }
        }
        put_unsigned(&mut out, self.parked.len() as u64);
        for (key, released) in &self.parked {
            out.extend_from_slice(&key.0.to_be_bytes());
            out.push(u8::from(*released));
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The snapshot in these bytes. Allocates no more than they account for.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Some((magic, _)) = bytes.split_first_chunk::<4>() else { return Err(SnapshotError::Magic) };
        if magic[..3] != MAGIC[..3] {
            return Err(SnapshotError::Magic);
        }
        if magic[3] != MAGIC[3] {
            return Err(SnapshotError::Version { version: magic[3] });
        }
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(SnapshotError::Magic)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(SnapshotError::Checksum);
        }
        Self::read(body.get(4..).ok_or(SnapshotError::Checksum)?)
    }

    fn read(mut rest: &[u8]) -> Result<Self, SnapshotError> {
        let rest = &mut rest;
        let malformed = |field| SnapshotError::Malformed { field };
        let epoch = u32::try_from(number(rest, "epoch")?).ok().and_then(OwnerEpoch::new);
        let epoch = epoch.ok_or(malformed("epoch"))?;
        let cursor = i64::try_from(number(rest, "cursor")?).ok().filter(|&cursor| cursor < i64::MAX / 2);
        let cursor = cursor.ok_or(malformed("cursor"))?;
        let done = holes::decode(cursor, rest).ok_or(malformed("holes"))?;
        let mut retries = Vec::new();
        let mut last = cursor as u64;
        for nth in 0..count(rest, 6, "retries")? {
            let delta = number(rest, "retry offset")?;
            if delta > SPAN_MAX || (nth > 0 && delta == 0) {
                return Err(malformed("retry offset"));
            }
            last += delta;
            let attempts = u16::try_from(number(rest, "attempts")?).map_err(|_| malformed("attempts"))?;
            let failures = u16::try_from(number(rest, "failures")?).map_err(|_| malformed("failures"))?;
            let retry_at = Millis(number(rest, "retry time")?);
            let cause = match take(rest, 1, "cause")? {
                [0] => Cause::Nack,
                [1] => Cause::AckTimeout,
                [2] => Cause::Disconnect,
                [3] => Cause::Unmatched,
                _ => return Err(malformed("cause")),
            };
            let reason = match number(rest, "reason")? {
                0 => None,
                len => {
                    let text = take(rest, len - 1, "reason")?;
                    Some(String::from_utf8(text.into()).map_err(|_| malformed("reason"))?)
                }
            };
            let offset = Offset(i64::try_from(last).map_err(|_| malformed("retry offset"))?);
            retries.push(Retry { offset, attempts, failures, retry_at, cause, reason });
        }
        let mut declarations = Vec::new();
        for _ in 0..count(rest, 2, "declarations")? {
            let until = Some(number(rest, "declaration")?).filter(|&until| until > 0).map(Millis);
            let mut patterns = Vec::new();
            for _ in 0..count(rest, 1, "patterns")? {
                let len = number(rest, "pattern")?;
                patterns.push(take(rest, len, "pattern")?.to_vec());
            }
            declarations.push(Declaration { patterns, until });
        }
        let mut parked: Vec<(KeyHash, bool)> = Vec::new();
        for _ in 0..count(rest, 17, "parked keys")? {
            let (hash, flag) = take(rest, 17, "parked keys")?.split_at(16);
            let key = KeyHash(u128::from_be_bytes(hash.try_into().expect("16 bytes were taken")));
            if flag[0] > 1 || parked.last().is_some_and(|(last, _)| *last >= key) {
                return Err(malformed("parked keys"));
            }
            parked.push((key, flag[0] == 1));
        }
        if !rest.is_empty() {
            return Err(malformed("end"));
        }
        Ok(Self { epoch, cursor: Offset(cursor), done, retries, declarations, parked })
    }
}

fn number(rest: &mut &[u8], field: &'static str) -> Result<u64, SnapshotError> {
    take_unsigned(rest).ok_or(SnapshotError::Malformed { field })
}

/// A count of things that take at least `bytes_min` each, so that it is bounded by what remains.
fn count(rest: &mut &[u8], bytes_min: u64, field: &'static str) -> Result<u64, SnapshotError> {
    let count = number(rest, field)?;
    let fits = count <= rest.len() as u64 / bytes_min;
    if fits { Ok(count) } else { Err(SnapshotError::Malformed { field }) }
}

fn take<'a>(rest: &mut &'a [u8], len: u64, field: &'static str) -> Result<&'a [u8], SnapshotError> {
    let len = usize::try_from(len).ok().filter(|&len| len <= rest.len());
    let (taken, after) = rest.split_at(len.ok_or(SnapshotError::Malformed { field })?);
    *rest = after;
    Ok(taken)
}

impl Dispatcher {
    /// A copy of the durable state, to be written by the owner. Costs time in proportion to the holes, the
    /// failures and a 64th of the span.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut done = self.window.done_ranges();
        let mut cursor = self.window.cursor();
        if self.mutated(crate::mutant::Mutant::CursorOverHoles) {
            cursor = self.window.next_read();
            done.retain(|range| range.start >= cursor);
        }
        let live = |(index, _): &(&u32, &Option<String>)| !self.is_unparked(**index);
        let troubled = self.troubled.iter().filter(live).map(|(&index, reason)| {
            let entry = &self.live[index];
            let in_flight = matches!(entry.state, State::InFlight | State::Acked);
            let retry_at = if in_flight { Millis(0) } else { entry.due };
            Retry {
                offset: Offset(entry.offset),
                attempts: entry.attempts,
                failures: entry.failures,
                retry_at,
                cause: entry.cause,
                reason: reason.clone(),
            }
        });
        let mut retries: Vec<Retry> = troubled.chain(self.saved.values().cloned()).collect();
        retries.retain(|retry| retry.offset.0 >= cursor);
        retries.sort_unstable_by_key(|retry| retry.offset);
        if self.mutated(crate::mutant::Mutant::ForgetFailures) {
            retries.clear();
        }
        let declarations = self.declarations.iter();
        let declarations = declarations
            .map(|(_, group)| Declaration { patterns: group.patterns.clone(), until: group.until })
            .collect();
        let parked = self.parking.keys.iter().map(|(&key, &stage)| (key, stage != Stage::Parked)).collect();
        Snapshot { epoch: self.epoch, cursor: Offset(cursor), done, retries, declarations, parked }
    }

    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        for range in &snapshot.done {
            range
                .clone()
                .filter(|&offset| offset >= snapshot.cursor.0)
                .for_each(|offset| self.window.set_done(offset));
        }
        self.window.advance();
        self.saved.extend(snapshot.retries.iter().map(|retry| (retry.offset.0, retry.clone())));
        for &(key, released) in &snapshot.parked {
            self.parking.keys.insert(key, if released { Stage::Asked } else { Stage::Parked });
            self.parking.recovered.extend(released.then_some(key));
        }
        for declaration in &snapshot.declarations {
            if self.declarations.find(&declaration.patterns).is_some() {
                continue;
            }
            let group = self.declarations.add(declaration.patterns.clone());
            self.declarations.get_mut(group).until = declaration.until;
            // Without an end it gets one in the first step: its consumers may be on their way back.
            let at = declaration.until.unwrap_or_default();
            self.timers.insert((at, Timer::Declaration(group)));
        }
    }
}

#[cfg(test)]
mod tests;
