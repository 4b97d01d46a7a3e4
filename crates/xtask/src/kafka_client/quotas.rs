//! Quotas of client ids.

use anyhow::ensure;

use super::error_code::NONE;
use super::{Connection, put_count, put_text};

const ALTER_CLIENT_QUOTAS: i16 = 49;

impl Connection {
    /// Gives a client id a quota.
    pub(crate) async fn set_quota(&mut self, client_id: &str, quota: &str, value: f64) -> anyhow::Result<()> {
        let mut body = Vec::new();
        put_count(&mut body, 1);
        put_count(&mut body, 1);
        put_text(&mut body, "client-id");
        put_text(&mut body, client_id);
        put_count(&mut body, 1);
        put_text(&mut body, quota);
        body.extend_from_slice(&value.to_be_bytes());
        // Not taken away; not only validated.
        body.extend_from_slice(&[0, 0]);
        let mut answer = self.call(ALTER_CLIENT_QUOTAS, 0, &body).await?;
        let _throttle_ms = answer.i32()?;
        ensure!(answer.count()? == 1, "not one entity is answered");
        let (code, message) = (answer.i16()?, answer.text()?);
        ensure!(code == NONE, "{quota} of {client_id} is refused with error {code}: {message}");
        Ok(())
    }
}
