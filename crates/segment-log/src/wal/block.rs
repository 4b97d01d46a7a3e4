//! One commit of the write-ahead log: a checked, chained block of entries.
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | magic, `KWAL` | 4 bytes |
//! | 4 | version, 3 | u16 |
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
use std::io::IoSlice;

/// Bytes before the payload.
pub(crate) const HEADER_LEN: usize = 64;

/// Blocks start at multiples of this: what devices write as one.
pub(crate) const ALIGNMENT: u64 = 4096;

const MAGIC: [u8; 4] = *b"KWAL";
const VERSION: u16 = 3;
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

/// Collects entries into one block, batches by reference. Keeps its buffers from block to block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    /// The header and whatever is not a batch by reference, in order.
    heads: Vec<u8>,
    /// Batches, each with the length of `heads` where it comes in.
    batches: Vec<(usize, Bytes)>,
    batches_len: usize,
    entries_count: u32,
}

/// Shorter batches are copied: a piece of its own costs a write more than that.
const COPIED_LEN_MAX: usize = 512;

/// What fills a block up.
static PADDING: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];

impl BlockBuilder {
    pub(crate) fn new() -> Self {
        Self { heads: vec![0; HEADER_LEN], batches: Vec::new(), batches_len: 0, entries_count: 0 }
    }

    pub(crate) fn push(&mut self, entry: &Entry) {
        match entry {
            Entry::Data { batch, .. } | Entry::Kept { batch, .. } if batch.bytes().len() > COPIED_LEN_MAX => {
                entry.encode_head(&mut self.heads);
                self.batches_len += batch.bytes().len();
                self.batches.push((self.heads.len(), batch.bytes().clone()));
            }
            _ => entry.encode(&mut self.heads),
        }
        self.entries_count += 1;
    }

    fn payload_len(&self) -> usize {
        self.heads.len() - HEADER_LEN + self.batches_len
    }

    /// Bytes that the block takes in the file.
    pub(crate) fn file_len(&self) -> u64 {
        file_len(self.payload_len())
    }

    /// Finishes the block; returns its CRC. Without entries it is a mark.
    pub(crate) fn seal(&mut self, store_id: StoreId, link: Link, flushed: u64) -> u32 {
        assert!(flushed <= link.sequence, "a block is flushed after it is written");
        let payload_len = u32::try_from(self.payload_len()).expect("a commit stays below 4 GiB");
        let mut header = &mut self.heads[..HEADER_LEN];
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
        let mut crc = crc32c::crc32c(&self.heads[..CRC_AT]);
        for (index, piece) in self.content().enumerate() {
            // The header's end is its CRC.
            let piece = if index == 0 { &piece[HEADER_LEN..] } else { piece };
            crc = crc32c::crc32c_append(crc, piece);
        }
        self.heads[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
        crc
    }

    /// The sealed block, padded.
    pub(crate) fn pieces(&self) -> Vec<IoSlice<'_>> {
        let padding = self.file_len() - (HEADER_LEN + self.payload_len()) as u64;
        let mut pieces = Vec::with_capacity(2 * self.batches.len() + 2);
        pieces.extend(self.content().filter(|piece| !piece.is_empty()).map(IoSlice::new));
        if padding > 0 {
            pieces.push(IoSlice::new(&PADDING[..usize::try_from(padding).expect("less than a page")]));
        }
        pieces
    }

    /// Header and payload; the header is in the first piece.
    fn content(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.batches.iter().map(|(at, _)| *at));
        let ends = self.batches.iter().map(|(at, _)| *at).chain(std::iter::once(self.heads.len()));
        let heads = starts.zip(ends).map(|(start, end)| &self.heads[start..end]);
        let batches = self.batches.iter().map(|(_, batch)| batch.as_ref()).chain(std::iter::once(&[][..]));
        heads.zip(batches).flat_map(|(head, batch)| [head, batch])
    }

    /// Empties the block; gives back memory beyond `capacity_max`.
    pub(crate) fn clear(&mut self, capacity_max: usize) {
        self.heads.truncate(HEADER_LEN);
        if self.heads.capacity() > capacity_max {
            self.heads.shrink_to(capacity_max);
        }
        self.batches.clear();
        self.batches_len = 0;
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

    fn bytes_of(builder: &BlockBuilder) -> Vec<u8> {
        builder.pieces().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn blocks_come_back(entries in prop::collection::vec(any_entry(), 1..5)) {
            let mut builder = BlockBuilder::new();
            for _ in 0..2 {
                entries.iter().for_each(|entry| builder.push(entry));
                let crc = builder.seal(STORE, LINK, 98);
                let bytes = bytes_of(&builder);
                prop_assert_eq!(bytes.len() as u64 % ALIGNMENT, 0);
                let (header, payload) = parse(bytes.clone()).unwrap();
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
        builder.seal(STORE, LINK, 98);
        let bytes = bytes_of(&builder);
        let end = HEADER_LEN + Header::parse(&bytes).unwrap().payload_len as usize;
        for bit in 0..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(flipped).is_err(), "bit {bit}");
        }
    }
}
