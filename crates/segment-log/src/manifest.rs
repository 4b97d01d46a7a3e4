//! The manifest: what a checkpoint knows of the store. Recovery begins with it.
//!
//! Two files, `manifest.0` and `manifest.1`, written in turn: a torn write leaves the other one. The valid one with the
//! greater generation counts.
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | magic, `KMAN` | 4 bytes |
//! | 4 | version, 8 | u16 |
//! | 6 | zero | u16 |
//! | 8 | store id | 16 bytes |
//! | 24 | generation: +1 for each checkpoint | u64 |
//! | 32 | body length, bytes | u32 |
//! | 36 | CRC-32C of bytes 0 to 36 and the body | u32 |
//! | 40 | body | bytes |
//!
//! | body | type |
//! |---|---|
//! | write-ahead log position: slot, byte, epoch, sequence, CRC of the block before | u32, u64, u64, u64, u32 |
//! | next log id | u32 |
//! | leader epoch | i32 |
//! | 1 if readers of the life under way see what is not flushed, else 0 | u8 |
//! | number of partitions, then for each: | u32 |
//! | – log id | u32 |
//! | – partition index, topic id, topic name | i32, 16 bytes, text |
//! | – start offset, next offset, offset before which segments have everything, offset before which it was compacted | i64, i64, i64, i64 |
//! | – number of segments, then for each: base offset, revision, next offset, bytes, timestamp of the first batch, max timestamp | u32; i64, u64, i64, u64, i64, i64 |
//! | – number of damaged stretches of these, then for each: which segment, first byte, byte behind it, first offset, next good offset | u32; u32, u64, u64, i64, i64 |
//! | – number of leader epochs, then for each: epoch, first offset ([`keyway_log::epochs`]) | u32; i32, i64 |
//! | – producer states ([`keyway_log::producers`]) | u32 length, bytes |
//! | – transactions ([`keyway_log::transactions`]) | u32 length, bytes |
//! | number of files and folders that await removal, then for each: path inside the data folder | u32; text |
//!
//! All big-endian; text is a u16 length and UTF-8.

use crate::{
    OpenError,
    partition::SegmentEntry,
    segment::Damage,
    wal::{
        Position,
        block::{Link, StoreId},
        entry::LogId,
    },
};
use bytes::{Buf, BufMut, Bytes};
use keyway_log::epochs::EpochStart;
use keyway_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName, TopicPartition};
use keyway_runtime::{Disk, OpenMode};
use std::{
    io,
    path::{Path, PathBuf},
};

const MAGIC: [u8; 4] = *b"KMAN";
const VERSION: u16 = 8;
const HEADER_LEN: usize = 40;
const CRC_AT: usize = 36;

/// Longest manifest that is read: a bound against a length field gone bad. 1,000 times what 10,000 partitions take.
const LEN_MAX: u64 = 1 << 31;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) store_id: StoreId,
    pub(crate) generation: u64,
    /// Where replay begins.
    pub(crate) position: Position,
    pub(crate) next_log: LogId,
    /// The epoch in which every log appends.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Readers of the life under way see what is not flushed: unless it ends in a close, they may have seen too much.
    pub(crate) exposed: bool,
    pub(crate) partitions: Vec<PartitionState>,
    /// Paths inside the data folder that nothing refers to any more.
    pub(crate) garbage: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PartitionState {
    pub(crate) log: LogId,
    pub(crate) partition: TopicPartition,
    pub(crate) start: Offset,
    pub(crate) next: Offset,
    /// What lies from here to `next` is in the write-ahead log: the log was offline.
    pub(crate) written: Offset,
    pub(crate) compacted: Offset,
    pub(crate) segments: Vec<SegmentState>,
    /// What of them is damaged, each with its segment's index.
    pub(crate) damages: Vec<(u32, Damage)>,
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) producers: Vec<u8>,
    pub(crate) transactions: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentState {
    pub(crate) base: Offset,
    pub(crate) revision: u64,
    /// Offset after the last record.
    pub(crate) next: Offset,
    pub(crate) len: u64,
    pub(crate) first_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
}

impl SegmentState {
    /// Bytes of one.
    pub(crate) const LEN: usize = 48;

    pub(crate) fn of(entry: &SegmentEntry) -> Self {
        Self {
            base: entry.segment.base,
            revision: entry.segment.revision,
            next: entry.next,
            len: entry.len,
            first_timestamp: entry.first_timestamp,
            max_timestamp: entry.max_timestamp,
        }
    }

