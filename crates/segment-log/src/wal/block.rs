//! One commit of the write-ahead log: a checked, chained block of entries.
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | magic, `KWAL` | 4 bytes |
//! | 4 | version, 2 | u16 |
//! | 6 | zero | u16 |
//! | 8 | store id | 16 bytes |
//! | 24 | file epoch: +1 each time the log moves to another file | u64 |
//! | 32 | commit sequence: +1 for each block | u64 |
//! | 40 | every block of a lower sequence was flushed when this one was written | u64 |
//! | 48 | CRC-32C of the block before | u32 |
//! | 52 | number of entries; 0 in a mark, which only says what was flushed | u32 |
//! | 56 | payload length, bytes | u32 |
//! | 60 | CRC-32C of bytes 0 to 60 and the payload | u32 |
//! | 64 | payload: the entries ([`super::entry`]) | bytes |
//! | – | zeros up to the next multiple of 4096 | bytes |
//!
//! All big-endian. Store id, epoch, sequence and the CRC of the block before make a chain: what a recycled file still
//! holds of its earlier life is never taken for a part of it. A damaged block is told from one that a power cut tore by
//! what later blocks say was flushed.

use super::entry::Entry;
use bytes::{BufMut, Bytes};

/// Bytes before the payload.
pub(crate) const HEADER_LEN: usize = 64;

/// Blocks start at multiples of this: what devices write as one.
pub(crate) const ALIGNMENT: u64 = 4096;

const MAGIC: [u8; 4] = *b"KWAL";
const VERSION: u16 = 2;
const CRC_AT: usize = 60;

/// Identity of one data folder: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreId(pub(crate) [u8; 16]);

/// Where a block stands in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// CRC of the block before.
    pub(crate) previous: u32,
}

/// A block's header, as far as it can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) store_id: StoreId,
    pub(crate) link: Link,
    /// Sequence before which every block was flushed when this one was written.
    pub(crate) flushed: u64,
    pub(crate) entries_count: u32,
    pub(crate) payload_len: u32,
    pub(crate) crc: u32,
}

/// Why bytes are not a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BlockError {
    #[error("no block begins here")]
    Magic,
    #[error("version {0} is not supported")]
    Version(u16),
    #[error("the block is longer than its file")]
    Length,
    #[error("the checksum does not match")]
    Crc,
}

/// Collects entries into one block. Keeps its buffer from block to block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    entries_count: u32,
}

impl BlockBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; HEADER_LEN], entries_count: 0 }
    }

    pub(crate) fn push(&mut self, entry: &Entry) {
        entry.encode(&mut self.bytes);
        self.entries_count += 1;
    }

    /// Bytes that the block takes in the file.
    pub(crate) fn file_len(&self) -> u64 {
        file_len(self.bytes.len() - HEADER_LEN)
    }

    /// The finished block, padded, and its CRC. Without entries it is a mark.
    pub(crate) fn seal(&mut self, store_id: StoreId, link: Link, flushed: u64) -> (&[u8], u32) {
        assert!(flushed <= link.sequence, "a block is flushed after it is written");
        let payload_len = u32::try_from(self.bytes.len() - HEADER_LEN).expect("a commit stays below 4 GiB");
        let mut header = &mut self.bytes[..HEADER_LEN];
        header.put_slice(&MAGIC);
        header.put_u16(VERSION);
        header.put_u16(0);
        header.put_slice(&store_id.0);
        header.put_u64(link.epoch);
        header.put_u64(link.sequence);
        header.put_u64(flushed);
        header.put_u32(link.previous);
        header.put_u32(self.entries_count);
        header.put_u32(payload_len);
        let crc = checksum(&self.bytes[..CRC_AT], &self.bytes[HEADER_LEN..]);
        self.bytes[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
        let padded = self.file_len();
        self.bytes.resize(usize::try_from(padded).expect("fits in memory"), 0);
        (&self.bytes, crc)
    }

    /// Empties the block; gives back memory beyond `capacity_max`.
    pub(crate) fn clear(&mut self, capacity_max: usize) {
        self.bytes.truncate(HEADER_LEN);
        if self.bytes.capacity() > capacity_max {
            self.bytes.shrink_to(capacity_max);
        }
        self.entries_count = 0;
    }
}

