//! Compresses and decompresses the record section of a batch, never beyond a limit.
//!
//! Snappy is written in xerial's framing, as Kafka's clients do, and read with or without it:
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | `82 53 4e 41 50 50 59 00` | bytes |
//! | 8 | version, 1 | i32 |
//! | 12 | lowest version that can read it, 1 | i32 |
//! | 16 | per block: bytes of the block | i32 |
//! | | the block, raw snappy | bytes |

use bytes::Bytes;
use keyway_record::Compression;
use std::io::{self, Read, Write};

/// Why compressed bytes are not records.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// More comes out than is allowed.
    #[error("the batch decompresses to more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The bytes are not those of the codec.
    #[error("the batch is not valid {codec:?} data")]
    Malformed {
        /// The codec that the batch names.
        codec: Compression,
        /// What the codec says.
        #[source]
        source: io::Error,
    },
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_LEN: usize = 16;

/// Bytes that go into one snappy block: what Kafka's Java client uses.
const XERIAL_BLOCK_LEN: usize = 32 * 1024;

/// No snappy block grows more than this: its longest copy, 64 bytes, takes 3 bytes. It keeps a block from claiming
/// memory that its bytes cannot fill.
const SNAPPY_GROWTH_MAX: usize = 64;

/// What `records` are in uncompressed form, if that takes at most `max` bytes. Uncompressed bytes come back as they are.
pub fn decompress(codec: Compression, records: Bytes, max: usize) -> Result<Bytes, DecompressError> {
    let malformed = |source| DecompressError::Malformed { codec, source };
    let read = |source: &mut dyn Read| {
        read_at_most(source, max).map_err(malformed)?.ok_or(DecompressError::TooLarge { max })
    };
    match codec {
        Compression::None if records.len() > max => Err(DecompressError::TooLarge { max }),
        Compression::None => Ok(records),
        Compression::Gzip => read(&mut flate2::bufread::MultiGzDecoder::new(&records[..])),
        Compression::Lz4 => read(&mut lz4_flex::frame::FrameDecoder::new(&records[..])),
        Compression::Zstd => read(&mut zstd::Decoder::with_buffer(&records[..]).map_err(malformed)?),
        Compression::Snappy => {
            unsnap(&records, max).map_err(malformed)?.ok_or(DecompressError::TooLarge { max })
        }
    }
}

/// `records` in the form that `codec` gives them, at each codec's usual level.
#[must_use]
pub fn compress(codec: Compression, records: &Bytes) -> Bytes {
    let compressed = match codec {
        Compression::None => return records.clone(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records).and_then(|()| encoder.finish())
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).and_then(|()| encoder.finish().map_err(io::Error::other))
        }
        Compression::Zstd => zstd::encode_all(&records[..], zstd::DEFAULT_COMPRESSION_LEVEL),
        Compression::Snappy => snap(records),
    };
    compressed.expect("writing to memory does not fail").into()
}

/// Everything that `source` yields, or `None` if that is more than `max` bytes.
fn read_at_most(source: &mut dyn Read, max: usize) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    source.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then(|| bytes.into()))
}

fn snap(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = XERIAL_MAGIC.to_vec();
    out.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(XERIAL_BLOCK_LEN) {
        let block = encoder.compress_vec(block)?;
        let len = i32::try_from(block.len()).expect("a block of 32 KiB stays small");
        out.extend(len.to_be_bytes());
        out.extend(block);
    }
    Ok(out)
}

fn unsnap(records: &[u8], max: usize) -> io::Result<Option<Bytes>> {
    let mut out = Vec::new();
    if !records.starts_with(XERIAL_MAGIC) {
        return Ok(unsnap_block(records, &mut out, max)?.then(|| out.into()));
    }
    let mut rest = records.get(XERIAL_HEADER_LEN..).ok_or(io::ErrorKind::UnexpectedEof)?;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(io::Error::other)?;
        let (block, after) = after.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        if !unsnap_block(block, &mut out, max)? {
            return Ok(None);
        }
        rest = after;
    }
    Ok(Some(out.into()))
}

/// Appends what `block` holds; false if `out` would grow over `max`.
fn unsnap_block(block: &[u8], out: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    let len = snap::raw::decompress_len(block)?;
    if len > block.len().saturating_mul(SNAPPY_GROWTH_MAX) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let start = out.len();
    if len > max - start {
        return Ok(false);
    }
    out.resize(start + len, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn too_large(result: Result<Bytes, DecompressError>) -> bool {
        matches!(result, Err(DecompressError::TooLarge { .. }))
    }

    proptest! {
        #[test]
        fn bytes_come_back_from_every_codec(byte: u8, noise in prop::collection::vec(any::<u8>(), 0..500), len in 0usize..100_000) {
            let mut plain = vec![byte; len];
            plain.extend(noise);
            let plain = Bytes::from(plain);
            for codec in CODECS {
                let compressed = compress(codec, &plain);
                prop_assert_eq!(decompress(codec, compressed.clone(), plain.len()).unwrap(), plain.clone());
                prop_assert!(plain.is_empty() || too_large(decompress(codec, compressed, plain.len() - 1)));
            }
        }
    }

    #[test]
    fn uncompressed_bytes_are_not_copied() {
        let plain = Bytes::from_static(b"plain");
        assert_eq!(decompress(Compression::None, plain.clone(), 5).unwrap().as_ptr(), plain.as_ptr());
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = Bytes::from(vec![0; 20 << 20]);
        for codec in &CODECS[1..] {
            let bomb = compress(*codec, &zeros);
            assert!(bomb.len() < zeros.len() / 15, "{codec:?}");
            assert!(too_large(decompress(*codec, bomb, 1 << 20)), "{codec:?}");
        }
    }

    #[test]
    fn raw_snappy_is_read() {
        let plain = Bytes::from_static(b"raw snappy raw snappy raw snappy");
        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(decompress(Compression::Snappy, raw.into(), 100).unwrap(), plain);
    }

    #[test]
    fn a_snappy_block_cannot_claim_more_than_it_can_fill() {
        // A varint that says 2^32 - 1, and a block of two bytes that says 60 MB.
        for claim in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x9c, 0x4e, 0x1c, 0, 0]] {
            let result = decompress(Compression::Snappy, Bytes::copy_from_slice(claim), 64 << 20);
            assert!(matches!(result, Err(DecompressError::Malformed { .. })), "{result:?}");
        }
    }

    #[test]
    fn garbage_is_malformed() {
        for codec in &CODECS[1..] {
            let result = decompress(*codec, Bytes::from_static(b"no codec wrote this"), 1 << 20);
            assert!(matches!(result, Err(DecompressError::Malformed { .. })), "{codec:?}");
        }
    }
}