    /// Writes it as the manifest's table says.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_i64(self.base.0);
        out.put_u64(self.revision);
        out.put_i64(self.next.0);
        out.put_u64(self.len);
        out.put_i64(self.first_timestamp.0);
        out.put_i64(self.max_timestamp.0);
    }

    pub(crate) fn take(rest: &mut Bytes) -> Option<Self> {
        Some(Self {
            base: Offset(rest.try_get_i64().ok()?),
            revision: rest.try_get_u64().ok()?,
            next: Offset(rest.try_get_i64().ok()?),
            len: rest.try_get_u64().ok()?,
            first_timestamp: Timestamp(rest.try_get_i64().ok()?),
            max_timestamp: Timestamp(rest.try_get_i64().ok()?),
        })
    }
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("damaged")]
    Damaged,
    #[error("version {0}")]
    Version(u16),
}

/// How writing a manifest failed. After a failed flush it is not known what the device has.
#[derive(Debug)]
pub(crate) enum ManifestWriteError {
    Write(io::Error),
    Sync(io::Error),
}

impl ManifestWriteError {
    /// Whether there was no space, and the file is known to be as it was written.
    pub(crate) fn is_for_space(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::StorageFull)
    }

    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Write(error) | Self::Sync(error) => error,
        }
    }
}

impl Manifest {
    /// The newest valid manifest in `folder`, if there is one.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>, OpenError> {
        let mut newest: Option<Self> = None;
        for slot in 0..2 {
            let path = path(folder, slot);
            let file = match disk.open(&path, OpenMode::Existing) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(OpenError::io("open", path)(error)),
            };
            let read = || {
                let len = file.len()?.min(LEN_MAX);
                let mut bytes = vec![0; usize::try_from(len).expect("2 GiB fit")];
                let count = file.read_at(&mut bytes, 0)?;
                // Before it is believed: the process before may have been killed before it did this.
                file.sync()?;
                bytes.truncate(count);
                io::Result::Ok(Bytes::from(bytes))
            };
            let bytes = read().map_err(OpenError::io("read", &path))?;
            match Self::decode(bytes) {
                Ok(manifest) => match &newest {
                    Some(other) if other.store_id != manifest.store_id => {
                        return Err(OpenError::Foreign { path });
                    }
                    Some(other) if other.generation > manifest.generation => {}
                    _ => newest = Some(manifest),
                },
                Err(ManifestError::Version(found)) => {
                    return Err(OpenError::Version { path, found, supported: VERSION });
                }
                Err(ManifestError::Damaged) => {}
            }
        }
        Ok(newest)
    }

    /// Writes the manifest over the older one and makes it durable.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), ManifestWriteError> {
        let written = disk.open(&path(folder, self.generation % 2), OpenMode::Create).and_then(|file| {
            file.write_at(&self.encode(), 0)?;
            Ok(file)
        });
        let file = written.map_err(ManifestWriteError::Write)?;
        // Only its first two writes make a file, but whether they did is not known here.
        file.sync().and_then(|()| disk.sync_folder(folder)).map_err(ManifestWriteError::Sync)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        let link = self.position.link;
        out.put_u32(self.position.slot);
        out.put_u64(self.position.at);
        out.put_u64(link.epoch);
        out.put_u64(link.sequence);
        out.put_u32(link.previous);
        out.put_u32(self.next_log.0);
        out.put_i32(self.leader_epoch.0);
        out.put_u8(u8::from(self.exposed));
        put_count(&mut out, self.partitions.len());
        for state in &self.partitions {
            out.put_u32(state.log.0);
            out.put_i32(state.partition.partition.0);
            out.put_slice(&state.partition.topic_id.0);
            put_text(&mut out, state.partition.topic.as_str());
            out.put_i64(state.start.0);
            out.put_i64(state.next.0);
            out.put_i64(state.written.0);
            out.put_i64(state.compacted.0);
            put_count(&mut out, state.segments.len());
            for segment in &state.segments {
                segment.put(&mut out);
            }
            put_count(&mut out, state.damages.len());
            for (segment, damage) in &state.damages {
                out.put_u32(*segment);
                out.put_u64(damage.position);
                out.put_u64(damage.end);
                out.put_i64(damage.from.0);
                out.put_i64(damage.next.0);
            }
            put_count(&mut out, state.epochs.len());
            for EpochStart { epoch, start } in &state.epochs {
                out.put_i32(epoch.0);
                out.put_i64(start.0);
            }
            for blob in [&state.producers, &state.transactions] {
                put_count(&mut out, blob.len());
                out.put_slice(blob);
            }
        }
        put_count(&mut out, self.garbage.len());
        for path in &self.garbage {
            put_text(&mut out, path);
        }
        let body_len = u32::try_from(out.len() - HEADER_LEN).expect("a manifest stays below 4 GiB");
        let mut header = &mut out[..HEADER_LEN];
        header.put_slice(&MAGIC);
        header.put_u16(VERSION);
        header.put_u16(0);
        header.put_slice(&self.store_id.0);
        header.put_u64(self.generation);
        header.put_u32(body_len);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[..CRC_AT]), &out[HEADER_LEN..]);
        out[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
        out
    }

    fn decode(bytes: Bytes) -> Result<Self, ManifestError> {
        let damaged = ManifestError::Damaged;
        if bytes.len() < HEADER_LEN || bytes[..4] != MAGIC {
            return Err(damaged);
        }
        let mut header = bytes.slice(4..HEADER_LEN);
        let version = header.get_u16();
        header.advance(2);
        let mut store_id = StoreId([0; 16]);
        header.copy_to_slice(&mut store_id.0);
        let generation = header.get_u64();
        let end = HEADER_LEN + header.get_u32() as usize;
        let stated = header.get_u32();
        if bytes.len() < end {
            return Err(damaged);
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[HEADER_LEN..end]);
        // Every version keeps the header's shape, so that a newer one is named and not taken for damage.
        match (crc == stated, version == VERSION) {
            (false, _) => Err(damaged),
            (true, false) => Err(ManifestError::Version(version)),
            (true, true) => {
                Self::decode_body(store_id, generation, bytes.slice(HEADER_LEN..end)).ok_or(damaged)
            }
        }
    }

    fn decode_body(store_id: StoreId, generation: u64, mut body: Bytes) -> Option<Self> {
        let rest = &mut body;
        let slot = rest.try_get_u32().ok()?;
        let at = rest.try_get_u64().ok()?;
        let epoch = rest.try_get_u64().ok()?;
        let sequence = rest.try_get_u64().ok()?;
        let previous = rest.try_get_u32().ok()?;
        let position = Position { slot, at, link: Link { epoch, sequence, previous } };
        let next_log = LogId(rest.try_get_u32().ok()?);
        let leader_epoch = LeaderEpoch(rest.try_get_i32().ok()?);
        let exposed = rest.try_get_u8().ok()? != 0;
        let mut partitions = Vec::new();
        for _ in 0..rest.try_get_u32().ok()? {
            partitions.push(take_partition(rest)?);
        }
        let mut garbage = Vec::new();
        for _ in 0..rest.try_get_u32().ok()? {
            garbage.push(take_text(rest)?);
        }
        rest.is_empty().then_some(Self {
            store_id,
            generation,
            position,
            next_log,
            leader_epoch,
            exposed,
            partitions,
            garbage,
        })
    }
}

