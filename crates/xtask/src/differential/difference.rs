//! Where two answers differ, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::side::Step;

/// A field that the two brokers answer differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub(crate) step: String,
    pub(crate) field: String,
    pub(crate) kafka: String,
    pub(crate) keyway: String,
}

/// What is said of a field, element or step that one side does not have.
const ABSENT: &str = "absent";
/// Longer values are cut.
const SHOWN_CHARS: usize = 160;

/// An element of an array is the one that has the same of these, not the one at the same place: the protocol gives the
/// order of few arrays, and those are told apart by offsets.
const IDENTITIES: &[&str] = &[
    "Name",
    "Topic",
    "TopicName",
    "GroupId",
    "TransactionalId",
    "MemberId",
    "TopicId",
    "Key",
    "ApiKey",
    "ResourceName",
    "Feature",
    "Partition",
    "PartitionIndex",
    "PartitionId",
    "Index",
    "BaseOffset",
    "FirstOffset",
    "ProducerId",
    "NodeId",
    "BrokerId",
    "ReplicaId",
    "LogDir",
];

/// Arrays that answer others element by element.
const PLACED: &[&str] = &["FilterResults"];

/// The differences between the answers to the same script, and how many fields are alike.
pub(crate) fn between(kafka: &[Step], keyway: &[Step]) -> (Vec<Difference>, usize) {
    let mut found = Comparison { step: "", differences: Vec::new(), alike: 0 };
    for place in 0..kafka.len().max(keyway.len()) {
        let (one, other) = (kafka.get(place), keyway.get(place));
        let step = one.or(other).expect("one of them is as long");
        found.step = &step.name;
        let same_step = other.filter(|other| other.name == step.name);
        found.compare("", one.map(|step| &step.answer), same_step.map(|step| &step.answer));
    }
    (found.differences, found.alike)
}

struct Comparison<'a> {
    step: &'a str,
    differences: Vec<Difference>,
    alike: usize,
}

impl Comparison<'_> {
    fn compare(&mut self, field: &str, kafka: Option<&Value>, keyway: Option<&Value>) {
        match (kafka, keyway) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => self.structs(field, one, other),
            (Some(Value::Array(one)), Some(Value::Array(other)))
                if one.iter().chain(other).any(Value::is_object) =>
            {
                let by = if PLACED.contains(&field) { placed } else { identified };
                let (one, other) = (by(one), by(other));
                for key in union(one.keys(), other.keys()) {
                    let (one, other) = (one.get(&key).copied(), other.get(&key).copied());
                    self.compare(&format!("{field}[{key}]"), one, other);
                }
            }
            (Some(one), Some(other)) if sorted(one) == sorted(other) => self.alike += 1,
            (one, other) => self.differences.push(Difference {
                step: self.step.to_owned(),
                field: field.to_owned(),
                kafka: shown(one),
                keyway: shown(other),
            }),
        }
    }

    fn structs(&mut self, field: &str, one: &Map<String, Value>, other: &Map<String, Value>) {
        for name in union(one.keys(), other.keys()) {
            let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            self.compare(&inner, one.get(&name), other.get(&name));
        }
    }
}

fn union<'k>(one: impl Iterator<Item = &'k String>, other: impl Iterator<Item = &'k String>) -> Vec<String> {
    let mut keys: Vec<String> = one.chain(other).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Elements by their places.
fn placed(elements: &[Value]) -> BTreeMap<String, &Value> {
    elements.iter().enumerate().map(|(place, element)| (place.to_string(), element)).collect()
}

/// Elements by what identifies them; those that share it are numbered.
fn identified(elements: &[Value]) -> BTreeMap<String, &Value> {
    let mut keyed = BTreeMap::new();
    let mut elements: Vec<&Value> = elements.iter().collect();
    elements.sort_by_key(|element| sorted(element).to_string());
    for element in elements {
        let says = |name: &&&str| element.get(name).is_some_and(|value| !value.is_null() && value != "");
        let identity = IDENTITIES.iter().find(says).map(|name| &element[name]);
        let key = match identity {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let number = (1..).find(|number| !keyed.contains_key(&numbered(&key, *number)));
        keyed.insert(numbered(&key, number.expect("numbers do not end")), element);
    }
    keyed
}

fn numbered(key: &str, number: usize) -> String {
    if number == 1 { key.to_owned() } else { format!("{key} #{number}") }
}

/// Lists have no order here, however deep they lie.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(elements) => {
            let mut elements: Vec<Value> = elements.iter().map(sorted).collect();
            elements.sort_by_key(ToString::to_string);
            Value::Array(elements)
        }
        _ => value.clone(),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return ABSENT.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => sorted(value).to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(kafka: Value, keyway: Value) -> Vec<(String, String, String)> {
        let step = |answer| vec![Step { name: "a step".to_owned(), answer }];
        let (found, _) = between(&step(kafka), &step(keyway));
        found.into_iter().map(|found| (found.field, found.kafka, found.keyway)).collect()
    }

    fn difference(field: &str, kafka: &str, keyway: &str) -> (String, String, String) {
        (field.to_owned(), kafka.to_owned(), keyway.to_owned())
    }

    #[test]
    fn elements_are_compared_by_name_and_not_by_place() {
        let topic = |name: &str, code: i16| json!({"Name": name, "ErrorCode": code});
        let (kafka, keyway) = (
            json!({"Topics": [topic("a", 0), topic("b", 3)]}),
            json!({"Topics": [topic("b", 0), topic("a", 0), topic("c", 0)]}),
        );
        let found = differences(kafka, keyway);
        assert_eq!(found[0], difference("Topics[b].ErrorCode", "3", "0"));
        assert_eq!(found[1].0, "Topics[c]");
        assert_eq!((found[1].1.as_str(), found.len()), (ABSENT, 2));
    }

    #[test]
    fn what_answers_element_by_element_is_compared_by_place() {
        let results =
            |codes: [i16; 2]| json!({"FilterResults": codes.map(|code| json!({"ErrorCode": code}))});
        let found = differences(results([0, 3]), results([3, 0]));
        assert_eq!(found[0], difference("FilterResults[0].ErrorCode", "0", "3"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn null_empty_and_absent_are_three_things() {
        assert_eq!(differences(json!({"A": null}), json!({"A": []})), [difference("A", "null", "[]")]);
        assert_eq!(differences(json!({"A": ""}), json!({})), [difference("A", "", ABSENT)]);
        assert_eq!(differences(json!({"A": [2, 1]}), json!({"A": [1, 2]})), []);
    }

    #[test]
    fn a_step_that_one_side_lacks_is_a_difference() {
        let (found, alike) = between(&[Step { name: "only".to_owned(), answer: json!({}) }], &[]);
        assert_eq!((found.len(), alike), (1, 0));
    }
}
