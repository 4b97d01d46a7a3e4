//! Compatibility of protobuf files, by what is on the wire.
//!
//! | change of a message that both files have | |
//! |---|---|
//! | a field is added, removed or renamed | passes |
//! | a field number gets a type that is written differently (a string and bytes are not) | refused |
//! | a field number refers to another message | refused |
//! | a field becomes repeated or single | refused |
//! | a required field (proto2) is new | refused backward |
//! | a required field (proto2) is removed, or becomes optional | refused forward |
//! | the first message is removed or renamed | refused |

use super::super::{
    protobuf::{Field, Messages, Wire},
    subject::Compatibility,
};
use prost_types::FileDescriptorProto;

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
    let (old, new) = (Messages::of(old), Messages::of(new));
    if let Some(first) = &old.first
        && !new.by_name.contains_key(first)
    {
        reasons.push(format!("message {first} is removed"));
    }
    for (name, before) in &old.by_name {
        let Some(after) = new.by_name.get(name) else { continue };
        for (number, field) in before {
            match after.get(number) {
                Some(now) => compare(&format!("{name}: field {number}"), field, now, mode, reasons),
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

fn compare(place: &str, old: &Field, new: &Field, mode: Compatibility, reasons: &mut Vec<String>) {
    let bytes = |wire: &Wire| matches!(wire, Wire::Text | Wire::Bytes);
    if old.wire != new.wire && !(bytes(&old.wire) && bytes(&new.wire)) {
        reasons.push(format!("{place} was {}, now {}", old.wire, new.wire));
    }
    if old.repeated != new.repeated {
        let now = if new.repeated { "repeated" } else { "single" };
        reasons.push(format!("{place} becomes {now}"));
    }
    if new.required && !old.required && mode.is_backward() {
        reasons.push(format!("backward: {place} becomes required"));
    }
    if old.required && !new.required && mode.is_forward() {
        reasons.push(format!("forward: {place} is required no more"));
    }
}
