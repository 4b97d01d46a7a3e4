//! A small Kafka client, made byte by byte: it shares no code with the broker, keeps as many requests in flight as it
//! is told, and hands error codes on instead of hiding them behind retries. Versions are the oldest that Apache Kafka 4.3
//! speaks, which are the plainest.

mod answer;
mod calls;
mod committed;
mod fetch;
mod produce;
mod quotas;

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) use answer::Answer;
pub(crate) use fetch::StoredBatch;
#[cfg(test)]
pub(crate) use fetch::StoredRecord;
pub(crate) use produce::{Acks, answered_base_offset, produce_request};

/// Kafka's error codes that somebody here looks at.
pub(crate) mod error_code {
    pub(crate) const NONE: i16 = 0;
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub(crate) const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub(crate) const REQUEST_TIMED_OUT: i16 = 7;
    pub(crate) const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub(crate) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub(crate) const NOT_COORDINATOR: i16 = 16;
    pub(crate) const ILLEGAL_GENERATION: i16 = 22;
    pub(crate) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(crate) const REBALANCE_IN_PROGRESS: i16 = 27;
    pub(crate) const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub(crate) const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
    pub(crate) const KAFKA_STORAGE_ERROR: i16 = 56;
    pub(crate) const MEMBER_ID_REQUIRED: i16 = 79;

    /// Whether a client may simply try again.
    pub(crate) fn is_retriable(code: i16) -> bool {
        matches!(
            code,
            UNKNOWN_TOPIC_OR_PARTITION
                | NOT_LEADER_OR_FOLLOWER
                | REQUEST_TIMED_OUT
                | COORDINATOR_LOAD_IN_PROGRESS
                | COORDINATOR_NOT_AVAILABLE
                | NOT_COORDINATOR
                | KAFKA_STORAGE_ERROR
        )
    }
}

/// No answer here is longer.
const ANSWER_BYTES_MAX: i32 = 128 << 20;

/// One connection; answers come in the order of the requests.
pub(crate) struct Connection {
    stream: TcpStream,
    next_id: i32,
    unanswered: VecDeque<i32>,
    client_id: &'static str,
}

const CLIENT_ID: &str = "xtask";

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next_id: 0, unanswered: VecDeque::new(), client_id: CLIENT_ID })
    }

    /// The same connection under another client id.
    pub(crate) fn called(mut self, client_id: &'static str) -> Self {
        self.client_id = client_id;
        self
    }

    /// Sends a request; [`Connection::receive`] gives its answer, after those of earlier ones.
    pub(crate) async fn send(&mut self, api_key: i16, version: i16, body: &[u8]) -> anyhow::Result<()> {
        let id = self.post(api_key, version, body).await?;
        self.unanswered.push_back(id);
        Ok(())
    }

    /// Sends a request that is not answered; its correlation id.
    pub(crate) async fn post(&mut self, api_key: i16, version: i16, body: &[u8]) -> anyhow::Result<i32> {
        let id = self.next_id;
        self.next_id += 1;
        let mut frame = frame(self.client_id, api_key, version, body);
        frame[8..12].copy_from_slice(&id.to_be_bytes());
        self.stream.write_all(&frame).await?;
        Ok(id)
    }

    /// The answer to the oldest request that has none.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Answer> {
        let id = self.unanswered.pop_front().context("nothing was asked")?;
        let length = self.stream.read_i32().await.context("the connection ended instead of an answer")?;
        ensure!((4..=ANSWER_BYTES_MAX).contains(&length), "an answer of {length} bytes");
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).await?;
        let mut answer = Answer::new(bytes);
        let echoed = answer.i32()?;
        ensure!(echoed == id, "request {echoed} is answered instead of {id}");
        Ok(answer)
    }

    /// One request, one answer.
    pub(crate) async fn call(&mut self, api_key: i16, version: i16, body: &[u8]) -> anyhow::Result<Answer> {
        self.send(api_key, version, body).await?;
        self.receive().await
    }
}

/// A whole request, its correlation id 0 at bytes 8 to 12.
fn frame(client_id: &str, api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let length = 2 + 2 + 4 + 2 + client_id.len() + body.len();
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend_from_slice(&(length as i32).to_be_bytes());
    frame.extend_from_slice(&api_key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&0_i32.to_be_bytes());
    put_text(&mut frame, client_id);
    frame.extend_from_slice(body);
    frame
}

/// A string behind its 16-bit length.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The length of a list.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as i32).to_be_bytes());
}

/// A null string.
const NULL_TEXT: [u8; 2] = [0xff, 0xff];
