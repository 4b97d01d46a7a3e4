//! Messages as records and back.
//!
//! | message | record |
//! |---|---|
//! | payload | value; a null value is an empty payload |
//! | routing key | key; absent and empty stay apart |
//! | attributes | headers; of headers with one name the last counts |
//! | publish time | timestamp |
//! | producer name, if not empty | header `danube-producer-name` |
//! | schema id and version | headers `danube-schema-id`, `danube-schema-version`, decimal |
//! | attribute whose name begins with `danube-` | header `danube-attribute-` and the name |
//!
//! Danube's strings are UTF-8, Kafka's keys and headers are bytes. Bytes that are no UTF-8 appear as `0x` and hex digits,
//! which loses nothing; the order of keys and the key filters go by the bytes themselves. A null header value appears as
//! an empty string.

use crate::proto::{MsgId, StreamMessage};
use bytes::Bytes;
use keyway_record::{Header, Offset, Record, Timestamp};
use prost::Message as _;
use std::collections::BTreeMap;

/// Header that holds the name of a message's producer.
pub const PRODUCER_NAME_HEADER: &str = "danube-producer-name";
/// Header that holds the id of the payload's schema.
pub const SCHEMA_ID_HEADER: &str = "danube-schema-id";
/// Header that holds the version of the payload's schema.
pub const SCHEMA_VERSION_HEADER: &str = "danube-schema-version";
/// What a header's name begins with whose attribute would be taken for one of ours.
pub const ATTRIBUTE_HEADER_PREFIX: &str = "danube-attribute-";

const RESERVED_PREFIX: &str = "danube-";

/// Why a message cannot become a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The publish time does not fit into a record's timestamp.
    #[error("the publish time {publish_time} lies beyond 2^63 ms")]
    PublishTime {
        /// The refused time, ms.
        publish_time: u64,
    },
}

/// What a delivered message carries besides its record.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Travels as the request id, which clients echo when they answer.
    pub token: u64,
    /// Topic or partition exactly as the consumer subscribed to it.
    pub topic_name: &'a str,
    /// Subscription that delivers.
    pub subscription_name: &'a str,
    /// URL of this broker as the consumer knows it.
    pub broker_addr: &'a str,
    /// Id of the producer, 0 if it is unknown.
    pub producer_id: u64,
    /// The record's offset.
    pub offset: Offset,
}

/// The record that stores `message`, and when it happened.
pub fn to_record(message: StreamMessage) -> Result<(Timestamp, Record), MessageError> {
    let publish_time = message.publish_time;
    let timestamp = i64::try_from(publish_time).map_err(|_| MessageError::PublishTime { publish_time })?;
    let mut headers = Vec::with_capacity(message.attributes.len() + 3);
    let mut header = |key: Bytes, value: String| headers.push(Header { key, value: Some(value.into()) });
    if !message.producer_name.is_empty() {
        header(Bytes::from_static(PRODUCER_NAME_HEADER.as_bytes()), message.producer_name);
    }
    if let Some(id) = message.schema_id {
        header(Bytes::from_static(SCHEMA_ID_HEADER.as_bytes()), id.to_string());
    }
    if let Some(version) = message.schema_version {
        header(Bytes::from_static(SCHEMA_VERSION_HEADER.as_bytes()), version.to_string());
    }
    for (name, value) in message.attributes {
        let reserved = name.starts_with(RESERVED_PREFIX);
        header(if reserved { format!("{ATTRIBUTE_HEADER_PREFIX}{name}").into() } else { name.into() }, value);
    }
    let record = Record {
        key: message.routing_key.map(Bytes::from),
        value: Some(message.payload),
        headers,
        ..Record::default()
    };
    Ok((Timestamp(timestamp), record))
}

/// The message that delivers `record`, which happened at `timestamp`.
#[must_use]
pub fn of_record(record: &Record, timestamp: Timestamp, delivery: Delivery<'_>) -> StreamMessage {
    let mut message = StreamMessage {
        request_id: delivery.token,
        msg_id: Some(MsgId {
            producer_id: delivery.producer_id,
            topic_name: delivery.topic_name.to_owned(),
            broker_addr: delivery.broker_addr.to_owned(),
            topic_offset: u64::try_from(delivery.offset.0).expect("offsets are not negative"),
        }),
        payload: record.value.clone().unwrap_or_default(),
        publish_time: u64::try_from(timestamp.0).unwrap_or(0),
        producer_name: String::new(),
        subscription_name: delivery.subscription_name.to_owned(),
        attributes: BTreeMap::new(),
        schema_id: None,
        schema_version: None,
        routing_key: record.key.as_deref().map(text),
    };
    for header in &record.headers {
        take_header(&mut message, header);
    }
    message
}

/// The producer that sent `record`, if a Danube client did.
#[must_use]
pub fn producer_name(record: &Record) -> Option<&Bytes> {
    let header = record.headers.iter().rfind(|header| header.key == PRODUCER_NAME_HEADER)?;
    header.value.as_ref().filter(|name| !name.is_empty())
}

/// The bytes by which `record` is ordered: its key, else its producer's name. `None` if it has neither and is ordered
/// with nothing else.
#[must_use]
pub fn ordering_key(record: &Record) -> Option<&Bytes> {
    record.key.as_ref().or_else(|| producer_name(record))
}

/// Bytes on the wire of the message that delivers `record`, without what the delivery adds.
#[must_use]
pub fn delivered_len(record: &Record, timestamp: Timestamp) -> usize {
    let nothing = Delivery {
        token: 0,
        topic_name: "",
        subscription_name: "",
        broker_addr: "",
        producer_id: 0,
        offset: Offset::ZERO,
    };
    of_record(record, timestamp, nothing).encoded_len()
}

