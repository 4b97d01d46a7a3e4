//! One dead letter: a record, and in its last headers where it came from and why it was given up.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use keyway_danube_wire::TopicRef;
use keyway_kafka_wire::records;
use keyway_log::{PartitionLog, ReadError, ReadLimit};
use keyway_record::{Header, Offset, Record, RecordBatch, Timestamp, TopicName, limits};
use serde::Serialize;

const ORIGINAL_TOPIC: &[u8] = b"x-original-topic";
const ORIGINAL_PARTITION: &[u8] = b"x-original-partition";
const ORIGINAL_SUBSCRIPTION: &[u8] = b"x-original-subscription";
const ORIGINAL_OFFSET: &[u8] = b"x-original-topic-offset";
const ATTEMPT: &[u8] = b"x-delivery-attempt";
const POISON_POLICY: &[u8] = b"x-poison-policy";
const REASON: &[u8] = b"x-failure-reason";

/// All headers that a dead letter has beyond its message's own.
const ADDED: [&[u8]; 9] = [
    ORIGINAL_TOPIC,
    ORIGINAL_PARTITION,
    ORIGINAL_SUBSCRIPTION,
    ORIGINAL_OFFSET,
    b"x-original-producer-id",
    b"x-original-broker-addr",
    ATTEMPT,
    POISON_POLICY,
    REASON,
];

/// A record of a dead-letter topic.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) offset: Offset,
    pub(super) timestamp: Timestamp,
    pub(super) record: Record,
}

/// Letters that lie one after another.
pub(super) struct Read {
    pub(super) letters: Vec<Letter>,
    /// Offset after the last of them, gaps included.
    pub(super) next: Offset,
}

/// Reads letters from `from` on, about `bytes_max` bytes of them.
pub(super) fn read(log: &dyn PartitionLog, from: Offset, bytes_max: usize) -> Result<Read, ReadError> {
    let slice = log.read(from, ReadLimit::bytes(bytes_max))?;
    let mut letters = Vec::new();
    for batch in slice.committed_batches() {
        let walk = records(&batch, limits::DECOMPRESSED_BYTES_MAX).map_err(|error| corrupt(&batch, error))?;
        for record in walk {
            let record = record.map_err(|error| corrupt(&batch, error))?;
            let offset = batch.base_offset().plus(i64::from(record.offset_delta));
            if offset >= from {
                let timestamp = time(&batch, &record);
                letters.push(Letter { offset, timestamp, record });
            }
        }
    }
    Ok(Read { letters, next: slice.next.max(from) })
}

fn corrupt(batch: &RecordBatch, error: impl ToString) -> ReadError {
    ReadError::Corrupt { offset: batch.base_offset(), reason: error.to_string() }
}

fn time(batch: &RecordBatch, record: &Record) -> Timestamp {
    if batch.is_log_append_time() {
        return batch.max_timestamp();
    }
    Timestamp(batch.base_timestamp().0.saturating_add(record.timestamp_delta))
}

impl Letter {
    /// Whether its key is this one.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.record.key.as_deref() == Some(key.as_bytes())
    }

    /// The topic that it came from, by its Kafka name; `None` if it does not say so.
    pub(super) fn original_topic(&self) -> Option<TopicName> {
        let name = self.added(ORIGINAL_TOPIC)?;
        match TopicRef::parse(name) {
            Ok(named) => Some(named.topic().clone()),
            Err(_) => TopicName::new(name).ok(),
        }
    }

    /// The partition that it came from; 0 if it does not say so.
    pub(super) fn original_partition(&self) -> i32 {
        self.number(ORIGINAL_PARTITION).unwrap_or(0)
    }

    /// The message as it was before it became a dead letter.
    pub(super) fn original(&self) -> Record {
        let mut record = self.record.clone();
        record.headers.truncate(self.own_headers());
        record
    }

    /// How many headers are the message's own: those before the run of added ones at the end, each of which is there once.
    fn own_headers(&self) -> usize {
        let headers = &self.record.headers;
        let mut own = headers.len();
        while let Some(header) = own.checked_sub(1).map(|last| &headers[last])
            && ADDED.contains(&&*header.key)
            && headers[own..].iter().all(|later| later.key != header.key)
        {
            own -= 1;
        }
        own
    }

    fn added(&self, name: &[u8]) -> Option<&str> {
        let added = &self.record.headers[self.own_headers()..];
        let header = added.iter().find(|header| header.key == name)?;
        str::from_utf8(header.value.as_deref()?).ok()
    }

    fn number<T: std::str::FromStr>(&self, name: &[u8]) -> Option<T> {
        self.added(name)?.parse().ok()
    }

    /// As JSON.
    pub(super) fn view(&self, partition: i32) -> LetterView {
        let text = |name: &[u8]| self.added(name).map(str::to_owned);
        let (key, key_base64) = text_or_base64(self.record.key.as_ref());
        let (value, value_base64) = text_or_base64(self.record.value.as_ref());
        LetterView {
            partition,
            offset: self.offset.0,
            timestamp: self.timestamp.0,
            original_topic: self.original_topic().map(|topic| topic.to_string()),
            original_partition: self.number(ORIGINAL_PARTITION),
            original_subscription: text(ORIGINAL_SUBSCRIPTION),
            original_offset: self.number(ORIGINAL_OFFSET),
            attempts: self.number(ATTEMPT),
            poison_policy: text(POISON_POLICY),
            reason: text(REASON),
            key,
            key_base64,
            value,
            value_base64,
            headers: self.record.headers[..self.own_headers()].iter().map(header).collect(),
        }
    }
}

