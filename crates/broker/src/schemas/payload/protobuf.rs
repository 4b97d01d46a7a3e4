//! Whether bytes are a message of a protobuf file: the first one in it. One walk over them, nothing is built. Fields that
//! the file does not know pass, as everywhere in protobuf.

use crate::schemas::protobuf::{Field, Messages, Wire};
use prost_types::FileDescriptorProto;
use std::collections::BTreeSet;

/// How deep messages may nest; protobuf's own limit.
const DEPTH_MAX: u32 = 100;

/// A file with its names.
#[derive(Debug)]
pub(in crate::schemas) struct Check(Messages);

impl Check {
    pub(super) fn of(files: &[FileDescriptorProto]) -> Self {
        Self(Messages::of(files))
    }

    pub(super) fn payload(&self, payload: &[u8]) -> Result<(), String> {
        let first = self.0.first.as_deref().expect("a definition has a message");
        self.message(first, payload, 0)
    }

    fn message(&self, name: &str, mut rest: &[u8], depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("messages nest deeper than {DEPTH_MAX}"));
        }
        // A message of a file that is not here may be anything.
        let Some(fields) = self.0.by_name.get(name) else { return Ok(()) };
        let mut missing: BTreeSet<i32> =
            fields.iter().filter(|(_, field)| field.required).map(|(&number, _)| number).collect();
        while !rest.is_empty() {
            let (number, value) = take_field(&mut rest, depth)?;
            missing.remove(&number);
            if let Some(field) = fields.get(&number) {
                self.field(field, &value, depth)
                    .map_err(|error| super::shortened(format_args!("{name}: field {number}: {error}")))?;
            }
        }
        match missing.first() {
            None => Ok(()),
            Some(number) => Err(format!("{name}: required field {number} is missing")),
        }
    }

    fn field(&self, field: &Field, value: &Value<'_>, depth: u32) -> Result<(), String> {
        match (&field.wire, value) {
            (Wire::Varint | Wire::Zigzag, Value::Varint)
            | (Wire::Fixed32 | Wire::Float, Value::Fixed32)
            | (Wire::Fixed64 | Wire::Double, Value::Fixed64)
            | (Wire::Bytes, Value::Bytes(_))
            | (Wire::Group, Value::Group) => Ok(()),
            (Wire::Text, Value::Bytes(text)) => {
                str::from_utf8(text).map(|_| ()).map_err(|error| format!("a string is not UTF-8: {error}"))
            }
            (Wire::Message(name), Value::Bytes(bytes)) => self.message(name, bytes, depth + 1),
            (wire, Value::Bytes(packed)) if field.repeated => check_packed(wire, packed),
            (wire, _) => Err(format!("its bytes are not those of {wire}")),
        }
    }
}

/// A value by its wire type.
enum Value<'a> {
    Varint,
    Fixed32,
    Fixed64,
    Bytes(&'a [u8]),
    Group,
}

/// Numbers one after another, without tags.
fn check_packed(wire: &Wire, mut packed: &[u8]) -> Result<(), String> {
    let width = match wire {
        Wire::Varint | Wire::Zigzag => {
            while !packed.is_empty() {
                varint(&mut packed)?;
            }
            return Ok(());
        }
        Wire::Fixed32 | Wire::Float => 4,
        Wire::Fixed64 | Wire::Double => 8,
        _ => return Err(format!("its bytes are not those of {wire}")),
    };
    if packed.len().is_multiple_of(width) { Ok(()) } else { Err("packed numbers are cut short".to_owned()) }
}

fn take_field<'a>(rest: &mut &'a [u8], depth: u32) -> Result<(i32, Value<'a>), String> {
    let tag = varint(rest)?;
    let number = i32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let number = number.ok_or_else(|| format!("field number {} cannot be", tag >> 3))?;
    let value = match tag & 7 {
        0 => varint(rest).map(|_| Value::Varint)?,
        1 => take(rest, 8).map(|_| Value::Fixed64)?,
        2 => {
            let len = varint(rest)?;
            let len = usize::try_from(len).map_err(|_| format!("a length of {len}"))?;
            Value::Bytes(take(rest, len)?)
        }
        3 => {
            skip_group(rest, number, depth + 1)?;
            Value::Group
        }
        5 => take(rest, 4).map(|_| Value::Fixed32)?,
        other => return Err(format!("field {number} has wire type {other}")),
    };
    Ok((number, value))
}

