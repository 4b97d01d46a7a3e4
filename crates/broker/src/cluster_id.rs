//! The id by which clients tell this broker's data from another's. Made once, kept in `__node` beside the producer ids:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 4 | u8 | | version, 1 | u8 |
//! | | | | the id, 22 characters of URL-safe base64 | text |

use crate::internal_topic::{InternalTopic, InternalTopicError};
use bytes::Bytes;
use keyway_runtime::{Entropy, World};
use std::sync::Arc;
use tokio::sync::OnceCell;

const KEY: &[u8] = &[4];
const VERSION: u8 = 1;

/// The cluster id; made and written when it is first asked for.
pub(crate) struct ClusterId {
    records: Arc<InternalTopic>,
    entropy: Arc<dyn Entropy>,
    id: OnceCell<String>,
}

impl ClusterId {
    /// The id in `records`, if one was made before.
    pub(crate) fn recover(world: &World, records: &Arc<InternalTopic>) -> Self {
        let stored = records.entries().into_iter().find(|(key, _)| key == KEY);
        let text = stored.and_then(|(_, value)| {
            let (version, text) = value.split_first()?;
            (*version == VERSION).then(|| String::from_utf8(text.to_vec()).ok())?
        });
        let id = OnceCell::new_with(text);
        Self { records: records.clone(), entropy: world.entropy.clone(), id }
    }

    /// The id; the same for ever once it was returned.
    pub(crate) async fn get(&self) -> Result<&str, InternalTopicError> {
        let make = || async {
            let id = base64(self.entropy.bytes());
            let value = [&[VERSION], id.as_bytes()].concat();
            self.records.put(vec![(Bytes::from_static(KEY), Some(value.into()))]).await?;
            Ok(id)
        };
        self.id.get_or_try_init(make).await.map(String::as_str)
    }
}

/// The form that Kafka gives a UUID: 22 characters, no padding.
pub(super) fn base64(bytes: [u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = u128::from_be_bytes(bytes);
    let digit = |index: u32| {
        let six = match index {
            21 => bits << 4,
            _ => bits >> (122 - 6 * index),
        };
        char::from(ALPHABET[(six & 63) as usize])
    };
    (0..22).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn ids_are_written_as_kafka_writes_uuids() {
        assert_eq!(base64([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(base64([0xff; 16]), "_____________________w");
        assert_eq!(base64(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
    }
}