fn take_partition(rest: &mut Bytes) -> Option<PartitionState> {
    let log = LogId(rest.try_get_u32().ok()?);
    let partition = PartitionId(rest.try_get_i32().ok()?);
    let mut topic_id = TopicId::ZERO;
    rest.try_copy_to_slice(&mut topic_id.0).ok()?;
    let topic = TopicName::new(&take_text(rest)?).ok()?;
    let partition = TopicPartition { topic, topic_id, partition };
    let start = Offset(rest.try_get_i64().ok()?);
    let next = Offset(rest.try_get_i64().ok()?);
    let written = Offset(rest.try_get_i64().ok()?);
    let compacted = Offset(rest.try_get_i64().ok()?);
    let mut segments = Vec::new();
    for _ in 0..rest.try_get_u32().ok()? {
        segments.push(SegmentState::take(rest)?);
    }
    let damages = take_damages(rest)?;
    let mut epochs = Vec::new();
    for _ in 0..rest.try_get_u32().ok()? {
        let epoch = LeaderEpoch(rest.try_get_i32().ok()?);
        epochs.push(EpochStart { epoch, start: Offset(rest.try_get_i64().ok()?) });
    }
    let (producers, transactions) = (take_blob(rest)?, take_blob(rest)?);
    Some(PartitionState {
        log,
        partition,
        start,
        next,
        written,
        compacted,
        segments,
        damages,
        epochs,
        producers,
        transactions,
    })
}

fn take_damages(rest: &mut Bytes) -> Option<Vec<(u32, Damage)>> {
    let mut damages = Vec::new();
    for _ in 0..rest.try_get_u32().ok()? {
        let segment = rest.try_get_u32().ok()?;
        let (position, end) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
        let (from, next) = (Offset(rest.try_get_i64().ok()?), Offset(rest.try_get_i64().ok()?));
        damages.push((segment, Damage { position, end, from, next }));
    }
    Some(damages)
}

