//! Compatibility of protobuf files, by what is on the wire.
//!
//! | change of a message that both files have | |
//! |---|---|
//! | a field is added, removed or renamed | passes |
//! | a field number gets a type that is written differently | refused |
//! | a field number refers to another message | refused |
//! | a field becomes repeated or single | refused |
//! | a required field (proto2) is new | refused backward |
//! | a required field (proto2) is removed, or becomes optional | refused forward |
//! | the first message is removed or renamed | refused |

use super::super::subject::Compatibility;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::collections::{BTreeMap, BTreeSet};

/// Adds what speaks against the change.
pub(super) fn check(
    old: &[FileDescriptorProto],
    new: &[FileDescriptorProto],
    mode: Compatibility,
    reasons: &mut Vec<String>,
) {
    if mode == Compatibility::None {
        return;
    }
    let (old, new) = (Names::of(old), Names::of(new));
    if let Some(first) = &old.first
        && !new.messages.contains_key(first)
    {
        reasons.push(format!("message {first} is removed"));
    }
    for (name, before) in &old.messages {
        let Some(after) = new.messages.get(name) else { continue };
        for (number, field) in before {
            match after.get(number) {
                Some(now) => compare(name, field, now, mode, reasons),
                None if field.required && mode.is_forward() => {
                    reasons.push(format!("forward: {name}: required field {number} is removed"));
                }
                None => {}
            }
        }
        let added = after.iter().filter(|(number, _)| !before.contains_key(number));
        for (number, _) in added.filter(|(_, field)| field.required && mode.is_backward()) {
            reasons.push(format!("backward: {name}: required field {number} is new"));
        }
    }
}

fn compare(name: &str, old: &Field, new: &Field, mode: Compatibility, reasons: &mut Vec<String>) {
    let number = old.number;
    if old.wire != new.wire {
        reasons.push(format!("{name}: field {number} was {}, now {}", old.wire, new.wire));
    }
    if old.repeated != new.repeated {
        let now = if new.repeated { "repeated" } else { "single" };
        reasons.push(format!("{name}: field {number} becomes {now}"));
    }
    if new.required && !old.required && mode.is_backward() {
        reasons.push(format!("backward: {name}: field {number} becomes required"));
    }
    if old.required && !new.required && mode.is_forward() {
        reasons.push(format!("forward: {name}: field {number} is required no more"));
    }
}

/// Everything that a set of files defines, by full name.
#[derive(Default)]
struct Names {
    messages: BTreeMap<String, BTreeMap<i32, Field>>,
    enums: BTreeSet<String>,
    /// The first message of the last file, which the others are there for.
    first: Option<String>,
}

struct Field {
    number: i32,
    /// What it is on the wire, the same for types that are written the same.
    wire: String,
    repeated: bool,
    required: bool,
}

impl Names {
    fn of(files: &[FileDescriptorProto]) -> Self {
        let mut names = Self::default();
        for file in files {
            names.enums.extend(file.enum_type.iter().map(|it| join(file.package(), it.name())));
            file.message_type.iter().for_each(|message| names.declare(file.package(), message));
            if let Some(first) = file.message_type.first() {
                names.first = Some(join(file.package(), first.name()));
            }
        }
        for file in files {
            file.message_type.iter().for_each(|message| names.define(file.package(), message));
        }
        names
    }

    /// As deep as the parser lets messages nest.
    fn declare(&mut self, scope: &str, message: &DescriptorProto) {
        let name = join(scope, message.name());
        self.enums.extend(message.enum_type.iter().map(|it| join(&name, it.name())));
        message.nested_type.iter().for_each(|nested| self.declare(&name, nested));
        self.messages.insert(name, BTreeMap::new());
    }

    fn define(&mut self, scope: &str, message: &DescriptorProto) {
        let name = join(scope, message.name());
        let fields = message.field.iter().map(|field| (field.number(), self.field(&name, field)));
        let fields = fields.collect();
        self.messages.insert(name.clone(), fields);
        message.nested_type.iter().for_each(|nested| self.define(&name, nested));
    }

    fn field(&self, scope: &str, field: &FieldDescriptorProto) -> Field {
        let label = field.label.and_then(|label| Label::try_from(label).ok());
        Field {
            number: field.number(),
            wire: self.wire(scope, field),
            repeated: label == Some(Label::Repeated),
            required: label == Some(Label::Required),
        }
    }

    fn wire(&self, scope: &str, field: &FieldDescriptorProto) -> String {
        const VARINT: &str = "a plain integer, bool or enum";
        if let Some(name) = &field.type_name {
            let (name, is_enum) = self.resolve(scope, name);
            return if is_enum { VARINT.to_owned() } else { format!("message {name}") };
        }
        let kind = field.r#type.and_then(|kind| Type::try_from(kind).ok());
        match kind {
            Some(Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool | Type::Enum) => VARINT,
            Some(Type::Sint32 | Type::Sint64) => "a zigzag integer",
            Some(Type::Fixed32 | Type::Sfixed32) => "a fixed 32-bit integer",
            Some(Type::Fixed64 | Type::Sfixed64) => "a fixed 64-bit integer",
            Some(Type::Float) => "a float",
            Some(Type::Double) => "a double",
            Some(Type::String | Type::Bytes) => "a string or bytes",
            Some(Type::Message | Type::Group) | None => "something else",
        }
        .to_owned()
    }

    /// A type's full name as seen from `scope`, innermost first, and whether it is an enum. A name from a file that is not
    /// here stays as it is written.
    fn resolve(&self, scope: &str, name: &str) -> (String, bool) {
        if let Some(full) = name.strip_prefix('.') {
            return (full.to_owned(), self.enums.contains(full));
        }
        let mut scope = scope;
        loop {
            let full = join(scope, name);
            if self.enums.contains(&full) {
                return (full, true);
            }
            if self.messages.contains_key(&full) {
                return (full, false);
            }
            match scope.rsplit_once('.') {
                Some((outer, _)) => scope = outer,
                None if !scope.is_empty() => scope = "",
                None => return (name.to_owned(), false),
            }
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
