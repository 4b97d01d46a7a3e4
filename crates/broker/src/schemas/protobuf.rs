//! What a set of protobuf files defines, by full name and field number.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Messages and their fields.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) by_name: BTreeMap<String, BTreeMap<i32, Field>>,
    enums: BTreeSet<String>,
    /// The first message of the last file: what payloads are, and what the rest is there for.
    pub(super) first: Option<String>,
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) wire: Wire,
    pub(super) repeated: bool,
    pub(super) required: bool,
}

/// What a field is on the wire. Types that are written the same are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wire {
    Varint,
    Zigzag,
    Fixed32,
    Fixed64,
    Float,
    Double,
    Text,
    Bytes,
    /// By its full name, or as it is written if it is defined in a file that is not here.
    Message(String),
    Group,
}

impl Messages {
    pub(super) fn of(files: &[FileDescriptorProto]) -> Self {
        let mut messages = Self::default();
        for file in files {
            messages.enums.extend(file.enum_type.iter().map(|it| join(file.package(), it.name())));
            file.message_type.iter().for_each(|message| messages.declare(file.package(), message));
            if let Some(first) = file.message_type.first() {
                messages.first = Some(join(file.package(), first.name()));
            }
        }
        for file in files {
            file.message_type.iter().for_each(|message| messages.define(file.package(), message));
        }
        messages
    }

    /// As deep as the parser lets messages nest.
    fn declare(&mut self, scope: &str, message: &DescriptorProto) {
        let name = join(scope, message.name());
        self.enums.extend(message.enum_type.iter().map(|it| join(&name, it.name())));
        message.nested_type.iter().for_each(|nested| self.declare(&name, nested));
        self.by_name.insert(name, BTreeMap::new());
    }

    fn define(&mut self, scope: &str, message: &DescriptorProto) {
        let name = join(scope, message.name());
        let fields = message.field.iter().map(|field| (field.number(), self.field(&name, field)));
        let fields = fields.collect();
        self.by_name.insert(name.clone(), fields);
        message.nested_type.iter().for_each(|nested| self.define(&name, nested));
    }

    fn field(&self, scope: &str, field: &FieldDescriptorProto) -> Field {
        let label = field.label.and_then(|label| Label::try_from(label).ok());
        Field {
            wire: self.wire(scope, field),
            repeated: label == Some(Label::Repeated),
            required: label == Some(Label::Required),
        }
    }

    fn wire(&self, scope: &str, field: &FieldDescriptorProto) -> Wire {
        let kind = field.r#type.and_then(|kind| Type::try_from(kind).ok());
        match (kind, &field.type_name) {
            (Some(Type::Group), _) => Wire::Group,
            (_, Some(name)) => self.named(scope, name),
            (Some(Type::Sint32 | Type::Sint64), _) => Wire::Zigzag,
            (Some(Type::Fixed32 | Type::Sfixed32), _) => Wire::Fixed32,
            (Some(Type::Fixed64 | Type::Sfixed64), _) => Wire::Fixed64,
            (Some(Type::Float), _) => Wire::Float,
            (Some(Type::Double), _) => Wire::Double,
            (Some(Type::String), _) => Wire::Text,
            (Some(Type::Bytes), _) => Wire::Bytes,
            (Some(Type::Message) | None, None) => Wire::Message(String::new()),
            (Some(Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool | Type::Enum), _) => {
                Wire::Varint
            }
        }
    }

    /// A message or enum as seen from `scope`, innermost first.
    fn named(&self, scope: &str, name: &str) -> Wire {
        let known = |full: &str| match (self.enums.contains(full), self.by_name.contains_key(full)) {
            (true, _) => Some(Wire::Varint),
            (false, true) => Some(Wire::Message(full.to_owned())),
            (false, false) => None,
        };
        if let Some(full) = name.strip_prefix('.') {
            return known(full).unwrap_or_else(|| Wire::Message(full.to_owned()));
        }
        let mut scope = scope;
        loop {
            if let Some(found) = known(&join(scope, name)) {
                return found;
            }
            match scope.rsplit_once('.') {
                Some((outer, _)) => scope = outer,
                None if !scope.is_empty() => scope = "",
                None => return Wire::Message(name.to_owned()),
            }
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Varint => f.write_str("a plain integer, bool or enum"),
            Self::Zigzag => f.write_str("a zigzag integer"),
            Self::Fixed32 => f.write_str("a fixed 32-bit integer"),
            Self::Fixed64 => f.write_str("a fixed 64-bit integer"),
            Self::Float => f.write_str("a float"),
            Self::Double => f.write_str("a double"),
            Self::Text => f.write_str("a string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Message(name) => write!(f, "message {name}"),
            Self::Group => f.write_str("a group"),
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