/// A header that is malformed as one of ours is an attribute like any other.
fn take_header(message: &mut StreamMessage, header: &Header) {
    let name = text(&header.key);
    let value = header.value.as_deref().map(text).unwrap_or_default();
    match name.as_str() {
        PRODUCER_NAME_HEADER => message.producer_name = value,
        SCHEMA_ID_HEADER if value.parse::<u64>().is_ok() => message.schema_id = value.parse().ok(),
        SCHEMA_VERSION_HEADER if value.parse::<u32>().is_ok() => message.schema_version = value.parse().ok(),
        _ => {
            let name = name.strip_prefix(ATTRIBUTE_HEADER_PREFIX).map_or(name.clone(), str::to_owned);
            message.attributes.insert(name, value);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
            let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
            "0x".chars().chain(digits).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delivery() -> Delivery<'static> {
        Delivery {
            token: 7,
            topic_name: "/default/orders",
            subscription_name: "billing",
            broker_addr: "http://127.0.0.1:6650/",
            producer_id: 11,
            offset: Offset(42),
        }
    }

    fn header(key: &'static [u8], value: Option<&'static [u8]>) -> Header {
        Header { key: Bytes::from_static(key), value: value.map(Bytes::from_static) }
    }

    fn any_message() -> impl Strategy<Value = StreamMessage> {
        let names = prop_oneof![".{0,6}", "danube-[a-z-]{0,12}", Just(SCHEMA_ID_HEADER.to_owned())];
        let attributes = prop::collection::btree_map(names, ".{0,8}", 0..5);
        (
            prop::collection::vec(any::<u8>(), 0..50),
            0..=i64::MAX as u64,
            ".{0,6}",
            attributes,
            prop::option::of(any::<u64>()),
            prop::option::of(any::<u32>()),
            prop::option::of(".{0,6}"),
        )
            .prop_map(
                |(
                    payload,
                    publish_time,
                    producer_name,
                    attributes,
                    schema_id,
                    schema_version,
                    routing_key,
                )| {
                    StreamMessage {
                        payload: payload.into(),
                        publish_time,
                        producer_name,
                        attributes,
                        schema_id,
                        schema_version,
                        routing_key,
                        request_id: 7,
                        subscription_name: "billing".into(),
                        msg_id: Some(MsgId {
                            producer_id: 11,
                            topic_name: "/default/orders".into(),
                            broker_addr: "http://127.0.0.1:6650/".into(),
                            topic_offset: 42,
                        }),
                    }
                },
            )
    }

    fn blob() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn messages_come_back_from_their_records(message in any_message()) {
            let (timestamp, record) = to_record(message.clone()).unwrap();
            prop_assert_eq!(of_record(&record, timestamp, delivery()), message);
        }

        #[test]
        fn any_kafka_record_becomes_a_message_that_clients_can_decode(
            key in prop::option::of(blob()), value in prop::option::of(blob()),
            headers in prop::collection::vec((blob(), prop::option::of(blob())), 0..5), time: i64,
        ) {
            let headers = headers.into_iter().map(|(key, value)| Header { key, value }).collect();
            let record = Record { key, value, headers, ..Record::default() };
            let message = of_record(&record, Timestamp(time), delivery());
            prop_assert_eq!(message.msg_id.as_ref().unwrap().topic_offset, 42);
            prop_assert_eq!(message.routing_key.is_some(), record.key.is_some());
            prop_assert_eq!(StreamMessage::decode(message.encode_to_vec().as_slice()).unwrap(), message);
        }

        #[test]
        fn decoding_garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = StreamMessage::decode(bytes.as_slice());
            _ = crate::proto::AckRequest::decode(bytes.as_slice());
            _ = crate::proto::ConsumerRequest::decode(bytes.as_slice());
        }
    }

    #[test]
    fn bytes_that_are_no_text_appear_as_hex() {
        let record = Record {
            key: Some(Bytes::from_static(b"\xff\x01")),
            headers: vec![header(b"h", Some(b"\x80")), header(b"null", None)],
            ..Record::default()
        };
        let message = of_record(&record, Timestamp::NONE, delivery());
        assert_eq!(message.routing_key.as_deref(), Some("0xff01"));
        assert_eq!(message.attributes["h"], "0x80");
        assert_eq!(message.attributes["null"], "");
        assert_eq!(message.publish_time, 0);
    }

    #[test]
    fn of_repeated_headers_the_last_counts() {
        let headers = vec![header(b"h", Some(b"1")), header(b"x", None), header(b"h", Some(b"2"))];
        let message = of_record(&Record { headers, ..Record::default() }, Timestamp(5), delivery());
        assert_eq!(message.attributes["h"], "2");
        assert_eq!(message.attributes.len(), 2);
    }

    #[test]
    fn a_record_is_ordered_by_key_then_producer_then_nothing() {
        let named = vec![header(b"danube-producer-name", Some(b"p1"))];
        let keyed = Record { key: Some(Bytes::new()), headers: named.clone(), ..Record::default() };
        assert_eq!(ordering_key(&keyed).map(|key| &key[..]), Some(&b""[..]));
        let keyless = Record { headers: named, ..Record::default() };
        assert_eq!(ordering_key(&keyless).map(|key| &key[..]), Some(&b"p1"[..]));
        assert_eq!(ordering_key(&Record::default()), None);
    }

    #[test]
    fn a_time_beyond_records_is_refused() {
        let message = StreamMessage { publish_time: u64::MAX, ..StreamMessage::default() };
        assert_eq!(to_record(message), Err(MessageError::PublishTime { publish_time: u64::MAX }));
    }
}