fn skip_group(rest: &mut &[u8], number: i32, depth: u32) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("groups nest deeper than {DEPTH_MAX}"));
    }
    let end = u64::try_from(number).expect("field numbers are positive") << 3 | 4;
    loop {
        let mut ahead = *rest;
        if varint(&mut ahead)? == end {
            *rest = ahead;
            return Ok(());
        }
        take_field(rest, depth)?;
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = take(rest, 1)?[0];
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is longer than 64 bits".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (taken, after) =
        rest.split_at_checked(len).ok_or_else(|| format!("{len} bytes are missing at the end"))?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::{definition::Definition, subject::SchemaType};
    use prost::Message;

    fn check(text: &str) -> Check {
        match Definition::parse(SchemaType::Protobuf, text.as_bytes()).unwrap() {
            Definition::Protobuf(files) => Check::of(&files),
            other => panic!("{other:?}"),
        }
    }

    /// The Danube protocol's own file, and a message that its generated code writes.
    #[test]
    fn what_the_generated_code_writes_is_accepted_and_every_cut_is_not() {
        use keyway_danube_wire::proto::{MsgId, StreamMessage};
        let file = check(
            "syntax = \"proto3\"; package danube;
             message StreamMessage {
               uint64 request_id = 1; MsgID msg_id = 2; bytes payload = 3; uint64 publish_time = 4;
               string producer_name = 5; string subscription_name = 6; map<string, string> attributes = 7;
               optional uint64 schema_id = 8; optional uint32 schema_version = 9; optional string routing_key = 10;
             }
             message MsgID { uint64 producer_id = 1; string topic_name = 2; string broker_addr = 3; uint64 topic_offset = 5; }",
        );
        let message = StreamMessage {
            request_id: u64::MAX,
            msg_id: Some(MsgId { topic_name: "näme".to_owned(), topic_offset: 7, ..MsgId::default() }),
            payload: vec![0xff; 3].into(),
            attributes: [("a".to_owned(), "b".to_owned())].into(),
            routing_key: Some("key".to_owned()),
            ..StreamMessage::default()
        };
        let bytes = message.encode_to_vec();
        assert_eq!(file.payload(&bytes), Ok(()));
        // A cut between two fields leaves a message, one inside a field does not.
        let whole = (0..bytes.len()).filter(|&len| file.payload(&bytes[..len]).is_ok()).count();
        assert_eq!(whole, 5, "nothing, and after each field but the last, of {} bytes", bytes.len());
    }

    #[test]
    fn bytes_of_another_type_are_refused() {
        let file = check(
            "syntax = \"proto2\"; message M { required int32 a = 1; optional string s = 2; repeated fixed32 f = 3; \
             optional M m = 4; }",
        );
        assert_eq!(file.payload(&[0x08, 0x05]), Ok(()));
        assert_eq!(file.payload(&[0x08, 0x05, 0x1a, 4, 1, 2, 3, 4]), Ok(()), "packed");
        assert_eq!(file.payload(&[0x08, 0x05, 0x78, 1]), Ok(()), "an unknown field");
        assert_eq!(file.payload(&[0x08, 0x05, 0x7b, 0x08, 1, 0x7c]), Ok(()), "an unknown group");
        for (bytes, what) in [
            (&[][..], "a required field is missing"),
            (&[0x08, 0x05, 0x22, 0], "a required field is missing below"),
            (&[0x0a, 1, 5], "a length where a number is"),
            (&[0x08, 5, 0x12, 1, 0xff], "no UTF-8"),
            (&[0x08, 5, 0x1a, 3, 1, 2, 3], "packed and cut"),
            (&[0x08, 5, 0x00, 1], "field 0"),
            (&[0x08, 5, 0x7b], "a group without end"),
            (&[0x08, 5, 0x0f], "wire type 7"),
            (b"{\"a\":5}", "JSON"),
        ] {
            assert!(file.payload(bytes).is_err(), "{what}");
        }
        // Deeper than a stack that follows it.
        let mut deep = vec![0x08, 5];
        for _ in 0..1_000 {
            let mut outer = vec![0x08, 5, 0x22];
            prost::encoding::encode_varint(deep.len() as u64, &mut outer);
            outer.extend_from_slice(&deep);
            deep = outer;
        }
        assert!(file.payload(&deep).is_err());
        assert!(file.payload(&[0x7b; 100_000]).is_err());
    }
}
