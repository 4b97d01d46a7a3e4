//! The offsets that are not done, in as few bytes as they take.
//!
//! Two forms, the smaller wins: lengths of runs (few long runs: a stuck key) and Rice-coded gaps between holes (many
//! scattered ones: within a few percent of what information theory allows).

use super::SPAN_MAX;
use keyway_record::varint::{put_unsigned, take_unsigned};
use std::ops::Range;

const RUNS: u8 = 0;
const RICE: u8 = 1;

/// Appends span, form and holes of `[cursor, end of the last done range)`.
pub(super) fn encode(cursor: i64, done: &[Range<i64>], out: &mut Vec<u8>) {
    let end = done.last().map_or(cursor, |range| range.end);
    put_unsigned(out, (end - cursor) as u64);
    let runs = runs(cursor, done);
    let rice = rice(cursor, done, end - cursor);
    if runs.len() <= rice.len() {
        out.push(RUNS);
        out.extend(runs);
    } else {
        out.push(RICE);
        out.extend(rice);
    }
}

fn runs(cursor: i64, done: &[Range<i64>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_unsigned(&mut out, done.len() as u64);
    let mut at = cursor;
    for range in done {
        put_unsigned(&mut out, (range.start - at) as u64);
        put_unsigned(&mut out, (range.end - range.start) as u64);
        at = range.end;
    }
    out
}

fn rice(cursor: i64, done: &[Range<i64>], span: i64) -> Vec<u8> {
    let holes = span - done.iter().map(|range| range.end - range.start).sum::<i64>();
    let mut out = Vec::new();
    // The best parameter is near the logarithm of the mean gap.
    let parameter = (span as u64 / (holes as u64).max(1)).max(1).ilog2().min(30);
    out.push(parameter as u8);
    put_unsigned(&mut out, holes as u64);
    let mut bits = Bits::default();
    let (mut at, mut previous) = (cursor, cursor - 1);
    for range in done {
        for hole in at..range.start {
            let gap = (hole - previous - 1) as u64;
            (0..gap >> parameter).for_each(|_| bits.push(true));
            bits.push(false);
            (0..parameter).rev().for_each(|bit| bits.push(gap >> bit & 1 == 1));
            previous = hole;
        }
        at = range.end;
    }
    put_unsigned(&mut out, bits.bytes.len() as u64);
    out.extend(bits.bytes);
    out
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if bit {
            *self.bytes.last_mut().expect("a byte was just pushed") |= 0x80 >> (self.used % 8);
        }
        self.used = (self.used + 1) % 8;
    }
}

/// The done ranges; `None` if the bytes contradict themselves.
pub(super) fn decode(cursor: i64, rest: &mut &[u8]) -> Option<Vec<Range<i64>>> {
    let span = take_unsigned(rest).filter(|&span| span <= SPAN_MAX)?;
    let end = cursor + span as i64;
    let (&form, after) = rest.split_first()?;
    *rest = after;
    match form {
        RUNS => decode_runs(cursor, end, rest),
        RICE => decode_rice(cursor, end, rest),
        _ => None,
    }
}

fn decode_runs(cursor: i64, end: i64, rest: &mut &[u8]) -> Option<Vec<Range<i64>>> {
    let count = take_unsigned(rest).filter(|&count| count <= rest.len() as u64 / 2)?;
    let mut done = Vec::with_capacity(count as usize);
    let mut at = cursor;
    for _ in 0..count {
        let hole = take_unsigned(rest).filter(|&hole| hole <= SPAN_MAX && (hole > 0 || at == cursor))?;
        let run = take_unsigned(rest).filter(|&run| (1..=SPAN_MAX).contains(&run))?;
        let start = at + hole as i64;
        at = start + run as i64;
        if at > end {
            return None;
        }
        done.push(start..at);
    }
    (at == end).then_some(done)
}

fn decode_rice(cursor: i64, end: i64, rest: &mut &[u8]) -> Option<Vec<Range<i64>>> {
    let (&parameter, after) = rest.split_first()?;
    *rest = after;
    let parameter = u32::from(parameter);
    let holes = take_unsigned(rest)?;
    let len = take_unsigned(rest).filter(|&len| len <= rest.len() as u64)? as usize;
    if parameter > 30 || holes > len as u64 * 8 {
        return None;
    }
    let (bytes, after) = rest.split_at(len);
    *rest = after;
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    let mut done = Vec::new();
    let mut at = cursor;
    for _ in 0..holes {
        let mut gap = 0;
        while bits.next()? {
            gap += 1i64 << parameter;
        }
        let mut remainder = 0;
        for _ in 0..parameter {
            remainder = remainder << 1 | i64::from(bits.next()?);
        }
        let hole = at + gap + remainder;
        if hole >= end {
            return None;
        }
        if hole > at {
            done.push(at..hole);
        }
        at = hole + 1;
    }
    if at < end {
        done.push(at..end);
    }
    Some(done)
}
