//! Produce requests of one batch.

use anyhow::{Context, ensure};

use super::{Answer, CLIENT_ID, Connection, NULL_TEXT, error_code, frame, put_count, put_text};

const PRODUCE: i16 = 0;
/// The oldest that takes zstd; its request is that of version 3.
const PRODUCE_VERSION: i16 = 7;
const TIMEOUT_MS: i32 = 30_000;

/// When the broker answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acks {
    /// Once it is written.
    One,
    /// Once it is as durable as it will be.
    All,
}

/// How a batch was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Produced {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    /// Of the batch's first record.
    pub(crate) base_offset: i64,
}

/// Of a batch for each of some partitions of a topic.
fn body<B: AsRef<[u8]>>(topic: &str, acks: Acks, batches: &[(i32, B)]) -> Vec<u8> {
    let mut body = NULL_TEXT.to_vec();
    let acks: i16 = match acks {
        Acks::One => 1,
        Acks::All => -1,
    };
    body.extend_from_slice(&acks.to_be_bytes());
    body.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
    put_count(&mut body, 1);
    put_text(&mut body, topic);
    put_count(&mut body, batches.len());
    for (partition, batch) in batches {
        body.extend_from_slice(&partition.to_be_bytes());
        put_count(&mut body, batch.as_ref().len());
        body.extend_from_slice(batch.as_ref());
    }
    body
}

/// A whole request as it goes over the wire, to be sent again and again; its correlation id is 0.
pub(crate) fn produce_request(topic: &str, partition: i32, acks: Acks, batch: &[u8]) -> Vec<u8> {
    frame(CLIENT_ID, PRODUCE, PRODUCE_VERSION, &body(topic, acks, &[(partition, batch)]))
}

/// What such a request was answered, from the bytes behind the answer's length; a refusal is an error.
pub(crate) fn answered_base_offset(answer: &[u8]) -> anyhow::Result<i64> {
    let mut answer = Answer::new(answer.to_vec());
    let _correlation_id = answer.i32()?;
    let produced = Produced::read(&mut answer)?;
    ensure!(produced.error_code == error_code::NONE, "refused with error {}", produced.error_code);
    Ok(produced.base_offset)
}

impl Produced {
    /// Reads an answer to a request of one batch.
    pub(crate) fn read(answer: &mut Answer) -> anyhow::Result<Self> {
        let all = Self::read_all(answer)?;
        let [one] = <[Self; 1]>::try_from(all).ok().context("not one partition is answered")?;
        Ok(one)
    }

    /// Reads an answer to a request of batches for some partitions of one topic.
    fn read_all(answer: &mut Answer) -> anyhow::Result<Vec<Self>> {
        ensure!(answer.count()? == 1, "not one topic is answered");
        let topic = answer.text()?;
        let mut all = Vec::new();
        for _ in 0..answer.count()? {
            let (topic, partition) = (topic.clone(), answer.i32()?);
            all.push(Self { topic, partition, error_code: answer.i16()?, base_offset: answer.i64()? });
            let _append_time_and_log_start = answer.take(8 + 8)?;
        }
        Ok(all)
    }
}

impl Connection {
    /// Sends a batch; [`Connection::produced`] gives its answer.
    pub(crate) async fn send_batch(
        &mut self,
        topic: &str,
        partition: i32,
        acks: Acks,
        batch: &[u8],
    ) -> anyhow::Result<()> {
        self.send(PRODUCE, PRODUCE_VERSION, &body(topic, acks, &[(partition, batch)])).await
    }

    /// Sends a batch and returns the partition's error code.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        acks: Acks,
        batch: &[u8],
    ) -> anyhow::Result<i16> {
        self.send_batch(topic, partition, acks, batch).await?;
        let produced = self.produced().await?;
        ensure!(produced.topic == topic, "another topic is answered");
        ensure!(produced.partition == partition, "another partition is answered");
        Ok(produced.error_code)
    }

    /// Sends a batch for each of some partitions in one request; how each was answered.
    pub(crate) async fn produce_all(
        &mut self,
        topic: &str,
        acks: Acks,
        batches: &[(i32, Vec<u8>)],
    ) -> anyhow::Result<Vec<Produced>> {
        let mut answer = self.call(PRODUCE, PRODUCE_VERSION, &body(topic, acks, batches)).await?;
        let all = Produced::read_all(&mut answer)?;
        ensure!(all.len() == batches.len(), "{} of {} batches are answered", all.len(), batches.len());
        Ok(all)
    }

    /// The answer to the oldest batch that has none.
    pub(crate) async fn produced(&mut self) -> anyhow::Result<Produced> {
        Produced::read(&mut self.receive().await?)
    }
}
