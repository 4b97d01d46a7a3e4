//! A record as one JSON object, the form that `-o json` prints. Field names and meanings are stable.
//!
//! | field | value |
//! |---|---|
//! | `topic` | name |
//! | `partition` | index |
//! | `offset` | offset in the partition |
//! | `timestamp` | milliseconds since 1970, or -1 |
//! | `key` | text, or null for no key |
//! | `key_base64` | in place of `key`, for a key that is not UTF-8 |
//! | `value` | text, or null for no value (a tombstone) |
//! | `value_base64` | in place of `value`, for a value that is not UTF-8 |
//! | `headers` | list of `[name, value]` in order; a value is text, null, or `{"base64": …}` if not UTF-8 |

use crate::client::Record;
use serde::Serialize;

/// The JSON form of a [`Record`]; see the table above.
#[derive(Serialize)]
pub(crate) struct RecordJson<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<(&'a str, HeaderJson<'a>)>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderJson<'a> {
    Text(Option<&'a str>),
    Binary { base64: String },
}

impl<'a> RecordJson<'a> {
    /// The JSON form of `record`.
    pub(crate) fn new(record: &'a Record) -> Self {
        let (key, key_base64) = text_or_base64(record.key.as_deref());
        let (value, value_base64) = text_or_base64(record.value.as_deref());
        let header = |value: Option<&'a [u8]>| match text_or_base64(value) {
            (_, Some(base64)) => HeaderJson::Binary { base64 },
            (text, None) => HeaderJson::Text(text.flatten()),
        };
        Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp_ms,
            key,
            key_base64,
            value,
            value_base64,
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), header(value.as_deref())))
                .collect(),
        }
    }
}

/// Exactly one of the two is there.
fn text_or_base64(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(std::str::from_utf8).transpose() {
        Ok(text) => (Some(text), None),
        Err(_) => (None, bytes.map(base64)),
    }
}

/// Base64 of RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { ALPHABET[value as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            topic: "orders".into(),
            partition: 2,
            offset: 41,
            timestamp_ms: 1_700_000_000_000,
            key: Some("k".into()),
            value: Some("v \"quoted\"".into()),
            headers: vec![("trace".into(), Some("abc".into())), ("none".into(), None)],
        }
    }

    fn json(record: &Record) -> String {
        serde_json::to_string(&RecordJson::new(record)).unwrap()
    }

    #[test]
    fn text_is_text() {
        assert_eq!(
            json(&record()),
            r#"{"topic":"orders","partition":2,"offset":41,"timestamp":1700000000000,"key":"k","value":"v \"quoted\"","headers":[["trace","abc"],["none",null]]}"#
        );
    }

    #[test]
    fn null_is_null_and_binary_is_base64() {
        let record = Record {
            key: Some([0xff, 0x00].as_slice().into()),
            value: None,
            headers: vec![("h".into(), Some([0xfe].as_slice().into()))],
            ..record()
        };
        assert_eq!(
            json(&record),
            r#"{"topic":"orders","partition":2,"offset":41,"timestamp":1700000000000,"key_base64":"/wA=","value":null,"headers":[["h",{"base64":"/g=="}]]}"#
        );
    }

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
