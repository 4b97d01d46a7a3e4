//! Fresh ids for idempotent producers: never the same one twice, restarts included.
//!
//! Ids are handed out from a block whose end is durable before the first of them is given away, so a crash wastes at
//! most one block. The stored form, big-endian, is one key of an internal topic:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 3 | u8 | | version, 1 | u8 |
//! | | | | first id that is not reserved | i64 |

use bytes::{BufMut, Bytes};
use keyway_record::{ProducerEpoch, ProducerId};

/// Ids per block; Kafka's number. A write to the log every thousand producers costs nothing.
pub const BLOCK_LEN: i64 = 1_000;

const KIND: u8 = 3;
const VERSION: u8 = 1;

/// The allocator.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerIds {
    next: i64,
    /// Ids below this one are durably reserved.
    reserved: i64,
}

/// The answer to [`ProducerIds::allocate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// An id that nobody had before, at its first epoch.
    Fresh(ProducerId, ProducerEpoch),
    /// Make this mark durable, call [`ProducerIds::reserved`] with it, and ask again.
    Reserve(HighWater),
}

/// The first producer id that is not reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HighWater(pub ProducerId);

/// Why bytes are not an encoded [`HighWater`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the record is not a mark of reserved producer ids")]
pub struct HighWaterError;

impl ProducerIds {
    /// An allocator for a broker whose newest durable mark is `mark`; `None` for a new broker.
    #[must_use]
    pub fn recover(mark: Option<HighWater>) -> Self {
        let reserved = mark.map_or(0, |mark| mark.0.0);
        Self { next: reserved, reserved }
    }

    /// A fresh id, or what has to be durable before there is one.
    pub fn allocate(&mut self) -> Allocation {
        assert!(self.next <= self.reserved, "no id is given away before it is reserved");
        if self.next == self.reserved {
            let end = self.reserved.checked_add(BLOCK_LEN).expect("2^63 producer ids are never used up");
            return Allocation::Reserve(HighWater(ProducerId(end)));
        }
        let id = ProducerId(self.next);
        self.next += 1;
        Allocation::Fresh(id, ProducerEpoch(0))
    }

    /// `mark` is durable. Marks may be confirmed twice and in any order.
    pub fn reserved(&mut self, mark: HighWater) {
        self.reserved = self.reserved.max(mark.0.0);
    }
}

impl HighWater {
    /// Key and value as the table above says.
    #[must_use]
    pub fn encode(self) -> (Bytes, Bytes) {
        let mut value = vec![VERSION];
        value.put_i64(self.0.0);
        (Bytes::from_static(&[KIND]), value.into())
    }

    /// The mark of a key and a value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, HighWaterError> {
        match (key, value.split_first_chunk::<9>()) {
            ([KIND], Some(([VERSION, mark @ ..], []))) => {
                let mark = i64::from_be_bytes(*mark);
                if (0..i64::MAX - BLOCK_LEN).contains(&mark) {
                    Ok(Self(ProducerId(mark)))
                } else {
                    Err(HighWaterError)
                }
            }
            _ => Err(HighWaterError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each step asks (0), makes the newest mark durable and confirms it (1), or crashes (2).
        #[test]
        fn no_id_is_given_twice(steps in prop::collection::vec(0u8..3, 0..200), block in 1i64..4) {
            let (mut ids, mut durable) = (ProducerIds::recover(None), None);
            let (mut last, mut asked) = (-1, None);
            for step in steps {
                match step {
                    0 => (0..block * 400).for_each(|_| match ids.allocate() {
                        Allocation::Fresh(id, epoch) => {
                            assert!(id.0 > last && Some(HighWater(id)) < durable);
                            assert_eq!(epoch, ProducerEpoch(0));
                            last = id.0;
                        }
                        Allocation::Reserve(mark) => asked = Some(mark),
                    }),
                    1 => if let Some(mark) = asked.take() {
                        let (key, value) = mark.encode();
                        durable = Some(HighWater::decode(&key, &value).unwrap());
                        ids.reserved(mark);
                    },
                    _ => {
                        ids = ProducerIds::recover(durable);
                        asked = None;
                    }
                }
            }
        }

        #[test]
        fn garbage_is_refused(value in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(mark) = HighWater::decode(&[KIND], &value) {
                prop_assert_eq!(mark.encode().1, Bytes::from(value));
            }
        }
    }
}
