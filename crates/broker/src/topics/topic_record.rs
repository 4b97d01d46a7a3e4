//! A topic's record in `__topics`. The key is the topic's name; the value, big-endian:
//!
//! | part | type |
//! |---|---|
//! | version: 2, or 1 without a replication factor | u8 |
//! | topic id | 16 bytes |
//! | number of partitions | i32 |
//! | replication factor | i16 |
//! | dispatch strategy: 0 unset, 1 non-reliable, 2 reliable | u8 |
//! | number of configs, then per config: name length u16, name, value length u32, value | u16, bytes |

use crate::settings::{Configs, put_configs, take_configs};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_record::{TopicId, TopicName};

/// What a topic was told beyond its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TopicSettings {
    /// How many copies were asked for; one is kept, and many tools hard-code three.
    pub(crate) replication_factor: i16,
    pub(crate) dispatch: Option<DispatchStrategy>,
    /// Kafka topic configs that were set, by name.
    pub(crate) configs: Configs,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self { replication_factor: 1, dispatch: None, configs: Configs::new() }
    }
}

/// Danube's promise to the topic's subscribers; a topic made by a Kafka client has none and takes either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DispatchStrategy {
    /// Sends are not waited for and deliveries not tracked.
    NonReliable,
    /// Sends are answered when durable, deliveries repeated until acknowledged.
    Reliable,
}

const VERSION: u8 = 2;
const VERSION_WITHOUT_FACTOR: u8 = 1;

pub(crate) fn key(name: &TopicName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

pub(crate) fn encode(id: TopicId, partitions: i32, settings: &TopicSettings) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    out.put_slice(&id.0);
    out.put_i32(partitions);
    out.put_i16(settings.replication_factor);
    out.put_u8(match settings.dispatch {
        None => 0,
        Some(DispatchStrategy::NonReliable) => 1,
        Some(DispatchStrategy::Reliable) => 2,
    });
    put_configs(&mut out, &settings.configs);
    out.freeze()
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(TopicName, TopicId, i32, TopicSettings), String> {
    let name = str::from_utf8(key).map_err(|error| error.to_string())?;
    let name = TopicName::new(name).map_err(|error| error.to_string())?;
    let mut rest = value;
    let short = |_| format!("the record of topic {name} is cut short");
    let version = rest.try_get_u8().map_err(short)?;
    if version != VERSION && version != VERSION_WITHOUT_FACTOR {
        return Err(format!(
            "the record of topic {name} has version {version}; {VERSION} is the newest known"
        ));
    }
    let mut id = [0; 16];
    rest.try_copy_to_slice(&mut id).map_err(short)?;
    let partitions = rest.try_get_i32().map_err(short)?;
    let replication_factor = match version {
        VERSION_WITHOUT_FACTOR => 1,
        _ => rest.try_get_i16().map_err(short)?,
    };
    let dispatch = match rest.try_get_u8().map_err(short)? {
        0 => None,
        1 => Some(DispatchStrategy::NonReliable),
        2 => Some(DispatchStrategy::Reliable),
        other => return Err(format!("the record of topic {name} has dispatch strategy {other}")),
    };
    let configs = take_configs(&mut rest)?;
    Ok((name, TopicId(id), partitions, TopicSettings { replication_factor, dispatch, configs }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn a_topic_comes_back_and_cuts_are_refused() {
        let name = TopicName::new("orders").unwrap();
        let configs = Configs::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let settings =
            TopicSettings { replication_factor: 3, dispatch: Some(DispatchStrategy::Reliable), configs };
        let value = encode(TopicId([7; 16]), 12, &settings);
        assert_eq!(decode(b"orders", &value), Ok((name, TopicId([7; 16]), 12, settings)));
        for len in 0..value.len() {
            assert!(decode(b"orders", &value[..len]).is_err(), "{len} bytes");
        }
        damaged(&value).for_each(|value| drop(decode(b"orders", &value)));
    }

    #[test]
    fn a_topic_of_before_there_were_factors_has_one_copy() {
        let mut value = vec![1];
        value.extend([7; 16]);
        value.extend(12_i32.to_be_bytes());
        value.extend([2, 0, 0]);
        let (_, id, partitions, settings) = decode(b"orders", &value).unwrap();
        assert_eq!((id, partitions, settings.replication_factor), (TopicId([7; 16]), 12, 1));
        assert_eq!(settings.dispatch, Some(DispatchStrategy::Reliable));
    }
}
