//! What is stored of schemas in the internal topic `__schemas`, all numbers big-endian. A text is its length as u16 and
//! its UTF-8.
//!
//! | key | | value | |
//! |---|---|---|---|
//! | kind, 1: subject | u8 | version, 1 | u8 |
//! | its name | the rest | schema id | u64 |
//! | | | number of the next version | u32 |
//! | | | type: 0 bytes, 1 string, 2 number, 3 Avro, 4 JSON Schema, 5 protobuf | u8 |
//! | | | mode: 0 none, 1 backward, 2 forward, 3 full | u8 |
//! | kind, 2: version | u8 | version, 1 | u8 |
//! | schema id | u64 | created at, Unix seconds | u64 |
//! | number of the version | u32 | fingerprint | 32 bytes |
//! | | | created by, description | 2 texts |
//! | | | number of tags, the tags | u8, texts |
//! | | | definition | the rest |
//! | kind, 3: topic | u8 | version, 1 | u8 |
//! | topic id | 16 bytes | policy: 0 none, 1 warn, 2 enforce | u8 |
//! | | | payloads are checked: 0 no, 1 yes | u8 |
//! | | | name of its subject | the rest |

use super::{
    TopicSchema,
    subject::{Compatibility, Fingerprint, SchemaType, Subject, ValidationPolicy, Version},
};
use crate::stored::{put_piece, take_piece, text};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_record::TopicId;
use std::collections::BTreeMap;

const FORM: u8 = 1;
const KIND_SUBJECT: u8 = 1;
const KIND_VERSION: u8 = 2;
const KIND_TOPIC: u8 = 3;

const TYPES: [SchemaType; 6] = [
    SchemaType::Bytes,
    SchemaType::String,
    SchemaType::Number,
    SchemaType::Avro,
    SchemaType::JsonSchema,
    SchemaType::Protobuf,
];
const MODES: [Compatibility; 4] =
    [Compatibility::None, Compatibility::Backward, Compatibility::Forward, Compatibility::Full];
const POLICIES: [ValidationPolicy; 3] =
    [ValidationPolicy::None, ValidationPolicy::Warn, ValidationPolicy::Enforce];

/// One stored thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// Without its versions.
    Subject(Subject),
    Version {
        schema_id: u64,
        version: Version,
    },
    Topic(TopicId, TopicSchema),
}

pub(super) fn subject_key(name: &str) -> Bytes {
    [&[KIND_SUBJECT], name.as_bytes()].concat().into()
}

pub(super) fn version_key(schema_id: u64, number: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(13);
    out.put_u8(KIND_VERSION);
    out.put_u64(schema_id);
    out.put_u32(number);
    out.freeze()
}

pub(super) fn topic_key(topic: TopicId) -> Bytes {
    [&[KIND_TOPIC][..], &topic.0].concat().into()
}

pub(super) fn subject_value(subject: &Subject) -> Bytes {
    let mut out = BytesMut::with_capacity(15);
    out.put_u8(FORM);
    out.put_u64(subject.id);
    out.put_u32(subject.next_version);
    out.put_u8(place(&TYPES, subject.kind));
    out.put_u8(place(&MODES, subject.mode));
    out.freeze()
}

pub(super) fn version_value(version: &Version) -> Bytes {
    let mut out = BytesMut::with_capacity(128 + version.definition.len());
    out.put_u8(FORM);
    out.put_u64(version.created_at);
    out.put_slice(&version.fingerprint.0);
    put_piece(&mut out, &version.created_by);
    put_piece(&mut out, &version.description);
    out.put_u8(u8::try_from(version.tags.len()).expect("the number of tags is bounded"));
    version.tags.iter().for_each(|tag| put_piece(&mut out, tag));
    out.put_slice(&version.definition);
    out.freeze()
}

pub(super) fn topic_value(topic: &TopicSchema) -> Bytes {
    let mut out = BytesMut::with_capacity(3 + topic.subject.len());
    out.put_u8(FORM);
    out.put_u8(place(&POLICIES, topic.policy));
    out.put_u8(u8::from(topic.check_payloads));
    out.put_slice(topic.subject.as_bytes());
    out.freeze()
}

