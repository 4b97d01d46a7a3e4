//! Kafka's messages as trees of named fields: bytes ⇄ JSON, interpreted from the facts of `crates/kafka-wire/messages`.
//!
//! It shares no code with the broker, so that both cannot be wrong together. Numbers are numbers, uuids and bytes are
//! text in hexadecimal, records are a list of batches, null is null. A request may leave out any field, and may name
//! fields that its version lacks: one tree serves every version. A name that no version has is an error.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::record_sets;
use crate::messages::facts::{Field, Message};

/// The bytes of a message in a version.
pub(crate) fn encode(message: &Message, version: i16, tree: &Value) -> anyhow::Result<Vec<u8>> {
    let mut writer = Writer { out: Vec::new(), version, flexible: message.flexible.contains(version) };
    writer.fields(&message.fields, tree).with_context(|| format!("{} v{version}", message.name))?;
    Ok(writer.out)
}

/// The tree of a message in a version; bytes behind it are an error.
pub(crate) fn decode(message: &Message, version: i16, bytes: &[u8]) -> anyhow::Result<Value> {
    let mut reader = Reader { bytes, version, flexible: message.flexible.contains(version) };
    let tree = reader.fields(&message.fields).with_context(|| format!("{} v{version}", message.name))?;
    ensure!(reader.bytes.is_empty(), "{} v{version}: {} bytes behind it", message.name, reader.bytes.len());
    Ok(tree)
}

struct Writer {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
}

