//! Random messages, written from the facts by code that shares nothing with the generator.

use super::{
    facts::{Field, Message},
    seeds::Rng,
};
use bytes::BufMut;
use keyway_record::varint::put_unsigned;

/// A value of one field.
#[derive(PartialEq, Debug)]
enum Value {
    Fixed(Vec<u8>),
    /// Text, bytes or records, and whether the short form has two bytes of length.
    Blob(Option<Vec<u8>>, bool),
    List(Option<Vec<Value>>),
    Struct(Vec<(Option<u32>, Value)>),
    /// A struct that may be null.
    Optional(Option<Box<Value>>),
}

/// The bytes of a random message of `version`. With `unknown_tags`, also tagged fields that no version has.
pub(crate) fn bytes(rng: &mut Rng, message: &Message, version: i16, unknown_tags: bool) -> Vec<u8> {
    let flexible = message.flexible.contains(&version);
    let mut out = Vec::new();
    let value = random_struct(rng, &message.fields, version);
    write(&mut out, &value, flexible, &mut unknown_tags.then_some(rng));
    out
}

fn random_struct(rng: &mut Rng, fields: &[Field], version: i16) -> Value {
    let mut values = Vec::new();
    for field in fields.iter().filter(|field| field.versions.contains(&version)) {
        let value = random_value(rng, field, &field.ty, version);
        if field.tag.is_none() || value != default(field, version) {
            values.push((field.tag, value));
        }
    }
    Value::Struct(values)
}

fn random_value(rng: &mut Rng, field: &Field, ty: &str, version: i16) -> Value {
    let nullable = field.nullable.contains(&version) && ty == field.ty || ty == "records";
    let null = nullable && rng.once_in(4);
    if let Some(element) = ty.strip_prefix("[]") {
        let count = rng.below(4);
        return Value::List(
            (!null).then(|| (0..count).map(|_| random_value(rng, field, element, version)).collect()),
        );
    }
    match ty {
        "string" => {
            let letters = ["a", "z", "-", "é", "鍵", "🔑"];
            let text: String = (0..blob_len(rng)).map(|_| letters[rng.below(letters.len())]).collect();
            Value::Blob((!null).then(|| text.into_bytes()), true)
        }
        "bytes" | "records" => {
            let bytes = (0..blob_len(rng)).map(|_| rng.next() as u8).collect();
            Value::Blob((!null).then_some(bytes), false)
        }
        "bool" => Value::Fixed(vec![rng.below(2) as u8]),
        // Whole numbers: a NaN is not even itself.
        "float64" => Value::Fixed((rng.next() as i32 as f64).to_be_bytes().to_vec()),
        _ if fixed_len(ty).is_some() => {
            let small = rng.next() as i64 >> rng.below(64);
            let mut bytes = small.to_be_bytes().repeat(2);
            Value::Fixed(bytes.split_off(16 - fixed_len(ty).expect("checked")))
        }
        _ if nullable => {
            Value::Optional((!null).then(|| Box::new(random_struct(rng, &field.fields, version))))
        }
        _ => random_struct(rng, &field.fields, version),
    }
}

/// Mostly short; sometimes over the 127 that one byte of a varint can say.
fn blob_len(rng: &mut Rng) -> usize {
    if rng.once_in(20) { 126 + rng.below(5) } else { rng.below(6) }
}

/// What the field is when a message leaves it out.
fn default(field: &Field, version: i16) -> Value {
    let given = field.default.as_deref();
    let null = given == Some("null");
    match field.ty.as_str() {
        ty if ty.starts_with("[]") => Value::List((!null).then(Vec::new)),
        "string" => Value::Blob((!null).then(Vec::new), true),
        "bytes" => Value::Blob((!null).then(Vec::new), false),
        "bool" => Value::Fixed(vec![u8::from(given == Some("true"))]),
        ty => match fixed_len(ty) {
            None if null => Value::Optional(None),
            Some(len) => {
                let number: i128 = given.map_or(0, |number| number.parse().expect("a number"));
                Value::Fixed(number.to_be_bytes()[16 - len..].to_vec())
            }
            None => Value::Struct(
                field
                    .fields
                    .iter()
                    .filter(|field| field.versions.contains(&version))
                    .map(|field| (field.tag, default(field, version)))
                    .filter(|(tag, _)| tag.is_none())
                    .collect(),
            ),
        },
    }
}

fn fixed_len(ty: &str) -> Option<usize> {
    Some(match ty {
        "int8" => 1,
        "int16" | "uint16" => 2,
        "int32" | "uint32" => 4,
        "int64" | "float64" => 8,
        "uuid" => 16,
        _ => return None,
    })
}

fn write(out: &mut Vec<u8>, value: &Value, flexible: bool, unknown: &mut Option<&mut Rng>) {
    match value {
        Value::Fixed(bytes) => out.put_slice(bytes),
        Value::Blob(bytes, short) => {
            write_len(out, bytes.as_ref().map(Vec::len), flexible, *short);
            out.put_slice(bytes.as_deref().unwrap_or_default());
        }
        Value::Optional(value) => {
            out.put_i8(if value.is_some() { 1 } else { -1 });
            if let Some(value) = value {
                write(out, value, flexible, unknown);
            }
        }
        Value::List(elements) => {
            write_len(out, elements.as_ref().map(Vec::len), flexible, false);
            elements.iter().flatten().for_each(|element| write(out, element, flexible, unknown));
        }
        Value::Struct(fields) => {
            let (mut tagged, mut plain): (Vec<_>, Vec<_>) = fields.iter().partition(|(tag, _)| tag.is_some());
            plain.drain(..).for_each(|(_, value)| write(out, value, flexible, unknown));
            if flexible {
                tagged.sort_by_key(|(tag, _)| *tag);
                write_tags(out, &tagged, unknown);
            }
        }
    }
}

fn write_tags(out: &mut Vec<u8>, tagged: &[&(Option<u32>, Value)], unknown: &mut Option<&mut Rng>) {
    let extra = unknown.as_mut().map_or(0, |rng| rng.below(3));
    put_unsigned(out, (tagged.len() + extra) as u64);
    for (tag, value) in tagged {
        let mut field = Vec::new();
        write(&mut field, value, true, unknown);
        put_unsigned(out, tag.expect("tagged").into());
        put_unsigned(out, field.len() as u64);
        out.put_slice(&field);
    }
    for tag in 0..extra {
        let rng = unknown.as_mut().expect("extra only with it");
        let field: Vec<u8> = (0..blob_len(rng)).map(|_| rng.next() as u8).collect();
        put_unsigned(out, 1000 + tag as u64);
        put_unsigned(out, field.len() as u64);
        out.put_slice(&field);
    }
}

fn write_len(out: &mut Vec<u8>, len: Option<usize>, flexible: bool, short: bool) {
    if flexible {
        put_unsigned(out, len.map_or(0, |len| len as u64 + 1));
    } else if short {
        out.put_i16(len.map_or(-1, |len| len as i16));
    } else {
        out.put_i32(len.map_or(-1, |len| len as i32));
    }
}