/// A dead letter as it is answered; `key` and `value` are null where the message has none, and replaced by `…_base64`
/// where they are no UTF-8. What the letter does not say of its origin is null.
#[derive(Debug, Serialize)]
pub(super) struct LetterView {
    partition: i32,
    offset: i64,
    timestamp: i64,
    original_topic: Option<String>,
    original_partition: Option<i32>,
    original_subscription: Option<String>,
    original_offset: Option<i64>,
    attempts: Option<u32>,
    poison_policy: Option<String>,
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<(String, HeaderView)>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum HeaderView {
    Text(Option<String>),
    Binary { base64: String },
}

fn header(header: &Header) -> (String, HeaderView) {
    let value = match text_or_base64(header.value.as_ref()) {
        (_, Some(base64)) => HeaderView::Binary { base64 },
        (text, None) => HeaderView::Text(text.flatten()),
    };
    (String::from_utf8_lossy(&header.key).into_owned(), value)
}

/// Exactly one of the two is there.
fn text_or_base64(bytes: Option<&Bytes>) -> (Option<Option<String>>, Option<String>) {
    match bytes.map(|bytes| str::from_utf8(bytes)).transpose() {
        Ok(text) => (Some(text.map(str::to_owned)), None),
        Err(_) => (None, bytes.map(|bytes| BASE64_STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&'static str, &'static str)]) -> Letter {
        let header = |&(key, value): &(&'static str, &'static str)| Header {
            key: Bytes::from_static(key.as_bytes()),
            value: Some(Bytes::from_static(value.as_bytes())),
        };
        let record = Record {
            key: Some("k".into()),
            value: Some(Bytes::from_static(&[0xff])),
            headers: headers.iter().map(header).collect(),
            ..Record::default()
        };
        Letter { offset: Offset(4), timestamp: Timestamp(9), record }
    }

    #[test]
    fn only_the_headers_that_were_added_go() {
        let letter = letter(&[
            ("trace", "1"),
            ("x-failure-reason", "the sender's own"),
            ("x-original-topic", "orders"),
            ("x-original-partition", "2"),
            ("x-original-topic-offset", "17"),
            ("x-failure-reason", "no stock"),
        ]);
        let own = letter.original().headers;
        assert_eq!(own.len(), 2);
        assert_eq!(own[1].value.as_deref(), Some(&b"the sender's own"[..]));
        assert_eq!(letter.original_topic().unwrap().as_str(), "orders");
        assert_eq!(letter.original_partition(), 2);
        let view = serde_json::to_value(letter.view(5)).unwrap();
        assert_eq!(view["reason"], "no stock");
        assert_eq!((&view["partition"], &view["original_offset"]), (&5.into(), &17.into()));
        assert_eq!((view["key"].as_str(), view["value_base64"].as_str()), (Some("k"), Some("/w==")));
        assert_eq!(view["headers"].as_array().unwrap().len(), 2);
        assert!(view.get("value").is_none());
    }

    #[test]
    fn a_topic_may_be_named_as_either_protocol_does() {
        let of = |name| letter(&[("x-original-topic", name)]).original_topic().map(|topic| topic.to_string());
        assert_eq!(of("/default/orders").as_deref(), Some("orders"));
        assert_eq!(of("/shop/orders").as_deref(), Some("shop.orders"));
        assert_eq!(of("shop.orders").as_deref(), Some("shop.orders"));
        assert_eq!(of("no topic"), None);
        assert_eq!(letter(&[("trace", "1")]).original_topic(), None);
    }
}