impl Writer {
    fn fields(&mut self, fields: &[Field], tree: &Value) -> anyhow::Result<()> {
        let given = tree.as_object().with_context(|| format!("{tree} is no struct"))?;
        for name in given.keys() {
            ensure!(fields.iter().any(|field| field.name == *name), "no field is called {name}");
        }
        let version = self.version;
        let mut tagged = Vec::new();
        for field in fields.iter().filter(|field| field.versions.contains(version)) {
            let value = given.get(&field.name);
            match field.tag {
                Some((tag, _)) => {
                    let default = default_of(field)?;
                    let given = value.filter(|value| **value != default);
                    tagged.extend(given.map(|value| (tag, field, value)));
                }
                None => self.field(field, value).with_context(|| field.name.clone())?,
            }
        }
        if self.flexible {
            tagged.sort_by_key(|(tag, ..)| *tag);
            self.unsigned(tagged.len() as u64);
            for (tag, field, value) in tagged {
                let mut inner = Writer { out: Vec::new(), version: self.version, flexible: true };
                inner.value(field, &field.ty, value)?;
                self.unsigned(u64::from(tag));
                self.unsigned(inner.out.len() as u64);
                self.out.extend(inner.out);
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, value: Option<&Value>) -> anyhow::Result<()> {
        let default;
        let value = match value {
            Some(value) => value,
            None => {
                default = default_of(field)?;
                &default
            }
        };
        // A null is written wherever a script has one: what a broker says to it is part of the comparison.
        self.value(field, &field.ty, value)
    }

    fn value(&mut self, field: &Field, ty: &str, value: &Value) -> anyhow::Result<()> {
        if let Some(element) = ty.strip_prefix("[]") {
            let elements = value.as_array();
            ensure!(elements.is_some() || value.is_null(), "{value} is no array");
            self.length(elements.map(Vec::len), false);
            return elements.into_iter().flatten().try_for_each(|one| self.value(field, element, one));
        }
        let number = || value.as_i64().with_context(|| format!("{value} is no number"));
        match ty {
            "bool" => self.out.push(u8::from(value.as_bool().context("no truth value")?)),
            "int8" => self.out.extend(i8::try_from(number()?)?.to_be_bytes()),
            "int16" => self.out.extend(i16::try_from(number()?)?.to_be_bytes()),
            "uint16" => self.out.extend(u16::try_from(number()?)?.to_be_bytes()),
            "int32" => self.out.extend(i32::try_from(number()?)?.to_be_bytes()),
            "int64" => self.out.extend(number()?.to_be_bytes()),
            "float64" => self.out.extend(value.as_f64().context("no number")?.to_be_bytes()),
            "uuid" => {
                let bytes = of_hex(value.as_str().context("no text")?)?;
                ensure!(bytes.len() == 16, "a uuid has 16 bytes");
                self.out.extend(bytes);
            }
            "string" if value.is_null() => self.length(None, true),
            "bytes" | "records" if value.is_null() => self.length(None, false),
            "string" => {
                let text = value.as_str().with_context(|| format!("{value} is no text"))?;
                self.length(Some(text.len()), true);
                self.out.extend(text.as_bytes());
            }
            "bytes" | "records" => {
                let bytes = of_hex(value.as_str().with_context(|| format!("{value} is no bytes"))?)?;
                self.length(Some(bytes.len()), false);
                self.out.extend(bytes);
            }
            _ if field.nullable.contains(self.version) && ty == field.ty => {
                self.out.push(if value.is_null() { u8::MAX } else { 1 });
                if !value.is_null() {
                    self.fields(&field.fields, value)?;
                }
            }
            _ => self.fields(&field.fields, value)?,
        }
        Ok(())
    }

    fn length(&mut self, length: Option<usize>, short: bool) {
        match (self.flexible, short, length) {
            (true, _, length) => self.unsigned(length.map_or(0, |length| length as u64 + 1)),
            (false, true, length) => {
                self.out.extend(length.map_or(-1, |length| length as i16).to_be_bytes());
            }
            (false, false, length) => {
                self.out.extend(length.map_or(-1, |length| length as i32).to_be_bytes());
            }
        }
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// What a field is when a message leaves it out.
fn default_of(field: &Field) -> anyhow::Result<Value> {
    let given = field.default.as_deref();
    Ok(match field.ty.as_str() {
        _ if given == Some("null") => Value::Null,
        ty if ty.starts_with("[]") => Value::Array(Vec::new()),
        "string" | "bytes" | "records" => Value::from(""),
        "uuid" => Value::from("0".repeat(32)),
        "bool" => Value::from(given == Some("true")),
        "float64" => Value::from(0.0),
        ty if ty.starts_with("int") || ty.starts_with("uint") => match given {
            Some(number) => match number.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16)?.into(),
                None => number.parse::<i64>()?.into(),
            },
            None => 0.into(),
        },
        _ => Value::Object(Map::new()),
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Reader<'_> {
    fn fields(&mut self, fields: &[Field]) -> anyhow::Result<Value> {
        let (mut tree, version) = (Map::new(), self.version);
        for field in fields.iter().filter(|field| field.versions.contains(version)) {
            let value = match field.tag {
                Some(_) => default_of(field)?,
                None => self.value(field, &field.ty).with_context(|| field.name.clone())?,
            };
            tree.insert(field.name.clone(), value);
        }
        if self.flexible {
            for _ in 0..self.unsigned()? {
                let (tag, length) = (self.unsigned()?, usize::try_from(self.unsigned()?)?);
                let mut inner = Reader { bytes: self.take(length)?, version: self.version, flexible: true };
                let is_meant = |field: &&Field| {
                    let number = field.tag.map(|(number, _)| u64::from(number));
                    number == Some(tag) && field.versions.contains(version)
                };
                let field = fields.iter().find(is_meant);
                let (name, value) = match field {
                    Some(field) => (field.name.clone(), inner.value(field, &field.ty)?),
                    None => (format!("tag {tag}"), Value::from(to_hex(inner.take(length)?))),
                };
                ensure!(inner.bytes.is_empty(), "{name}: {} bytes behind it", inner.bytes.len());
                tree.insert(name, value);
            }
        }
        Ok(Value::Object(tree))
    }

    fn value(&mut self, field: &Field, ty: &str) -> anyhow::Result<Value> {
        if let Some(element) = ty.strip_prefix("[]") {
            let Some(count) = self.length(false)? else { return Ok(Value::Null) };
            let elements: anyhow::Result<Vec<Value>> =
                (0..count).map(|_| self.value(field, element)).collect();
            return Ok(Value::Array(elements?));
        }
        Ok(match ty {
            "bool" => match self.array::<1>()? {
                [0] => false.into(),
                [1] => true.into(),
                [other] => bail!("{other} is no truth value"),
            },
            "int8" => i8::from_be_bytes(self.array()?).into(),
            "int16" => i16::from_be_bytes(self.array()?).into(),
            "uint16" => u16::from_be_bytes(self.array()?).into(),
            "int32" => i32::from_be_bytes(self.array()?).into(),
            "int64" => i64::from_be_bytes(self.array()?).into(),
            "float64" => f64::from_be_bytes(self.array()?).into(),
            "uuid" => to_hex(&self.array::<16>()?).into(),
            "string" => match self.length(true)? {
                Some(length) => std::str::from_utf8(self.take(length)?)?.into(),
                None => Value::Null,
            },
            "bytes" => match self.length(false)? {
                Some(length) => to_hex(self.take(length)?).into(),
                None => Value::Null,
            },
            "records" => match self.length(false)? {
                Some(length) => record_sets::decode(self.take(length)?)?,
                None => Value::Null,
            },
            _ if field.nullable.contains(self.version) && ty == field.ty => match self.array::<1>()? {
                [1] => self.fields(&field.fields)?,
                [u8::MAX] => Value::Null,
                [other] => bail!("{other} is neither a struct nor null"),
            },
            _ => self.fields(&field.fields)?,
        })
    }

    fn length(&mut self, short: bool) -> anyhow::Result<Option<usize>> {
        let length = match (self.flexible, short) {
            (true, _) => i64::try_from(self.unsigned()?)? - 1,
            (false, true) => i16::from_be_bytes(self.array()?).into(),
            (false, false) => i32::from_be_bytes(self.array()?).into(),
        };
        ensure!(length >= -1, "a length of {length}");
        Ok(usize::try_from(length).ok())
    }

    fn unsigned(&mut self) -> anyhow::Result<u64> {
        const BITS_MAX: u32 = 63;
        let (mut value, mut shift) = (0, 0);
        loop {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            ensure!(shift <= BITS_MAX, "a varint of more than ten bytes");
        }
    }

    fn array<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, left) = self
            .bytes
            .split_at_checked(count)
            .with_context(|| format!("{count} bytes are wanted, {} are left", self.bytes.len()))?;
        self.bytes = left;
        Ok(taken)
    }
}

/// Bytes as scripts write them.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs.map(|pair| u8::from_str_radix(pair?, 16).with_context(|| format!("{pair:?} is no byte"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::messages::Messages;
    use super::*;

    /// What Apache Kafka's own classes wrote, which the tests of `kafka-wire` keep.
    const GOLDEN: &str = include_str!("../../../kafka-wire/tests/messages/golden/golden.txt");

    #[test]
    fn kafkas_bytes_are_read_and_written_again() {
        let messages = Messages::read().expect("the facts");
        let mut same = 0;
        for line in GOLDEN.lines() {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            let (api, version) = (words[0], words[2].parse().expect("a version"));
            let message = match words[1] {
                "request" => messages.request(api),
                _ => messages.response(api),
            };
            let message = message.expect("facts of it");
            let bytes = if words[3] == "-" { Vec::new() } else { of_hex(words[3]).expect("hex") };
            let tree = decode(message, version, &bytes).unwrap_or_else(|error| panic!("{line}: {error:#}"));
            // Records are read into batches, and written as bytes.
            if !matches!((api, words[1]), ("Produce", "request") | ("Fetch", "response")) {
                let again =
                    encode(message, version, &tree).unwrap_or_else(|error| panic!("{line}: {error:#}"));
                assert_eq!(to_hex(&again), to_hex(&bytes), "{line}");
                same += 1;
            }
        }
        assert!(same > 500, "{same} lines");
    }

    #[test]
    fn a_name_that_no_version_has_is_an_error() {
        let messages = Messages::read().expect("the facts");
        let request = messages.request("Metadata").expect("facts of it");
        assert!(encode(request, 9, &serde_json::json!({"Topics": []})).is_ok());
        assert!(encode(request, 9, &serde_json::json!({"Topix": []})).is_err());
        assert!(decode(request, 9, &[1, 1]).is_err(), "cut short");
    }
}
