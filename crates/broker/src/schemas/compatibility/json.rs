//! Compatibility of JSON Schemas.
//!
//! | change | backward | forward |
//! |---|---|---|
//! | a required property is removed | refused | refused |
//! | an optional property becomes required | refused | |
//! | a required property becomes optional | | refused |
//! | a required property is new | | refused |
//! | a type is no longer allowed (`integer` is a `number`) | refused | |
//! | a type is allowed that was not | | refused |
//! | a value leaves an `enum` | refused | |
//! | a value joins an `enum` | | refused |
//! | `additionalProperties` becomes false, or a property of a closed object is removed | refused | |
//! | `additionalProperties` was false, and a property is new or it opens | | refused |
//! | a bound (`minimum`, `maxLength`, …) comes or tightens; an alternative of `anyOf` or `oneOf` goes | refused | |
//! | a bound goes or widens; an alternative comes | | refused |
//! | `pattern`, `multipleOf`, `const`, `not` or a part of `allOf` comes or changes | refused | |
//! | one of these goes or changes | | refused |
//!
//! `properties`, `items` and references within the definition are followed. Schemas inside `anyOf`, `oneOf`, `allOf` and
//! `not` are equal or different; whether a different one lets the same through is not examined. Other keywords are not
//! compared.

mod limits;

use super::REASONS_MAX;
use serde_json::Value;
use std::collections::BTreeSet;

/// Who must be able to read whose data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Backward,
    Forward,
}

/// References that are followed one after another.
const REFERENCES_MAX: usize = 16;

/// Adds what speaks against the change in this direction.
pub(super) fn check(old: &Value, new: &Value, direction: Direction, reasons: &mut Vec<String>) {
    let mut comparison =
        Comparison { old_root: old, new_root: new, direction, seen: BTreeSet::new(), reasons };
    comparison.schemas(old, new, "$");
}

struct Comparison<'a> {
    old_root: &'a Value,
    new_root: &'a Value,
    direction: Direction,
    /// Pairs that were compared, by address: definitions may refer to themselves.
    seen: BTreeSet<(usize, usize)>,
    reasons: &'a mut Vec<String>,
}

impl<'a> Comparison<'a> {
    fn schemas(&mut self, old: &'a Value, new: &'a Value, path: &str) {
        let (old, new) = (resolved(self.old_root, old), resolved(self.new_root, new));
        let pair = (std::ptr::from_ref(old).addr(), std::ptr::from_ref(new).addr());
        if self.reasons.len() >= REASONS_MAX || !self.seen.insert(pair) {
            return;
        }
        self.types(old, new, path);
        self.choices(old, new, path);
        let (written, read) = self.written_and_read(old, new);
        for keyword in limits::refusing(written, read) {
            self.refuse(path, format_args!("{keyword} lets less through"));
        }
        self.properties(old, new, path);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.schemas(old, new, &format!("{path}[]"));
        }
    }

    fn types(&mut self, old: &Value, new: &Value, path: &str) {
        let (written, read) = self.written_and_read(types(old), types(new));
        let Some(read) = read else { return };
        let Some(written) = written else {
            return self.refuse(path, "any type becomes one of some types");
        };
        let readable = |kind: &&&str| read.contains(**kind) || **kind == "integer" && read.contains("number");
        if let Some(kind) = written.iter().find(|kind| !readable(kind)) {
            self.refuse(path, format_args!("type {kind} cannot be read"));
        }
    }

    fn choices(&mut self, old: &Value, new: &Value, path: &str) {
        let values = |schema: &'_ Value| schema.get("enum").and_then(Value::as_array).cloned();
        let (written, read) = self.written_and_read(values(old), values(new));
        let Some(read) = read else { return };
        let Some(written) = written else {
            return self.refuse(path, "any value becomes one of some values");
        };
        if let Some(value) = written.iter().find(|value| !read.contains(value)) {
            self.refuse(path, format_args!("value {value} cannot be read"));
        }
    }

    fn properties(&mut self, old: &'a Value, new: &'a Value, path: &str) {
        let (old_names, new_names) = (names(old), names(new));
        let (old_required, new_required) = (required(old), required(new));
        let backward = self.direction == Direction::Backward;
        for name in &old_required {
            match (new_names.contains(name), new_required.contains(name)) {
                (false, false) => self.refuse(path, format_args!("required property {name:?} is removed")),
                (true, false) if !backward => {
                    self.refuse(path, format_args!("property {name:?} is required no more"));
                }
                _ => {}
            }
        }
        for name in new_required.difference(&old_required) {
            match old_names.contains(name) {
                true if backward => self.refuse(path, format_args!("property {name:?} becomes required")),
                false if !backward => self.refuse(path, format_args!("required property {name:?} is new")),
                _ => {}
            }
        }
        let closed = |schema: &Value| schema.get("additionalProperties") == Some(&Value::Bool(false));
        let (written_closed, read_closed) = self.written_and_read(closed(old), closed(new));
        let (written, read) = self.written_and_read(&old_names, &new_names);
        if read_closed && !written_closed {
            self.refuse(path, "properties that are not listed cannot be read");
        } else if read_closed && let Some(name) = written.difference(read).next() {
            self.refuse(path, format_args!("property {name:?} cannot be read"));
        }
        for name in old_names.intersection(&new_names) {
            let (old, new) = (&old["properties"][*name], &new["properties"][*name]);
            self.schemas(old, new, &format!("{path}.{name}"));
        }
    }

    /// What data is written with, and what it is read with.
    fn written_and_read<T>(&self, old: T, new: T) -> (T, T) {
        match self.direction {
            Direction::Backward => (old, new),
            Direction::Forward => (new, old),
        }
    }

    fn refuse(&mut self, path: &str, what: impl std::fmt::Display) {
        let direction = match self.direction {
            Direction::Backward => "backward",
            Direction::Forward => "forward",
        };
        self.reasons.push(format!("{direction}: {path}: {what}"));
    }
}

/// Follows references within the same definition.
fn resolved<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..REFERENCES_MAX {
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The types that are allowed; `None` if all are.
fn types(schema: &Value) -> Option<BTreeSet<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(BTreeSet::from([one.as_str()])),
        Value::Array(some) => Some(some.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn names(schema: &Value) -> BTreeSet<&str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    let required = schema.get("required").and_then(Value::as_array);
    required.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}
