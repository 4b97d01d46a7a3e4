//! Record batch v2, held as the bytes it travels and rests in.
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | base offset | i64 |
//! | 8 | batch length: bytes after this field | i32 |
//! | 12 | partition leader epoch | i32 |
//! | 16 | magic, 2 | i8 |
//! | 17 | CRC-32C of everything from 21 on | u32 |
//! | 21 | attributes: bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon | i16 |
//! | 23 | last offset delta | i32 |
//! | 27 | base timestamp, ms | i64 |
//! | 35 | max timestamp, ms | i64 |
//! | 43 | producer id, -1 for none | i64 |
//! | 51 | producer epoch | i16 |
//! | 53 | base sequence, -1 for none | i32 |
//! | 57 | record count | i32 |
//! | 61 | records, compressed as a whole where the codec says so | bytes |
//!
//! All big-endian. Base offset, length and leader epoch lie outside the CRC, so a log may set them in place.
//! Source: Kafka's record format v2.

use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Record, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;

/// Bytes up to and including the batch length: what must be there to know how long the batch is.
pub const PREFIX_LEN: usize = 12;

const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;

/// Bits of the attributes.
const CODEC: i16 = 7;
const APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// One whole record batch with a valid header and checksum. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBatch {
    bytes: Bytes,
}

/// How the record section is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Snappy in xerial's framing.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why bytes are not a batch that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the batch states.
    #[error("the batch needs {needed} bytes and has {given}")]
    Truncated {
        /// Bytes that were needed.
        needed: usize,
        /// Bytes that were there.
        given: usize,
    },
    /// More bytes than the batch states.
    #[error("{bytes} bytes follow the batch")]
    Trailing {
        /// How many bytes remain.
        bytes: usize,
    },
    /// A batch length smaller than the header, or negative.
    #[error("the batch states a length of {length}")]
    Length {
        /// The stated length.
        length: i32,
    },
    /// A format other than v2.
    #[error("record format v{magic} is not supported; v2 is")]
    Magic {
        /// The stated format.
        magic: i8,
    },
    /// The checksum does not match.
    #[error("the batch states CRC-32C {stated:08x}, its bytes have {computed:08x}")]
    Crc {
        /// Checksum in the header.
        stated: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The codec bits name no codec.
    #[error("compression codec {codec} is unknown")]
    Codec {
        /// The stated codec.
        codec: u8,
    },
    /// Record count and last offset delta disagree, or there is no record.
    #[error("the batch states {count} records and a last offset delta of {last_offset_delta}")]
    Count {
        /// The stated number of records.
        count: i32,
        /// The stated last offset delta.
        last_offset_delta: i32,
    },
}

