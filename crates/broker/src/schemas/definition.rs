//! A schema's definition, read and made comparable.

use super::subject::{Fingerprint, SchemaType};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Largest definition, bytes.
pub(super) const DEFINITION_BYTES_MAX: usize = 512 * 1024;

/// Bytes of somebody else's error text that are passed on.
const ERROR_BYTES_MAX: usize = 500;

/// A definition that is well-formed.
#[derive(Debug)]
pub(super) enum Definition {
    /// A type that defines nothing; its text is for people.
    Plain,
    JsonSchema(Value),
    Avro(Box<apache_avro::Schema>),
    Protobuf(Vec<FileDescriptorProto>),
}

impl Definition {
    /// Reads a definition, or says what is wrong with it.
    pub(super) fn parse(kind: SchemaType, bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > DEFINITION_BYTES_MAX {
            return Err(format!("it has {} bytes; {DEFINITION_BYTES_MAX} are allowed", bytes.len()));
        }
        match kind {
            SchemaType::Bytes | SchemaType::String | SchemaType::Number => Ok(Self::Plain),
            SchemaType::JsonSchema => {
                let value = json(bytes)?;
                if value.is_object() || value.is_boolean() {
                    Ok(Self::JsonSchema(value))
                } else {
                    Err("a JSON Schema is an object, true or false".to_owned())
                }
            }
            SchemaType::Avro => {
                let schema = apache_avro::Schema::parse(&json(bytes)?);
                Ok(Self::Avro(Box::new(schema.map_err(shortened)?)))
            }
            SchemaType::Protobuf => protobuf(bytes).map(Self::Protobuf),
        }
    }

    /// The same for definitions that mean the same although their text differs: in JSON, spaces and the order of members
    /// count for nothing.
    pub(super) fn fingerprint(kind: SchemaType, bytes: &[u8]) -> Fingerprint {
        let canonical = match kind {
            SchemaType::JsonSchema | SchemaType::Avro => json(bytes).ok().map(|value| {
                let mut out = String::with_capacity(bytes.len());
                canonical(&value, &mut out);
                out.into_bytes()
            }),
            _ => None,
        };
        Fingerprint(Sha256::digest(canonical.as_deref().unwrap_or(bytes)).into())
    }
}

/// The text of an error that may repeat its input, kept short.
pub(super) fn shortened(error: impl std::fmt::Display) -> String {
    let mut text = error.to_string();
    if text.len() > ERROR_BYTES_MAX {
        let mut end = ERROR_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))
}

/// A `.proto` file's text, or the compiled form that `protoc --descriptor_set_out` writes.
fn protobuf(bytes: &[u8]) -> Result<Vec<FileDescriptorProto>, String> {
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => protox_parse::parse("schema.proto", text).map(|file| vec![file]).map_err(shortened),
        Err(_) => Err("it is neither text nor a file descriptor set".to_owned()),
    };
    let files = match parsed {
        Ok(files) => files,
        Err(error) => match FileDescriptorSet::decode(bytes) {
            Ok(set) if !set.file.is_empty() => set.file,
            _ => return Err(error),
        },
    };
    if files.iter().all(|file| file.message_type.is_empty()) {
        return Err("it defines no message".to_owned());
    }
    Ok(files)
}

/// Members sorted by name, no spaces. As deep as the JSON parser lets values be.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_goes_by_the_meaning_of_json_and_the_bytes_of_everything_else() {
        let print = |kind, text: &str| Definition::fingerprint(kind, text.as_bytes()).to_string();
        let json = SchemaType::JsonSchema;
        assert_eq!(
            print(json, r#"{"type": "object", "b":[1, 2]}"#),
            print(json, "{\"b\":[1,2],\n\"type\":\"object\"}")
        );
        assert_ne!(print(json, r#"{"b":[1,2]}"#), print(json, r#"{"b":[2,1]}"#));
        assert_ne!(print(SchemaType::Protobuf, "a b"), print(SchemaType::Protobuf, "a  b"));
        // The digest of two braces, from sha256sum.
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(print(json, " { } "), empty);
    }

    #[test]
    fn malformed_definitions_are_refused_with_a_reason() {
        let cases = [
            (SchemaType::JsonSchema, "{", "no JSON"),
            (SchemaType::JsonSchema, "[]", "object"),
            (SchemaType::Avro, r#"{"type":"record"}"#, "name"),
            (SchemaType::Protobuf, "message {", "expected"),
            (SchemaType::Protobuf, "syntax = \"proto3\";", "no message"),
        ];
        for (kind, text, word) in cases {
            let error = Definition::parse(kind, text.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let long = "x".repeat(DEFINITION_BYTES_MAX + 1);
        assert!(Definition::parse(SchemaType::Bytes, long.as_bytes()).is_err());
        // Deeper than a stack that follows it.
        for (open, kind) in [
            ("{\"items\":", SchemaType::JsonSchema),
            ("{\"type\":\"array\",\"items\":", SchemaType::Avro),
            ("message A {", SchemaType::Protobuf),
        ] {
            assert!(Definition::parse(kind, open.repeat(10_000).as_bytes()).is_err());
        }
    }
}