pub(super) fn decode(key: &Bytes, value: &Bytes) -> Result<Stored, String> {
    let (mut key, mut value) = (key.clone(), value.clone());
    let kind = key.try_get_u8().map_err(cut)?;
    match value.try_get_u8().map_err(cut)? {
        FORM => {}
        form => return Err(format!("a schema's record of version {form}")),
    }
    match kind {
        KIND_SUBJECT => Ok(Stored::Subject(Subject {
            name: text(key)?,
            id: value.try_get_u64().map_err(cut)?,
            next_version: value.try_get_u32().map_err(cut)?,
            kind: at(&TYPES, value.try_get_u8().map_err(cut)?)?,
            mode: at(&MODES, value.try_get_u8().map_err(cut)?)?,
            versions: BTreeMap::new(),
        })),
        KIND_VERSION => {
            let schema_id = key.try_get_u64().map_err(cut)?;
            let number = key.try_get_u32().map_err(cut)?;
            Ok(Stored::Version { schema_id, version: version(number, value)? })
        }
        KIND_TOPIC => {
            let mut id = [0; 16];
            key.try_copy_to_slice(&mut id).map_err(cut)?;
            let policy = at(&POLICIES, value.try_get_u8().map_err(cut)?)?;
            let check_payloads = value.try_get_u8().map_err(cut)? != 0;
            Ok(Stored::Topic(TopicId(id), TopicSchema { subject: text(value)?, policy, check_payloads }))
        }
        other => Err(format!("a schema's key of kind {other}")),
    }
}

fn version(number: u32, mut value: Bytes) -> Result<Version, String> {
    let created_at = value.try_get_u64().map_err(cut)?;
    let mut fingerprint = Fingerprint([0; 32]);
    value.try_copy_to_slice(&mut fingerprint.0).map_err(cut)?;
    let created_by = take_text(&mut value)?;
    let description = take_text(&mut value)?;
    let tags_count = value.try_get_u8().map_err(cut)?;
    let tags = (0..tags_count).map(|_| take_text(&mut value)).collect::<Result<_, _>>()?;
    Ok(Version { number, definition: value, fingerprint, created_at, created_by, description, tags })
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    let place = all.iter().position(|other| *other == one).expect("the table has every variant");
    place as u8
}

fn at<T: Copy>(all: &[T], place: u8) -> Result<T, String> {
    all.get(usize::from(place))
        .copied()
        .ok_or_else(|| format!("a schema's record with an unknown word {place}"))
}

fn take_text(rest: &mut Bytes) -> Result<String, String> {
    text(take_piece(rest).map_err(cut)?)
}

fn cut(_: bytes::TryGetError) -> String {
    "a schema's record is cut short".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn what_is_stored_comes_back_and_cuts_are_refused() {
        let version = Version {
            number: 7,
            definition: "{}".into(),
            fingerprint: Fingerprint([9; 32]),
            created_at: 1_700_000_000,
            created_by: "ann".into(),
            description: "the seventh".into(),
            tags: vec!["a".into(), "b".into()],
        };
        let subject = Subject {
            name: "orders-value".into(),
            id: 3,
            kind: SchemaType::JsonSchema,
            mode: Compatibility::Full,
            next_version: 8,
            versions: BTreeMap::new(),
        };
        let topic = TopicSchema {
            subject: "orders-value".into(),
            policy: ValidationPolicy::Enforce,
            check_payloads: true,
        };
        let id = TopicId([5; 16]);
        let all = [
            (subject_key("orders-value"), subject_value(&subject), Stored::Subject(subject.clone()), 15),
            (version_key(3, 7), version_value(&version), Stored::Version { schema_id: 3, version }, 60),
            (topic_key(id), topic_value(&topic), Stored::Topic(id, topic), 3),
        ];
        for (key, value, stored, fixed) in all {
            assert_eq!(decode(&key, &value), Ok(stored));
            for len in 0..fixed {
                assert!(decode(&key, &value.slice(..len)).is_err(), "{len} bytes");
            }
            damaged(&key).for_each(|key| drop(decode(&key, &value)));
            damaged(&value).for_each(|value| drop(decode(&key, &value)));
        }
    }
}