impl RecordBatch {
    /// Takes exactly one batch. Lengths, format, codec bits, record count and CRC are checked, the records are not.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let len = Self::stated_len(&bytes)?;
        if bytes.len() > len {
            return Err(BatchError::Trailing { bytes: bytes.len() - len });
        }
        Self::parse_first(&bytes)
    }

    /// Takes the batch at the front of `bytes`, checked as [`RecordBatch::parse`] does. What follows it is ignored.
    pub fn parse_first(bytes: &Bytes) -> Result<Self, BatchError> {
        let len = Self::stated_len(bytes)?;
        if bytes.len() < len {
            return Err(BatchError::Truncated { needed: len, given: bytes.len() });
        }
        let batch = Self { bytes: bytes.slice(..len) };
        let stated = batch.crc();
        let computed = crc32c::crc32c(&batch.bytes[ATTRIBUTES_AT..]);
        if stated != computed {
            return Err(BatchError::Crc { stated, computed });
        }
        Compression::of_attributes(batch.attributes())?;
        let (count, last_offset_delta) = (batch.i32_at(57), batch.last_offset_delta());
        // Compaction removes records and keeps the last offset delta, so a stored batch may hold fewer.
        if count < 0 || last_offset_delta < 0 || i64::from(count) > i64::from(last_offset_delta) + 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        Ok(batch)
    }

    /// The batch that begins with `header`, without its records: offsets, times, leader epoch and producer stay. For who
    /// keeps the records elsewhere, and believes the header.
    pub fn without_records(header: &[u8]) -> Result<Self, BatchError> {
        Self::stated_len(header)?;
        let mut bytes = BytesMut::from(&header[..HEADER_LEN]);
        bytes[8..PREFIX_LEN].copy_from_slice(&((HEADER_LEN - PREFIX_LEN) as i32).to_be_bytes());
        bytes[57..HEADER_LEN].fill(0);
        seal(&mut bytes);
        Self::parse_first(&bytes.freeze())
    }

    /// Bytes of the batch at the front of `bytes`, header included; checks its length and format only.
    pub fn stated_len(bytes: &[u8]) -> Result<usize, BatchError> {
        if bytes.len() < HEADER_LEN {
            return Err(BatchError::Truncated { needed: HEADER_LEN, given: bytes.len() });
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic { magic });
        }
        let length = i32::from_be_bytes(array(bytes, 8));
        match usize::try_from(length) {
            Ok(length) if length >= HEADER_LEN - PREFIX_LEN => Ok(length + PREFIX_LEN),
            _ => Err(BatchError::Length { length }),
        }
    }

    /// The batch as a log stores it: base offset and leader epoch set, everything else as it was. One copy.
    #[must_use]
    pub fn placed(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.placed_in(BytesMut::with_capacity(self.bytes.len()), base_offset, leader_epoch)
    }

    /// As [`RecordBatch::placed`], in memory of the caller's: empty, with room for the batch.
    #[must_use]
    pub fn placed_in(&self, mut bytes: BytesMut, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        assert!(bytes.is_empty(), "the batch is all there is");
        bytes.put_i64(base_offset.0);
        bytes.put_slice(&self.bytes[8..PREFIX_LEN]);
        bytes.put_i32(leader_epoch.0);
        bytes.put_slice(&self.bytes[PREFIX_LEN + 4..]);
        Self { bytes: bytes.freeze() }
    }

    /// The batch with another max timestamp and, with it, another CRC.
    #[must_use]
    pub fn with_max_timestamp(&self, max: Timestamp) -> Self {
        let mut bytes = BytesMut::from(self.bytes.as_ref());
        bytes[35..43].copy_from_slice(&max.0.to_be_bytes());
        seal(&mut bytes);
        Self { bytes: bytes.freeze() }
    }

    /// The batch as one whose records all carry the time of the append, with another CRC.
    #[must_use]
    pub fn with_append_time(&self, now: Timestamp) -> Self {
        let mut bytes = BytesMut::from(self.bytes.as_ref());
        let attributes = self.attributes() | APPEND_TIME;
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[35..43].copy_from_slice(&now.0.to_be_bytes());
        seal(&mut bytes);
        Self { bytes: bytes.freeze() }
    }

    /// The batch with its records in another form: `section` is what `codec` makes of the same records.
    #[must_use]
    pub fn with_record_section(&self, codec: Compression, section: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + section.len());
        bytes.put_slice(&self.bytes[..HEADER_LEN]);
        bytes.put_slice(section);
        let length = i32::try_from(bytes.len() - PREFIX_LEN).expect("a batch stays below 2 GiB");
        bytes[8..PREFIX_LEN].copy_from_slice(&length.to_be_bytes());
        let attributes = self.attributes() & !CODEC | codec.code();
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        seal(&mut bytes);
        Self { bytes: bytes.freeze() }
    }

    /// The batch with some of its records, as compaction leaves it: offsets and producer fields stay. `section` holds
    /// `count` records in the batch's codec, their times counted from `base`; `is_horizon` says that `base` is the time
    /// from which tombstones in it may go.
    #[must_use]
    pub fn with_records(
        &self,
        section: &[u8],
        count: usize,
        base: Timestamp,
        max: Timestamp,
        is_horizon: bool,
    ) -> Self {
        let batch = self.with_record_section(self.compression(), section);
        let mut bytes = BytesMut::from(batch.bytes.as_ref());
        let mut attributes = self.attributes() & !DELETE_HORIZON;
        if is_horizon {
            attributes |= DELETE_HORIZON;
        }
        let count = i32::try_from(count).expect("a batch counts its records in 31 bits");
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[27..35].copy_from_slice(&base.0.to_be_bytes());
        bytes[35..43].copy_from_slice(&max.0.to_be_bytes());
        bytes[57..HEADER_LEN].copy_from_slice(&count.to_be_bytes());
        seal(&mut bytes);
        Self { bytes: bytes.freeze() }
    }

    /// The time from which tombstones in the batch may go, if compaction has set one.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        (self.attributes() & DELETE_HORIZON != 0).then(|| self.base_timestamp())
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The record section as stored: compressed if [`RecordBatch::compression`] says so.
    #[must_use]
    pub fn record_section(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset(i64::from_be_bytes(array(&self.bytes, 0)))
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset().plus(i64::from(self.last_offset_delta()))
    }

    /// Offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Last offset minus base offset.
    #[must_use]
    pub fn last_offset_delta(&self) -> i32 {
        self.i32_at(23)
    }

    /// Number of records in the record section.
    #[must_use]
    pub fn record_count(&self) -> usize {
        usize::try_from(self.i32_at(57)).expect("checked by parse")
    }

    /// Leader epoch under which the batch was stored.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.i32_at(12))
    }

    /// Codec of the record section.
    #[must_use]
    pub fn compression(&self) -> Compression {
        Compression::of_attributes(self.attributes()).expect("checked by parse")
    }

    /// Timestamp that record deltas count from, ms.
    #[must_use]
    pub fn base_timestamp(&self) -> Timestamp {
        Timestamp(self.i64_at(27))
    }

    /// Largest timestamp in the batch, ms, as its writer states it.
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp(self.i64_at(35))
    }

    /// Producer that numbered the batch, or [`ProducerId::NONE`].
    #[must_use]
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.i64_at(43))
    }

    /// Epoch of that producer.
    #[must_use]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(i16::from_be_bytes(array(&self.bytes, 51)))
    }

    /// Sequence number of the first record, -1 without a producer id.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        self.i32_at(53)
    }

    /// Whether all records carry the time of the append ([`RecordBatch::max_timestamp`]) instead of their own.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    /// Whether the batch holds transaction markers instead of records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes(array(&self.bytes, ATTRIBUTES_AT))
    }

    fn crc(&self) -> u32 {
        u32::from_be_bytes(array(&self.bytes, CRC_AT))
    }

    fn i32_at(&self, at: usize) -> i32 {
        i32::from_be_bytes(array(&self.bytes, at))
    }

    fn i64_at(&self, at: usize) -> i64 {
        i64::from_be_bytes(array(&self.bytes, at))
    }
}

