//! Danube's topic names and the Kafka topics they stand for.
//!
//! | Danube | Kafka topic | partition |
//! |---|---|---|
//! | `/default/orders` | `orders` | the only one, or all |
//! | `/default/orders-part-2` | `orders` | 2 |
//! | `/ns/orders` | `ns.orders` | the only one, or all |
//! | `/default/a.b` | `default.a.b` | the only one, or all |
//!
//! The mapping is one to one. What has no counterpart is refused: a Danube name with characters that Kafka forbids, and
//! the few Kafka names that would be read back as another topic (`default.orders`, `.x`, `x.`, `orders-part-2`).

use keyway_record::{PartitionId, TopicName, TopicNameError};
use std::fmt;

const DEFAULT_NAMESPACE: &str = "default";
const PARTITION_MARK: &str = "-part-";

/// A topic, or one partition of it, as Danube's clients name it. Displays as that name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicRef {
    topic: TopicName,
    partition: Option<PartitionId>,
}

/// Why a Danube topic name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicRefError {
    /// The name is not of the form `/namespace/topic`.
    #[error("the topic name {name:?} is not of the form /namespace/topic")]
    Form {
        /// The refused name.
        name: String,
    },
    /// The namespace holds a dot, which separates namespace and topic in Kafka's name.
    #[error("the namespace {namespace:?} has a dot, which only the topic part may have")]
    NamespaceDot {
        /// The refused namespace.
        namespace: String,
    },
    /// The name has no legal counterpart in Kafka.
    #[error(transparent)]
    Kafka(#[from] TopicNameError),
}

/// Why a Kafka topic has no Danube name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the topic {topic} has no Danube name: {} would stand for another topic", DanubeText(.topic, *.partition))]
pub struct KafkaNameError {
    /// The topic.
    pub topic: TopicName,
    /// Its partition, if one was meant.
    pub partition: Option<PartitionId>,
}

impl TopicRef {
    /// Reads a Danube name.
    pub fn parse(name: &str) -> Result<Self, TopicRefError> {
        let form = || TopicRefError::Form { name: name.to_owned() };
        let (namespace, local) =
            name.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or_else(form)?;
        if namespace.is_empty() || local.is_empty() || local.contains('/') {
            return Err(form());
        }
        if namespace.contains('.') {
            return Err(TopicRefError::NamespaceDot { namespace: namespace.to_owned() });
        }
        let (base, partition) = split_partition(local);
        let topic = if namespace == DEFAULT_NAMESPACE && !base.contains('.') {
            TopicName::new(base)?
        } else {
            TopicName::new(&format!("{namespace}.{base}"))?
        };
        Ok(Self { topic, partition })
    }

    /// The Danube name of a Kafka topic, or of one of its partitions.
    pub fn of_kafka(topic: &TopicName, partition: Option<PartitionId>) -> Result<Self, KafkaNameError> {
        let it = Self { topic: topic.clone(), partition };
        match Self::parse(&it.to_string()) {
            Ok(back) if back == it => Ok(it),
            _ => Err(KafkaNameError { topic: topic.clone(), partition }),
        }
    }

    /// The Kafka topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The first part of the Danube name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.topic.as_str().split_once('.') {
            None => DEFAULT_NAMESPACE,
            Some((namespace, _)) => namespace,
        }
    }

    /// The partition that is meant; `None` for the topic as a whole.
    #[must_use]
    pub fn partition(&self) -> Option<PartitionId> {
        self.partition
    }
}

impl fmt::Display for TopicRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DanubeText(&self.topic, self.partition).fmt(f)
    }
}

struct DanubeText<'a>(&'a TopicName, Option<PartitionId>);

impl fmt::Display for DanubeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str().split_once('.') {
            None => write!(f, "/{DEFAULT_NAMESPACE}/{}", self.0)?,
            Some((namespace, local)) => write!(f, "/{namespace}/{local}")?,
        }
        match self.1 {
            None => Ok(()),
            Some(partition) => write!(f, "{PARTITION_MARK}{partition}"),
        }
    }
}

