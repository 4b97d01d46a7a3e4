//! Requests that were encoded before the clock started, so that what is measured is the broker and not a client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kafka_client::{Acks, Connection, answered_base_offset, produce_request};
use crate::produce_bytes::{batch, keyed_record};

/// What later counts as this late.
const LATENCY_MAX_US: u64 = 60_000_000;
/// No run writes more: the disk is shared with what lies there.
const BYTES_MAX: u64 = 4 << 30;

/// A closed loop: so many connections, each with so many requests in flight, to a partition of its own.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    /// Of a request's batch, about.
    pub(super) batch_bytes: usize,
    pub(super) record_bytes: usize,
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) requests: u64,
    /// Of whole batches.
    pub(super) bytes: u64,
    pub(super) took: Duration,
    /// From a request's first byte to its answer, microseconds.
    pub(super) latency: Histogram<u64>,
}

impl Ran {
    pub(super) fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    pub(super) fn megabytes_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }

    pub(super) fn gigabytes(&self) -> f64 {
        self.bytes as f64 / 1e9
    }
}

/// A batch of about `batch_bytes` of records with values of `record_bytes`.
pub(super) fn encoded_batch(batch_bytes: usize, record_bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..record_bytes).map(|place| b'a' + (place % 26) as u8).collect();
    let (mut section, mut records) = (Vec::new(), 0);
    while section.len() < batch_bytes.saturating_sub(record_bytes) || records == 0 {
        section.extend(keyed_record(i64::from(records), b"key", &value));
        records += 1;
    }
    batch(0, records, &section)
}

/// Runs a shape against a new topic for `limit`.
pub(super) async fn run(
    address: SocketAddr,
    topic: &str,
    acks: Acks,
    shape: Shape,
    limit: Duration,
) -> anyhow::Result<Ran> {
    Connection::open(address).await?.create_topic(topic, shape.connections as i32).await?;
    let batch = encoded_batch(shape.batch_bytes, shape.record_bytes);
    let mut streams = Vec::new();
    for partition in 0..shape.connections as i32 {
        let request = produce_request(topic, partition, acks, &batch);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        // A topic may be created before its partitions can be written.
        first_answer(&mut stream, &request).await?;
        streams.push((stream, request));
    }
    let requests_max = BYTES_MAX / batch.len() as u64 / shape.connections as u64;
    let began = Instant::now();
    let until = began + limit;
    let mut tasks = JoinSet::new();
    for (stream, request) in streams {
        tasks.spawn(converse(stream, request, shape.in_flight, until, requests_max));
    }
    let mut latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?;
    while let Some(one) = tasks.join_next().await {
        latency.add(one??)?;
    }
    let requests = latency.len();
    Ok(Ran { requests, bytes: requests * batch.len() as u64, took: began.elapsed(), latency })
}

async fn first_answer(stream: &mut BufReader<TcpStream>, request: &[u8]) -> anyhow::Result<()> {
    const READY_LIMIT: Duration = Duration::from_secs(20);
    let began = Instant::now();
    let mut answer = Vec::new();
    loop {
        stream.get_mut().write_all(request).await?;
        match read_answer(stream, &mut answer).await {
            Ok(()) => return Ok(()),
            Err(_) if began.elapsed() < READY_LIMIT => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error),
        }
    }
}

async fn converse(
    mut stream: BufReader<TcpStream>,
    request: Vec<u8>,
    in_flight: usize,
    until: Instant,
    requests_max: u64,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?;
    let mut sent_at = std::collections::VecDeque::with_capacity(in_flight);
    let mut answer = Vec::new();
    let mut sent = 0;
    loop {
        while sent_at.len() < in_flight && sent < requests_max && Instant::now() < until {
            sent_at.push_back(Instant::now());
            stream.get_mut().write_all(&request).await?;
            sent += 1;
        }
        let Some(at) = sent_at.pop_front() else { return Ok(latency) };
        read_answer(&mut stream, &mut answer).await?;
        latency.saturating_record(at.elapsed().as_micros() as u64);
    }
}

async fn read_answer(stream: &mut BufReader<TcpStream>, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    let length = stream.read_i32().await.context("the connection ended instead of an answer")?;
    ensure!((4..10_000).contains(&length), "an answer of {length} bytes to a produce request");
    answer.resize(length as usize, 0);
    stream.read_exact(answer).await?;
    answered_base_offset(answer).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::encoded_batch;

    #[test]
    fn a_batch_has_about_its_size() {
        for (batch, record, least) in [(65_536, 100, 65_000), (1 << 20, 1_024, 1_040_000), (128, 100, 128)] {
            let length = encoded_batch(batch, record).len();
            assert!((least..=batch.max(200) + 100).contains(&length), "{length} for {batch}");
        }
    }
}
