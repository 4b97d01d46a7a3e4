//! A compressed section: one byte of codec, and bytes that may be a bomb. No more than the bound comes out.

use bytes::Bytes;
use keyway_kafka_wire::compression::decompress;
use keyway_record::Compression;

const BYTES_MAX: usize = 1 << 20;

/// The codecs, in the order of their numbers in a batch.
pub const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// See the module.
pub fn run(data: &[u8]) {
    let Some((codec, section)) = data.split_first() else { return };
    let codec = CODECS[usize::from(*codec) % CODECS.len()];
    if let Ok(section) = decompress(codec, Bytes::copy_from_slice(section), BYTES_MAX) {
        assert!(section.len() <= BYTES_MAX);
    }
}