/// `orders-part-2` is partition 2 of `orders`; `orders-part-02` and `-part-2` are plain names.
fn split_partition(local: &str) -> (&str, Option<PartitionId>) {
    let plain = (local, None);
    let Some((base, digits)) = local.rsplit_once(PARTITION_MARK) else { return plain };
    if base.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return plain;
    }
    match digits.parse::<i32>() {
        Ok(partition) if partition.to_string() == digits => (base, Some(PartitionId(partition))),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kafka(name: &str) -> (String, Option<i32>) {
        let it = TopicRef::parse(name).unwrap();
        (it.topic().to_string(), it.partition().map(|p| p.0))
    }

    fn danube(topic: &str, partition: Option<i32>) -> Option<String> {
        let topic = TopicName::new(topic).unwrap();
        TopicRef::of_kafka(&topic, partition.map(PartitionId)).ok().map(|it| it.to_string())
    }

    #[test]
    fn names_map_as_the_table_says() {
        let pairs = [
            ("/default/orders", "orders", None),
            ("/default/orders-part-2", "orders", Some(2)),
            ("/ns/orders", "ns.orders", None),
            ("/ns/orders-part-10", "ns.orders", Some(10)),
            ("/default/a.b", "default.a.b", None),
            ("/default/x-part-02", "x-part-02", None),
            ("/default/-part-2", "-part-2", None),
            ("/default/x-part-7-part-1", "x-part-7", Some(1)),
        ];
        for (name, topic, partition) in pairs {
            let namespace = name.split('/').nth(1);
            assert_eq!(Some(TopicRef::parse(name).unwrap().namespace()), namespace);
            assert_eq!(kafka(name), (topic.to_owned(), partition), "{name}");
            assert_eq!(danube(topic, partition).as_deref(), Some(name));
        }
    }

    #[test]
    fn kafka_names_that_would_be_read_back_as_another_topic_have_no_danube_name() {
        for topic in ["default.orders", ".x", "x.", "orders-part-2"] {
            assert_eq!(danube(topic, None), None, "{topic}");
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        for name in [
            "",
            "orders",
            "/orders",
            "//orders",
            "/default/",
            "/default/a/b",
            "default/orders",
            "x/default/o",
        ] {
            let error = TopicRef::parse(name).unwrap_err();
            assert!(matches!(error, TopicRefError::Form { .. }), "{name}: {error}");
        }
        let dot = TopicRef::parse("/a.b/c").unwrap_err();
        assert_eq!(dot, TopicRefError::NamespaceDot { namespace: "a.b".into() });
        assert!(matches!(TopicRef::parse("/default/straße"), Err(TopicRefError::Kafka(_))));
    }

    proptest! {
        #[test]
        fn every_danube_name_that_parses_comes_back(name in "/[a-d.]{0,3}(default)?/[a.b]{0,3}(-part-)?[0-9]{0,3}(-part-)?[0-9]{0,11}") {
            if let Ok(it) = TopicRef::parse(&name) {
                prop_assert_eq!(it.to_string(), name);
                prop_assert_eq!(TopicRef::of_kafka(it.topic(), it.partition()), Ok(it));
            }
        }

        #[test]
        fn two_kafka_topics_never_share_a_danube_name(
            one in "(default|a|)[.]?[ab.]{0,2}(-part-)?[0-9]{0,2}", two in "(default|a|)[.]?[ab.]{0,2}(-part-)?[0-9]{0,2}",
            p in prop::option::of(0..3), q in prop::option::of(0..3),
        ) {
            if let (Ok(_), Ok(_)) = (TopicName::new(&one), TopicName::new(&two)) {
                let (d, e) = (danube(&one, p), danube(&two, q));
                if d.is_some() && d == e {
                    prop_assert_eq!((one, p), (two, q));
                }
            }
        }

        #[test]
        fn no_name_panics(name in ".{0,40}") {
            _ = TopicRef::parse(&name);
        }
    }
}