fn take_blob(rest: &mut Bytes) -> Option<Vec<u8>> {
    let len = rest.try_get_u32().ok()? as usize;
    (rest.len() >= len).then(|| rest.split_to(len).to_vec())
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("far below 2^32"));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16(u16::try_from(text.len()).expect("names and paths are short"));
    out.put_slice(text.as_bytes());
}

fn take_text(rest: &mut Bytes) -> Option<String> {
    let len = usize::from(rest.try_get_u16().ok()?);
    let bytes = (rest.len() >= len).then(|| rest.split_to(len))?;
    String::from_utf8(bytes.to_vec()).ok()
}

fn path(folder: &Path, slot: u64) -> PathBuf {
    folder.join(format!("manifest.{slot}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        pub(crate) fn any_segment()(base: i64, revision: u64, next: i64, len: u64, first: i64, max: i64) -> SegmentState {
            let (first_timestamp, max_timestamp) = (Timestamp(first), Timestamp(max));
            SegmentState { base: Offset(base), revision, next: Offset(next), len, first_timestamp, max_timestamp }
        }
    }

    prop_compose! {
        fn any_epoch()(epoch: i32, start: i64) -> EpochStart {
            EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }
        }
    }

    prop_compose! {
        fn any_partition()(
            log: u32, topic in "[a-z.]{3,9}", id: [u8; 16], index: i32, start: i64, next: i64, written: i64, compacted: i64,
            segments in prop::collection::vec(any_segment(), 0..4),
            epochs in prop::collection::vec(any_epoch(), 0..4),
            damages in prop::collection::vec(any::<(u32, u64, u64, i64, i64)>(), 0..3),
            producers in prop::collection::vec(any::<u8>(), 0..50),
            transactions in prop::collection::vec(any::<u8>(), 0..50),
        ) -> PartitionState {
            let topic = TopicName::new(&topic).unwrap();
            let partition = TopicPartition { topic, topic_id: TopicId(id), partition: PartitionId(index) };
            let (start, next, written) = (Offset(start), Offset(next), Offset(written));
            let compacted = Offset(compacted);
            let damages = damages.into_iter().map(|(segment, position, end, from, next)| {
                (segment, Damage { position, end, from: Offset(from), next: Offset(next) })
            });
            let damages = damages.collect();
            let log = LogId(log);
            PartitionState {
                log, partition, start, next, written, compacted, segments, damages, epochs, producers, transactions
            }
        }
    }

    prop_compose! {
        fn any_manifest()(
            id: [u8; 16], generation: u64, slot: u32, at: u64, epoch: u64, sequence: u64, previous: u32, next: u32,
            leader_epoch: i32, exposed: bool,
            partitions in prop::collection::vec(any_partition(), 0..4),
            garbage in prop::collection::vec("[a-z/]{0,30}", 0..3),
        ) -> Manifest {
            let position = Position { slot, at, link: Link { epoch, sequence, previous } };
            let (store_id, next_log, leader_epoch) = (StoreId(id), LogId(next), LeaderEpoch(leader_epoch));
            Manifest {
                store_id, generation, position, next_log, leader_epoch, exposed, partitions, garbage
            }
        }
    }

    proptest! {
        #[test]
        fn manifests_come_back(manifest in any_manifest()) {
            prop_assert_eq!(Manifest::decode(manifest.encode().into()), Ok(manifest));
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_found(manifest in any_manifest(), place: prop::sample::Index) {
            let bytes = manifest.encode();
            let bit = place.index(bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Manifest::decode(flipped.into()), Err(ManifestError::Damaged));
            prop_assert_eq!(Manifest::decode(Bytes::from(bytes).slice(..bit / 8)), Err(ManifestError::Damaged));
        }
    }

    #[test]
    fn another_version_is_named() {
        let link = Link { epoch: 1, sequence: 1, previous: 0 };
        let position = Position { slot: 0, at: 0, link };
        let (store_id, next_log) = (StoreId([1; 16]), LogId(0));
        let manifest = Manifest {
            store_id,
            generation: 1,
            position,
            next_log,
            leader_epoch: LeaderEpoch(0),
            exposed: false,
            partitions: Vec::new(),
            garbage: Vec::new(),
        };
        let mut bytes = manifest.encode();
        bytes[5] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[HEADER_LEN..]);
        bytes[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Manifest::decode(bytes.into()), Err(ManifestError::Version(9)));
    }
}
