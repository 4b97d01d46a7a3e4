//! What a log knows of one of its segments.

use crate::{
    manifest::SegmentState,
    segment::{Extent, Segment, Span},
};
use keyway_record::{Offset, Timestamp};
use std::sync::Arc;

/// A segment as far as it is written.
#[derive(Clone)]
pub(crate) struct SegmentEntry {
    pub(crate) segment: Arc<Segment>,
    pub(crate) next: Offset,
    pub(crate) len: u64,
    /// Max timestamp of its first batch.
    pub(crate) first_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    /// As far as the device has it: offset and bytes.
    pub(crate) durable_next: Offset,
    pub(crate) durable_len: u64,
}

impl SegmentEntry {
    /// A segment without batches.
    pub(crate) fn empty(segment: Segment) -> Self {
        let base = segment.base;
        Self {
            segment: Arc::new(segment),
            next: base,
            len: 0,
            first_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp(i64::MIN),
            durable_next: base,
            durable_len: 0,
        }
    }

    /// How far it is written; nothing is said of its leader epoch.
    pub(crate) fn extent(&self) -> Extent {
        Extent { len: self.len, next: self.next, epoch: None }
    }

    /// Whether the device has all of it.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable_len == self.len
    }

    pub(crate) fn set_durable(&mut self) {
        (self.durable_next, self.durable_len) = (self.next, self.len);
    }

    /// A segment as the manifest or a reference states it.
    pub(crate) fn restored(segment: Arc<Segment>, stated: &SegmentState) -> Self {
        Self {
            segment,
            next: stated.next,
            len: stated.len,
            first_timestamp: stated.first_timestamp,
            max_timestamp: stated.max_timestamp,
            durable_next: stated.next,
            durable_len: stated.len,
        }
    }

    /// Notes that a batch was written at the end.
    pub(crate) fn grow(&mut self, span: Span) {
        let in_place =
            if self.segment.revision == 0 { self.next == span.base } else { self.next <= span.base };
        assert!(in_place, "offsets in a segment are dense, or ascend where compaction left holes");
        if self.len == 0 {
            self.first_timestamp = span.max_timestamp;
        }
        self.next = span.next;
        self.len += span.len;
        self.max_timestamp = self.max_timestamp.max(span.max_timestamp);
    }
}