impl Compression {
    /// The codec of Kafka's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].get(usize::from(code)).copied()
    }

    fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    fn of_attributes(attributes: i16) -> Result<Self, BatchError> {
        let codec = (attributes & CODEC) as u8;
        Self::of_code(codec).ok_or(BatchError::Codec { codec })
    }
}

/// Writes one uncompressed batch with base offset 0: what a producer sends and what internal topics append.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    records: BytesMut,
    count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch whose records count their time from `base_timestamp`.
    #[must_use]
    pub fn new(base_timestamp: Timestamp) -> Self {
        let mut records = BytesMut::with_capacity(512);
        records.put_bytes(0, HEADER_LEN);
        Self { records, count: 0, base_timestamp, max_timestamp: base_timestamp }
    }

    /// Adds a record that happened at `timestamp`; its offset and timestamp deltas are set here.
    pub fn push(&mut self, timestamp: Timestamp, mut record: Record) {
        record.offset_delta = self.count;
        record.timestamp_delta = timestamp.0 - self.base_timestamp.0;
        record.encode(&mut self.records);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Bytes of the batch so far, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished batch, of no producer id. Panics if it is empty: the format has no batch without a record.
    #[must_use]
    pub fn build(self) -> RecordBatch {
        self.build_for(ProducerId::NONE, ProducerEpoch(-1), -1)
    }

    /// The finished batch of an idempotent producer. Panics if it is empty.
    #[must_use]
    pub fn build_for(self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> RecordBatch {
        self.finish(0, id, epoch, base_sequence)
    }

    /// The finished batch of a producer's transaction. Panics if it is empty.
    #[must_use]
    pub fn build_transactional(
        self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
    ) -> RecordBatch {
        self.finish(TRANSACTIONAL, id, epoch, base_sequence)
    }

    /// The finished batch as a transaction's marker; its record says how the transaction ends.
    pub(crate) fn build_marker(self, id: ProducerId, epoch: ProducerEpoch) -> RecordBatch {
        self.finish(TRANSACTIONAL | CONTROL, id, epoch, -1)
    }

    fn finish(
        mut self,
        attributes: i16,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
    ) -> RecordBatch {
        assert!(self.count > 0, "a batch holds at least one record");
        let length = i32::try_from(self.records.len() - PREFIX_LEN).expect("a batch stays below 2 GiB");
        let mut header = &mut self.records[..HEADER_LEN];
        header.put_i64(0);
        header.put_i32(length);
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(attributes);
        header.put_i32(self.count - 1);
        header.put_i64(self.base_timestamp.0);
        header.put_i64(self.max_timestamp.0);
        header.put_i64(id.0);
        header.put_i16(epoch.0);
        header.put_i32(base_sequence);
        header.put_i32(self.count);
        seal(&mut self.records);
        RecordBatch { bytes: self.records.freeze() }
    }
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Records;

    fn three_records() -> RecordBatch {
        let mut builder = BatchBuilder::new(Timestamp(1_000));
        for i in 0..3 {
            let record = Record { key: Some(Bytes::from(vec![i])), ..Record::default() };
            builder.push(Timestamp(1_000 + i64::from(i)), record);
        }
        builder.build_for(ProducerId(7), ProducerEpoch(1), 30)
    }

    #[test]
    fn a_built_batch_parses_with_all_its_fields() {
        let batch = RecordBatch::parse(three_records().bytes().clone()).unwrap();
        assert_eq!(batch.record_count(), 3);
        assert_eq!(batch.last_offset(), Offset(2));
        assert_eq!(batch.max_timestamp(), Timestamp(1_002));
        assert_eq!(batch.producer_id(), ProducerId(7));
        assert_eq!(batch.producer_epoch(), ProducerEpoch(1));
        assert_eq!(batch.base_sequence(), 30);
        assert_eq!(batch.compression(), Compression::None);
        let records: Vec<_> = Records::new(batch.record_section(), 3).map(Result::unwrap).collect();
        assert_eq!(records[2].offset_delta, 2);
        assert_eq!(records[2].timestamp_delta, 2);
    }

    #[test]
    fn placing_a_batch_leaves_its_crc_valid() {
        let placed = three_records().placed(Offset(40), LeaderEpoch(5));
        let placed = RecordBatch::parse(placed.bytes().clone()).unwrap();
        assert_eq!((placed.base_offset(), placed.next_offset()), (Offset(40), Offset(43)));
        assert_eq!(placed.leader_epoch(), LeaderEpoch(5));
        let later = placed.with_max_timestamp(Timestamp(9_000));
        assert_eq!(RecordBatch::parse(later.bytes().clone()).unwrap().max_timestamp(), Timestamp(9_000));
    }

    #[test]
    fn a_changed_batch_is_a_whole_one() {
        let batch = three_records().placed(Offset(40), LeaderEpoch(5)).with_append_time(Timestamp(7));
        let batch = RecordBatch::parse(batch.bytes().clone()).unwrap();
        assert!(batch.is_log_append_time() && !batch.is_control());
        assert_eq!(batch.max_timestamp(), Timestamp(7));
        let other = batch.with_record_section(Compression::Zstd, b"any bytes");
        let other = RecordBatch::parse(other.bytes().clone()).unwrap();
        assert_eq!(
            (other.compression(), &other.record_section()[..]),
            (Compression::Zstd, &b"any bytes"[..])
        );
        assert_eq!((other.next_offset(), other.is_log_append_time()), (Offset(43), true));
    }

    #[test]
    fn every_flipped_bit_behind_the_prefix_is_found() {
        let bytes = three_records().bytes().to_vec();
        for bit in CRC_AT * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(RecordBatch::parse(flipped.into()), Err(BatchError::Crc { .. })), "bit {bit}");
        }
    }

    #[test]
    fn cut_and_contradicting_batches_are_refused() {
        let bytes = three_records().bytes().clone();
        for len in 0..bytes.len() {
            assert!(RecordBatch::parse(bytes.slice(..len)).is_err(), "{len} bytes");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(RecordBatch::parse(longer.into()), Err(BatchError::Trailing { bytes: 1 }));
        let mut negative = bytes.to_vec();
        negative[8..12].copy_from_slice(&(-5i32).to_be_bytes());
        assert_eq!(RecordBatch::parse(negative.into()), Err(BatchError::Length { length: -5 }));
    }
}
