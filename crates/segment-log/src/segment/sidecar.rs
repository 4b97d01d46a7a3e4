//! The sidecar of a sealed segment: its sparse index, so that nobody has to walk the segment for it.
//!
//! `00000000000000000042.idx` beside `00000000000000000042.log`:
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | magic, `KIDX` | 4 bytes |
//! | 4 | version, 1 | u16 |
//! | 6 | zero | u16 |
//! | 8 | base offset, offset after the last batch | i64, i64 |
//! | 24 | bytes of the segment | u64 |
//! | 32 | max timestamp | i64 |
//! | 40 | number of entries | u32 |
//! | 44 | CRC-32C of bytes 0 to 44 and the entries | u32 |
//! | 48 | per entry: position, offset, max timestamp before it, CRC-32C of its batches' prefixes | u64, i64, i64, u32 |
//!
//! All big-endian. It holds nothing that the segment does not: one that is missing, torn or damaged is made again.

use super::index::{Index, IndexEntry};
use bytes::{Buf, BufMut};
use keyway_record::{Offset, Timestamp};

const MAGIC: [u8; 4] = *b"KIDX";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 48;
const CRC_AT: usize = 44;
const ENTRY_LEN: usize = 28;

/// Longest sidecar that is read: that of a segment of 16 GiB.
pub(super) const LEN_MAX: u64 = 32 << 20;

pub(super) fn encode(base: Offset, index: &Index) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + index.entries.len() * ENTRY_LEN);
    out.put_slice(&MAGIC);
    out.put_u16(VERSION);
    out.put_u16(0);
    out.put_i64(base.0);
    out.put_i64(index.next.0);
    out.put_u64(index.covered);
    out.put_i64(index.max_timestamp.0);
    out.put_u32(u32::try_from(index.entries.len()).expect("one entry per 16 KiB"));
    out.put_u32(0);
    for entry in &index.entries {
        out.put_u64(entry.position);
        out.put_i64(entry.offset.0);
        out.put_i64(entry.max_before.0);
        out.put_u32(entry.prefixes_crc);
    }
    let crc = crc_of(&out);
    out[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
    out
}

/// The index of the segment at `base`, or why these bytes are not its sidecar.
pub(super) fn decode(bytes: &[u8], base: Offset) -> Result<Index, &'static str> {
    if bytes.len() < HEADER_LEN || bytes[..4] != MAGIC {
        return Err("it has no header");
    }
    let stated = u32::from_be_bytes(bytes[CRC_AT..HEADER_LEN].try_into().expect("4 bytes"));
    if stated != crc_of(bytes) {
        return Err("its checksum does not match");
    }
    let mut rest = &bytes[4..];
    if rest.get_u16() != VERSION {
        return Err("its version is another");
    }
    rest.advance(2);
    if rest.get_i64() != base.0 {
        return Err("it belongs to another segment");
    }
    let next = Offset(rest.get_i64());
    let covered = rest.get_u64();
    let max_timestamp = Timestamp(rest.get_i64());
    let count = rest.get_u32() as usize;
    rest.advance(4);
    if rest.len() != count * ENTRY_LEN {
        return Err("its length is wrong");
    }
    let entry = |_| IndexEntry {
        position: rest.get_u64(),
        offset: Offset(rest.get_i64()),
        max_before: Timestamp(rest.get_i64()),
        prefixes_crc: rest.get_u32(),
    };
    let entries = (0..count).map(entry).collect();
    Ok(Index { entries, covered, next, max_timestamp, after_damage: false })
}

fn crc_of(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[HEADER_LEN..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(count: u64) -> Index {
        let entry = |number: u64| IndexEntry {
            position: number * 20_000,
            offset: Offset(number as i64 * 10),
            max_before: Timestamp(number as i64),
            prefixes_crc: number as u32 * 7,
        };
        let entries = (0..count).map(entry).collect();
        Index {
            entries,
            covered: count * 20_000,
            next: Offset(99),
            max_timestamp: Timestamp(5),
            after_damage: false,
        }
    }

    #[test]
    fn an_index_comes_back_and_no_flipped_bit_passes() {
        for count in [0, 1, 3] {
            let bytes = encode(Offset(4), &index(count));
            assert_eq!(decode(&bytes, Offset(4)), Ok(index(count)));
            assert!(decode(&bytes, Offset(5)).is_err());
            assert!(decode(&bytes[..bytes.len() - 1], Offset(4)).is_err());
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&flipped, Offset(4)).is_err(), "bit {bit}");
            }
        }
    }
}