impl Header {
    /// Reads the header at the front of `bytes`. Only [`Header::check`] tells whether it is true.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() < HEADER_LEN || bytes[..4] != MAGIC {
            return Err(BlockError::Magic);
        }
        let version = u16::from_be_bytes(array(bytes, 4));
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        Ok(Self {
            store_id: StoreId(array(bytes, 8)),
            link: Link {
                epoch: u64::from_be_bytes(array(bytes, 24)),
                sequence: u64::from_be_bytes(array(bytes, 32)),
                previous: u32::from_be_bytes(array(bytes, 48)),
            },
            flushed: u64::from_be_bytes(array(bytes, 40)),
            entries_count: u32::from_be_bytes(array(bytes, 52)),
            payload_len: u32::from_be_bytes(array(bytes, 56)),
            crc: u32::from_be_bytes(array(bytes, CRC_AT)),
        })
    }

    /// Takes the payload out of `block`, which begins with this header, once its checksum is right.
    pub(crate) fn check(&self, block: &Bytes) -> Result<Bytes, BlockError> {
        let end = HEADER_LEN + self.payload_len as usize;
        if block.len() < end {
            return Err(BlockError::Length);
        }
        if checksum(&block[..CRC_AT], &block[HEADER_LEN..end]) != self.crc {
            return Err(BlockError::Crc);
        }
        Ok(block.slice(HEADER_LEN..end))
    }

    /// Bytes that the block takes in the file.
    pub(crate) fn file_len(&self) -> u64 {
        file_len(self.payload_len as usize)
    }
}

fn file_len(payload_len: usize) -> u64 {
    ((HEADER_LEN + payload_len) as u64).next_multiple_of(ALIGNMENT)
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::entry::{LogId, tests::any_entry};
    use proptest::prelude::*;

    const STORE: StoreId = StoreId([7; 16]);
    const LINK: Link = Link { epoch: 3, sequence: 99, previous: 0xdead_beef };

    fn parse(bytes: Vec<u8>) -> Result<(Header, Bytes), BlockError> {
        let header = Header::parse(&bytes)?;
        Ok((header, header.check(&bytes.into())?))
    }

    proptest! {
        #[test]
        fn blocks_come_back(entries in prop::collection::vec(any_entry(), 1..5)) {
            let mut builder = BlockBuilder::new();
            for _ in 0..2 {
                entries.iter().for_each(|entry| builder.push(entry));
                let (bytes, crc) = builder.seal(STORE, LINK, 98);
                prop_assert_eq!(bytes.len() as u64 % ALIGNMENT, 0);
                let (header, payload) = parse(bytes.to_vec()).unwrap();
                prop_assert_eq!((header.store_id, header.link, header.flushed, header.crc), (STORE, LINK, 98, crc));
                prop_assert_eq!(header.file_len(), bytes.len() as u64);
                let back: Vec<Entry> = Entry::walk(payload, header.entries_count).map(Result::unwrap).collect();
                prop_assert_eq!(&back, &entries);
                builder.clear(0);
            }
        }
    }

    #[test]
    fn every_flipped_bit_up_to_the_padding_is_found() {
        let mut builder = BlockBuilder::new();
        builder.push(&Entry::Delete { log: LogId(5) });
        let (bytes, _) = builder.seal(STORE, LINK, 98);
        let bytes = bytes.to_vec();
        let end = HEADER_LEN + Header::parse(&bytes).unwrap().payload_len as usize;
        for bit in 0..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(flipped).is_err(), "bit {bit}");
        }
    }
}
