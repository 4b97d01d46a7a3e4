//! Whether one definition may follow another.
//!
//! The rules are Danube's where it has some, and those of the formats where it has none:
//!
//! - JSON Schema: [`json`]. One rule is Danube's and not Confluent's: a required property that the old schema does not
//!   know passes `backward` (Confluent refuses it, for old data lack it), and fails `forward`.
//! - Avro: the resolution rules of the Avro specification, nested types included.
//! - Protobuf: [`protobuf`], by field numbers.
//! - bytes, string and number define nothing, so every definition may follow every other.

mod json;
mod protobuf;

use super::{
    definition::{Definition, shortened},
    subject::Compatibility,
};
use apache_avro::schema_compatibility::SchemaCompatibility;

/// Most reasons that are given.
const REASONS_MAX: usize = 20;

/// Why `new` may not follow `old`; nothing if it may.
pub(super) fn reasons_against(old: &Definition, new: &Definition, mode: Compatibility) -> Vec<String> {
    let mut reasons = Vec::new();
    match (old, new) {
        (Definition::JsonSchema(old), Definition::JsonSchema(new)) => {
            if mode.is_backward() {
                json::check(old, new, json::Direction::Backward, &mut reasons);
            }
            if mode.is_forward() {
                json::check(old, new, json::Direction::Forward, &mut reasons);
            }
        }
        (Definition::Avro(old), Definition::Avro(new)) => {
            if mode.is_backward()
                && let Err(error) = SchemaCompatibility::can_read(old, new)
            {
                reasons.push(format!("backward: the new schema cannot read old data: {}", shortened(error)));
            }
            if mode.is_forward()
                && let Err(error) = SchemaCompatibility::can_read(new, old)
            {
                reasons.push(format!("forward: the old schema cannot read new data: {}", shortened(error)));
            }
        }
        (Definition::Protobuf(old), Definition::Protobuf(new)) => {
            protobuf::check(old, new, mode, &mut reasons)
        }
        _ => {}
    }
    reasons.truncate(REASONS_MAX);
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::subject::SchemaType;

    /// Whether the change passes backward and forward.
    fn passes(kind: SchemaType, old: &str, new: &str) -> (bool, bool) {
        let parse =
            |text: &str| Definition::parse(kind, text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let (old, new) = (parse(old), parse(new));
        let pass = |mode| reasons_against(&old, &new, mode).is_empty();
        assert!(pass(Compatibility::None));
        let both = (pass(Compatibility::Backward), pass(Compatibility::Forward));
        assert_eq!(pass(Compatibility::Full), both.0 && both.1);
        both
    }

    fn json(old: &str, new: &str) -> (bool, bool) {
        let object = |inner: &str| format!(r#"{{"type":"object",{inner}}}"#);
        passes(SchemaType::JsonSchema, &object(old), &object(new))
    }

    #[test]
    fn json_properties_and_types() {
        let a = r#""properties":{"a":{"type":"string"}}"#;
        let a_required = r#""properties":{"a":{"type":"string"}},"required":["a"]"#;
        let ab = r#""properties":{"a":{"type":"string"},"b":{"type":"string"}}"#;
        let ab_required = r#""properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["b"]"#;
        let none = r#""properties":{}"#;
        assert_eq!(json(a, a), (true, true));
        assert_eq!(json(a, ab), (true, true), "an optional property comes");
        assert_eq!(json(a, ab_required), (true, false), "a required property comes");
        assert_eq!(json(a, a_required), (false, true), "an optional property becomes required");
        assert_eq!(json(a_required, a), (true, false), "a required property becomes optional");
        assert_eq!(json(a_required, none), (false, false), "a required property goes");
        assert_eq!(json(a, none), (true, true), "an optional property goes");
        let typed = |kind: &str| format!(r#""properties":{{"a":{{"type":{kind}}}}}"#);
        assert_eq!(json(&typed(r#""string""#), &typed(r#""integer""#)), (false, false));
        assert_eq!(json(&typed(r#""integer""#), &typed(r#""number""#)), (true, false), "wider");
        assert_eq!(json(&typed(r#""string""#), &typed(r#"["string","null"]"#)), (true, false), "wider");
        assert_eq!(json(&typed(r#"["string","null"]"#), &typed(r#""string""#)), (false, true), "narrower");
    }

    #[test]
    fn json_below_the_surface() {
        let nested = |kind: &str| {
            format!(r#""properties":{{"a":{{"type":"object","properties":{{"b":{{"type":"{kind}"}}}}}}}}"#)
        };
        assert_eq!(json(&nested("string"), &nested("integer")), (false, false));
        let items =
            |kind: &str| format!(r#""properties":{{"a":{{"type":"array","items":{{"type":"{kind}"}}}}}}"#);
        assert_eq!(json(&items("string"), &items("integer")), (false, false));
        let referred = |kind: &str| {
            format!(r##""$defs":{{"x":{{"type":"{kind}"}}}},"properties":{{"a":{{"$ref":"#/$defs/x"}}}}"##)
        };
        assert_eq!(json(&referred("string"), &referred("integer")), (false, false));
        let choice = |values: &str| format!(r#""properties":{{"a":{{"enum":[{values}]}}}}"#);
        assert_eq!(json(&choice("1,2"), &choice("1,2,3")), (true, false));
        assert_eq!(json(&choice("1,2"), &choice("1")), (false, true));
        let closed = r#""properties":{"a":{}},"additionalProperties":false"#;
        let open = r#""properties":{"a":{}}"#;
        let closed_more = r#""properties":{"a":{},"b":{}},"additionalProperties":false"#;
        assert_eq!(json(open, closed), (false, true), "closing refuses what was let in");
        assert_eq!(json(closed, closed_more), (true, false));
        assert_eq!(json(closed_more, closed), (false, true));
        // A definition that refers to itself is followed once.
        let tree = r##""properties":{"child":{"$ref":"#"}}"##;
        assert_eq!(json(tree, tree), (true, true));
    }

    #[test]
    fn json_limits() {
        let a = |limits: &str| format!(r#""properties":{{"a":{{{limits}}}}}"#);
        let change = |old: &str, new: &str| json(&a(old), &a(new));
        for (loose, tight) in [
            ("", r#""minimum":1"#),
            (r#""minimum":1"#, r#""minimum":1.5"#),
            (r#""exclusiveMaximum":9"#, r#""exclusiveMaximum":8"#),
            (r#""maxLength":20"#, r#""maxLength":10"#),
            ("", r#""pattern":"^x""#),
            ("", r#""multipleOf":2"#),
            (r#""uniqueItems":false"#, r#""uniqueItems":true"#),
            (r#""anyOf":[{"type":"string"},{"type":"null"}]"#, r#""anyOf":[{"type":"null"}]"#),
            (r#""allOf":[{"minimum":1}]"#, r#""allOf":[{"minimum":1},{"maximum":3}]"#),
            ("", r#""not":{"type":"null"}"#),
        ] {
            assert_eq!(change(loose, loose), (true, true), "{loose}");
            assert_eq!(change(loose, tight), (false, true), "{loose} becomes {tight}");
            assert_eq!(change(tight, loose), (true, false), "{tight} becomes {loose}");
        }
        assert_eq!(change(r#""pattern":"^x""#, r#""pattern":"^y""#), (false, false));
        assert_eq!(change("", r#""uniqueItems":false"#), (true, true));
    }

    #[test]
    fn avro_resolves_as_the_specification_says() {
        let record = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let avro = |old: &str, new: &str| passes(SchemaType::Avro, &record(old), &record(new));
        let a = r#"{"name":"a","type":"int"}"#;
        let with_default = r#"{"name":"a","type":"int"},{"name":"b","type":"int","default":0}"#;
        let without = r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#;
        assert_eq!(avro(a, with_default), (true, true));
        assert_eq!(avro(a, without), (false, true));
        assert_eq!(avro(without, a), (true, false));
        assert_eq!(avro(a, r#"{"name":"a","type":"long"}"#), (true, false), "promotion");
        let inner = |kind: &str| {
            format!(
                r#"{{"name":"n","type":{{"type":"record","name":"N","fields":[{{"name":"x","type":"{kind}"}}]}}}}"#
            )
        };
        assert_eq!(avro(&inner("string"), &inner("int")), (false, false), "nested");
    }

    #[test]
    fn protobuf_goes_by_field_numbers() {
        let message =
            |fields: &str| format!("syntax = \"proto3\"; message M {{ {fields} }} enum E {{ ZERO = 0; }}");
        let proto = |old: &str, new: &str| passes(SchemaType::Protobuf, &message(old), &message(new));
        assert_eq!(
            proto("int32 a = 1;", "int32 b = 1; string c = 2;"),
            (true, true),
            "renamed, and one more"
        );
        assert_eq!(proto("int32 a = 1; string c = 2;", "int32 a = 1;"), (true, true), "removed");
        assert_eq!(proto("int32 a = 1;", "string a = 1;"), (false, false), "a number gets another type");
        assert_eq!(proto("int32 a = 1;", "int64 a = 1;"), (true, true), "the same on the wire");
        assert_eq!(proto("int32 a = 1;", "E a = 1;"), (true, true), "the same on the wire");
        assert_eq!(proto("int32 a = 1;", "sint32 a = 1;"), (false, false), "zigzag");
        assert_eq!(proto("int32 a = 1;", "repeated int32 a = 1;"), (false, false));
        let two = "message A {} message B {}";
        assert_eq!(
            proto(&format!("{two} A a = 1;"), &format!("{two} B a = 1;")),
            (false, false),
            "another message"
        );
        let old = "syntax = \"proto3\"; message M { message N { int32 x = 1; } N n = 1; }";
        let new = "syntax = \"proto3\"; message M { message N { string x = 1; } N n = 1; }";
        assert_eq!(passes(SchemaType::Protobuf, old, new), (false, false), "nested");
        let gone = "syntax = \"proto3\"; message Other { }";
        assert_eq!(passes(SchemaType::Protobuf, old, gone), (false, false), "the message is gone");
        let two = |field: &str| format!("syntax = \"proto2\"; message M {{ optional int32 a = 1; {field} }}");
        let (plain, required) = (two(""), two("required int32 b = 2;"));
        assert_eq!(passes(SchemaType::Protobuf, &plain, &required), (false, true));
        assert_eq!(passes(SchemaType::Protobuf, &required, &plain), (true, false));
    }
}
