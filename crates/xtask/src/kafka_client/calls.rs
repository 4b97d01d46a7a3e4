//! Requests that take one question and give one answer.

use anyhow::{bail, ensure};

use super::error_code::{NONE, TOPIC_ALREADY_EXISTS};
use super::{Connection, NULL_TEXT, put_count, put_text};
use crate::produce_bytes::Identity;

const OFFSET_FETCH: i16 = 9;
const CREATE_TOPICS: i16 = 19;
const INIT_PRODUCER_ID: i16 = 22;
const TIMEOUT_MS: i32 = 30_000;

impl Connection {
    /// Creates a topic; one that exists is as good.
    pub(crate) async fn create_topic(&mut self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let mut body = Vec::new();
        put_count(&mut body, 1);
        put_text(&mut body, topic);
        body.extend_from_slice(&partitions.to_be_bytes());
        body.extend_from_slice(&1_i16.to_be_bytes());
        // Neither assignments nor configs.
        put_count(&mut body, 0);
        put_count(&mut body, 0);
        body.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
        // Not only validated.
        body.push(0);
        let mut answer = self.call(CREATE_TOPICS, 2, &body).await?;
        let _throttle_ms = answer.i32()?;
        ensure!(answer.count()? == 1 && answer.text()? == topic, "another topic is answered");
        let (code, message) = (answer.i16()?, answer.text()?);
        if code != NONE && code != TOPIC_ALREADY_EXISTS {
            bail!("{topic} is refused with error {code}: {message}");
        }
        Ok(())
    }

    /// A new producer id for an idempotent producer; the error code if it is refused.
    pub(crate) async fn producer_id(&mut self) -> anyhow::Result<Result<Identity, i16>> {
        let mut body = NULL_TEXT.to_vec();
        body.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
        let mut answer = self.call(INIT_PRODUCER_ID, 0, &body).await?;
        let (_throttle_ms, code) = (answer.i32()?, answer.i16()?);
        let identity = Identity { id: answer.i64()?, epoch: answer.i16()?, sequence: 0 };
        Ok(if code == NONE { Ok(identity) } else { Err(code) })
    }

    /// What a group has committed; -1 for nothing.
    pub(crate) async fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> anyhow::Result<Result<i64, i16>> {
        let mut body = Vec::new();
        put_text(&mut body, group);
        put_count(&mut body, 1);
        put_text(&mut body, topic);
        put_count(&mut body, 1);
        body.extend_from_slice(&partition.to_be_bytes());
        let mut answer = self.call(OFFSET_FETCH, 1, &body).await?;
        ensure!(answer.count()? == 1 && answer.text()? == topic, "another topic is answered");
        ensure!(answer.count()? == 1 && answer.i32()? == partition, "another partition is answered");
        let offset = answer.i64()?;
        let _metadata = answer.text()?;
        let code = answer.i16()?;
        Ok(if code == NONE { Ok(offset) } else { Err(code) })
    }
}
