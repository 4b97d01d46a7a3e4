//! Names for what differs between any two brokers: ids that they choose, addresses, times, and the wording of errors.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Later than any time that a script chooses, earlier than any clock: 2017, in milliseconds.
const CLOCK_TIMES_MS: i64 = 1_500_000_000_000;
const NO_TOPIC_ID: &str = "00000000000000000000000000000000";

/// The names of ids that were met.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    pub(crate) fn learn(&mut self, id: &Value, name: &str) {
        self.0.insert(plain(id), name.to_owned());
    }

    /// Every topic that is answered with its id gives the id its name.
    pub(crate) fn learn_topics(&mut self, tree: &Value) {
        match tree {
            Value::Object(fields) => {
                let name = ["Name", "TopicName"].iter().find_map(|name| fields.get(*name)?.as_str());
                if let (Some(name), Some(Value::String(id))) = (name, fields.get("TopicId"))
                    && !name.is_empty()
                    && id != NO_TOPIC_ID
                {
                    self.0.insert(id.clone(), format!("id of {name}"));
                }
                fields.values().for_each(|value| self.learn_topics(value));
            }
            Value::Array(elements) => elements.iter().for_each(|element| self.learn_topics(element)),
            _ => {}
        }
    }

    /// The tree with names in place of what they stand for.
    pub(crate) fn put(&self, tree: &Value) -> Value {
        match tree {
            Value::Object(fields) => {
                let named: Map<String, Value> =
                    fields.iter().map(|(name, value)| (name.clone(), self.field(name, value))).collect();
                Value::Object(named)
            }
            Value::Array(elements) => {
                Value::Array(elements.iter().map(|element| self.put(element)).collect())
            }
            _ => tree.clone(),
        }
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        let number = value.as_i64();
        let if_positive = |word: &str| match number {
            Some(1..) => word.into(),
            _ => value.clone(),
        };
        match name {
            "TopicId" if value == NO_TOPIC_ID => value.clone(),
            "TopicId" => self.named(value, "an unknown id"),
            "ReplicaDirectoryId" => "a folder's id".into(),
            "MemberId" | "Leader" if value.as_str().is_some_and(|id| !id.is_empty()) => {
                self.named(value, "a member")
            }
            "ProducerId" if number.is_some_and(|id| id >= 0) => self.named(value, "a producer"),
            "Port" => if_positive("a port"),
            "SessionId" => if_positive("a session"),
            "TotalBytes" | "UsableBytes" => if_positive("bytes of a disk"),
            "FinalizedFeaturesEpoch" => if_positive("an epoch"),
            "ClusterId" if value.is_string() => "the cluster".into(),
            "LogDir" if value.is_string() => "the folder".into(),
            // What people read is worded by each broker for itself; that there is something to read is compared.
            _ if name.ends_with("ErrorMessage") || name == "Documentation" => match value.as_str() {
                None => Value::Null,
                Some("") => "".into(),
                Some(_) => "some words".into(),
            },
            _ if name.contains("Time") && number.is_some_and(|time| time > CLOCK_TIMES_MS) => "a time".into(),
            _ => self.put(value),
        }
    }

    fn named(&self, id: &Value, otherwise: &str) -> Value {
        self.0.get(&plain(id)).map_or(otherwise, String::as_str).into()
    }
}

fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
