//! Records that were read from the log and not yet answered, by offset.
//!
//! The log is the store and this a bounded copy: what does not fit is read again when it is delivered.

use bytes::{Bytes, BytesMut};
use keyway_record::{Header, Offset, Record, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of records that one partition of a subscription keeps in memory.
const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that each may keep whatever the others do: what its consumers are likely to be given next.
const CACHE_BYTES_MIN: usize = 256 * 1024;

/// What a record costs besides its bytes.
const RECORD_OVERHEAD_BYTES: usize = 160;

/// One record as the log has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) timestamp: Timestamp,
    pub(super) record: Arc<Record>,
}

/// What all subscriptions of a broker keep in memory.
#[derive(Debug)]
pub(super) struct NodeBytes {
    kept: AtomicUsize,
    /// Over this each keeps its least alone.
    max: usize,
}

/// A subscription's records in memory.
#[derive(Debug)]
pub(super) struct Payloads {
    by_offset: BTreeMap<Offset, Stored>,
    bytes: usize,
    bytes_max: usize,
    node_bytes: Arc<NodeBytes>,
}

impl NodeBytes {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: AtomicUsize::new(0), max }
    }

    fn is_over(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > self.max
    }
}

impl Stored {
    /// The record in memory of its own: a slice would keep the whole piece of log alive that it was read with.
    pub(super) fn copy(timestamp: Timestamp, record: &Record) -> Self {
        let mut copied = BytesMut::with_capacity(record.payload_len());
        let mut copy = |bytes: &Bytes| {
            copied.extend_from_slice(bytes);
            copied.split().freeze()
        };
        let headers = record.headers.iter();
        let record = Record {
            timestamp_delta: 0,
            offset_delta: 0,
            key: record.key.as_ref().map(&mut copy),
            value: record.value.as_ref().map(&mut copy),
            headers: headers
                .map(|header| Header { key: copy(&header.key), value: header.value.as_ref().map(&mut copy) })
                .collect(),
        };
        Self { timestamp, record: Arc::new(record) }
    }

    fn cost(&self) -> usize {
        self.record.payload_len() + RECORD_OVERHEAD_BYTES
    }
}

impl Payloads {
    pub(super) fn new(node_bytes: Arc<NodeBytes>) -> Self {
        Self { by_offset: BTreeMap::new(), bytes: 0, bytes_max: CACHE_BYTES_MAX, node_bytes }
    }

    /// Keeps a record; over a bound, those furthest from delivery are let go.
    pub(super) fn insert(&mut self, offset: Offset, stored: Stored) {
        self.add(stored.cost());
        if let Some(old) = self.by_offset.insert(offset, stored) {
            self.subtract(old.cost());
        }
        while self.is_over()
            && let Some((_, last)) = self.by_offset.pop_last()
        {
            self.subtract(last.cost());
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > self.bytes_max || self.bytes > CACHE_BYTES_MIN && self.node_bytes.is_over()
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.node_bytes.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.node_bytes.kept.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Nothing is of use any more.
    pub(super) fn clear(&mut self) {
        self.by_offset.clear();
        self.subtract(self.bytes);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn at(&self, offset: Offset) -> Option<&Stored> {
        self.by_offset.get(&offset)
    }

    /// The record at `offset` is of no more use.
    pub(super) fn remove(&mut self, offset: Offset) {
        if let Some(stored) = self.by_offset.remove(&offset) {
            self.subtract(stored.cost());
        }
    }

    /// Everything below `offset` is of no more use.
    pub(super) fn remove_below(&mut self, offset: Offset) {
        while let Some(first) = self.by_offset.first_entry()
            && *first.key() < offset
        {
            let cost = first.remove().cost();
            self.subtract(cost);
        }
    }
}

impl Drop for Payloads {
    fn drop(&mut self) {
        self.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(len: usize) -> Stored {
        let value = Some(Bytes::from(vec![7; len]));
        Stored::copy(Timestamp(5), &Record { key: Some("k".into()), value, ..Record::default() })
    }

    #[test]
    fn over_the_bound_the_furthest_records_go() {
        let mut payloads = Payloads::new(Arc::new(NodeBytes::new(usize::MAX)));
        payloads.bytes_max = 3 * stored(1_000).cost();
        (0..5).for_each(|offset| payloads.insert(Offset(offset), stored(1_000)));
        assert!(payloads.at(Offset(2)).is_some());
        assert!(payloads.at(Offset(3)).is_none());
        payloads.remove(Offset(0));
        payloads.remove_below(Offset(9));
        assert_eq!((payloads.bytes, payloads.by_offset.len()), (0, 0));
    }

    #[test]
    fn over_the_nodes_bound_each_keeps_its_least() {
        let node_bytes = Arc::new(NodeBytes::new(3 * CACHE_BYTES_MIN));
        let new = || Payloads::new(node_bytes.clone());
        let (mut greedy, mut late) = (new(), new());
        (0..100).for_each(|offset| greedy.insert(Offset(offset), stored(CACHE_BYTES_MIN / 10)));
        assert!(greedy.bytes > 2 * CACHE_BYTES_MIN && greedy.bytes <= 3 * CACHE_BYTES_MIN);
        (0..100).for_each(|offset| late.insert(Offset(offset), stored(CACHE_BYTES_MIN / 10)));
        assert!(late.bytes > CACHE_BYTES_MIN / 2 && late.bytes <= CACHE_BYTES_MIN);
        drop((greedy, late));
        assert_eq!(node_bytes.kept.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_copy_is_the_record_in_memory_of_its_own() {
        let header = Header { key: "h".into(), value: Some("v".into()) };
        let none = Header { key: "n".into(), value: None };
        let record = Record {
            key: None,
            value: Some("value".into()),
            headers: vec![header, none],
            ..Record::default()
        };
        let copy = Stored::copy(Timestamp(1), &record);
        assert_eq!(*copy.record, record);
        let original = record.value.unwrap().as_ptr();
        assert_ne!(copy.record.value.as_ref().unwrap().as_ptr(), original);
    }
}
