//! What a schema subject is: a name, an id, a type, and the versions that were registered.

use bytes::Bytes;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a subject's definitions are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SchemaType {
    Bytes,
    String,
    Number,
    Avro,
    JsonSchema,
    Protobuf,
}

/// What the next version must be compatible with the latest in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compatibility {
    None,
    /// Who has the new schema can read what was written with the old one.
    Backward,
    /// Who has the old schema can read what is written with the new one.
    Forward,
    Full,
}

/// What happens to a message whose schema is not its topic's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ValidationPolicy {
    None,
    Warn,
    Enforce,
}

/// One registered definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    /// Exactly as registered.
    pub(crate) definition: Bytes,
    pub(crate) fingerprint: Fingerprint,
    /// Unix seconds.
    pub(crate) created_at: u64,
    pub(crate) created_by: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
}

/// A subject as it is now; a change makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Of all its versions. Never given to another subject.
    pub(crate) id: u64,
    pub(crate) kind: SchemaType,
    pub(crate) mode: Compatibility,
    /// The number that the next version gets; numbers of deleted versions are not used again.
    pub(crate) next_version: u32,
    /// By number; empty once all were deleted.
    pub(crate) versions: BTreeMap<u32, Arc<Version>>,
}

impl Subject {
    pub(crate) fn latest(&self) -> Option<&Arc<Version>> {
        self.versions.last_key_value().map(|(_, version)| version)
    }
}

/// SHA-256 of a definition's canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl SchemaType {
    /// The words of Danube's clients, the older ones included.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "bytes" => Self::Bytes,
            "string" => Self::String,
            "number" | "int" | "int64" | "float" | "double" => Self::Number,
            "avro" => Self::Avro,
            "json_schema" | "json" => Self::JsonSchema,
            "protobuf" | "proto" => Self::Protobuf,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Number => "number",
            Self::Avro => "avro",
            Self::JsonSchema => "json_schema",
            Self::Protobuf => "protobuf",
        }
    }
}

impl Compatibility {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "none" => Self::None,
            "backward" => Self::Backward,
            "forward" => Self::Forward,
            "full" => Self::Full,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
        }
    }

    pub(crate) fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::Full)
    }

    pub(crate) fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::Full)
    }
}

impl ValidationPolicy {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "none" => Self::None,
            "warn" => Self::Warn,
            "enforce" => Self::Enforce,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}
