//! Ids that need no memory: they are derived from names, so a client's id is as good after a restart as before.
//!
//! All ids lie in 1 to 2^63 - 1: the Java client keeps them as signed numbers and takes 0 and less for "none".

use keyway_record::{KeyHash, TopicName, TopicPartition};

/// The low bits of a producer id are a checksum of the others, so that an id which this broker never gave out is known
/// as such.
const CHECKSUM_BITS: u32 = 16;

/// The id of a consumer of one partition.
#[must_use]
pub(crate) fn consumer_id(partition: &TopicPartition, subscription: &str, consumer: &str) -> u64 {
    let index = partition.partition.0.to_be_bytes();
    positive(hash(&[
        b"consumer",
        partition.topic.as_str().as_bytes(),
        &index,
        subscription.as_bytes(),
        consumer.as_bytes(),
    ]))
}

/// The id of a producer of one topic. The partition does not matter: clients put it into the producer's name.
#[must_use]
pub(crate) fn producer_id(topic: &TopicName, producer: &str) -> u64 {
    let hash = hash(&[b"producer", topic.as_str().as_bytes(), producer.as_bytes()]);
    let body = (hash >> (CHECKSUM_BITS + 1)).max(1);
    body << CHECKSUM_BITS | checksum(body)
}

/// Whether `id` is of a form that [`producer_id`] gives out.
#[must_use]
pub(crate) fn is_producer_id(id: u64) -> bool {
    let body = id >> CHECKSUM_BITS;
    (1..1 << (63 - CHECKSUM_BITS)).contains(&body) && id == body << CHECKSUM_BITS | checksum(body)
}

fn positive(hash: u64) -> u64 {
    (hash >> 1).max(1)
}

fn checksum(body: u64) -> u64 {
    hash(&[b"checksum", &body.to_be_bytes()]) & ((1 << CHECKSUM_BITS) - 1)
}

/// Every part is preceded by its length, so that no two lists of parts are one sequence of bytes.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut bytes = Vec::with_capacity(128);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    KeyHash::of(&bytes).low()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_record::{PartitionId, TopicId};

    fn partition(index: i32) -> TopicPartition {
        let topic = TopicName::new("orders").unwrap();
        TopicPartition { topic, topic_id: TopicId::ZERO, partition: PartitionId(index) }
    }

    #[test]
    fn ids_depend_on_every_name_and_on_nothing_else() {
        let id = consumer_id(&partition(0), "billing", "w1");
        let reborn = TopicPartition { topic_id: TopicId([9; 16]), ..partition(0) };
        assert_eq!(consumer_id(&reborn, "billing", "w1"), id);
        let others = [
            consumer_id(&partition(1), "billing", "w1"),
            consumer_id(&partition(0), "billin", "gw1"),
            consumer_id(&partition(0), "billing", "w2"),
        ];
        assert!(!others.contains(&id));
        assert!((1..1 << 63).contains(&id));
    }

    #[test]
    fn a_producers_id_shows_where_it_comes_from() {
        let topic = TopicName::new("orders").unwrap();
        for index in 0..1_000 {
            let id = producer_id(&topic, &format!("p{index}"));
            assert!((1..1 << 63).contains(&id), "{id}");
            assert!(is_producer_id(id));
            assert!(!is_producer_id(id ^ 1) && !is_producer_id(id | 1 << 63));
        }
        assert!(!is_producer_id(0) && !is_producer_id(u64::MAX));
    }
}
