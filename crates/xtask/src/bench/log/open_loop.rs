//! Latency at a given rate: every request has its moment, whatever became of the ones before, and its latency counts from
//! that moment.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;

use super::raw::encoded_batch;
use crate::kafka_client::{Acks, answered_base_offset, produce_request};

const LATENCY_MAX_US: u64 = 60_000_000;
/// A sleeping thread wakes up this late; it looks at the clock for the rest.
const SLEEP_SLACK: Duration = Duration::from_micros(120);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Sends `count` requests of one record at `rate` per second over one connection; latencies in microseconds.
/// The topic has to exist.
pub(super) fn run(
    address: SocketAddr,
    topic: &str,
    rate: u64,
    count: u64,
    record_bytes: usize,
) -> anyhow::Result<Histogram<u64>> {
    let request = produce_request(topic, 0, Acks::All, &encoded_batch(record_bytes, record_bytes));
    let mut reader = TcpStream::connect(address)?;
    reader.set_nodelay(true)?;
    reader.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut writer = reader.try_clone()?;
    let interval = Duration::from_nanos(1_000_000_000 / rate);
    let began = Instant::now() + Duration::from_millis(10);
    let due = move |number: u64| began + interval * number as u32;
    let sender = thread::spawn(move || {
        for number in 0..count {
            sleep_until(due(number));
            writer.write_all(&request)?;
        }
        std::io::Result::Ok(())
    });
    let mut latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?;
    let mut answer = Vec::new();
    for number in 0..count {
        let mut length = [0; 4];
        reader.read_exact(&mut length).context("the connection ended instead of an answer")?;
        let length = i32::from_be_bytes(length);
        ensure!((4..10_000).contains(&length), "an answer of {length} bytes to a produce request");
        answer.resize(length as usize, 0);
        reader.read_exact(&mut answer)?;
        latency.saturating_record(due(number).elapsed().as_micros() as u64);
        answered_base_offset(&answer)?;
    }
    sender.join().ok().context("the sender has panicked")??;
    Ok(latency)
}

fn sleep_until(moment: Instant) {
    let left = moment.saturating_duration_since(Instant::now());
    if left > SLEEP_SLACK {
        thread::sleep(left - SLEEP_SLACK);
    }
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
