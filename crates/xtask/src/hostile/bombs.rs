//! Batches of at most a mebibyte that decompress to hundreds of times as much.

use anyhow::{Context, ensure};

use crate::broker::Broker;
use crate::kafka_client::Connection;
use crate::produce_bytes::{self, GZIP};

const TOPIC: &str = "bombs";
/// Of zstd, which packs so much into 32 KiB.
const ZSTD_BYTES: usize = 1 << 30;
/// Of snappy, whose copies are of 64 bytes at most: 3 bytes for 64.
const SNAPPY_BYTES: usize = 20 << 20;
/// Of LZ4: a quarter of it, which is what a batch can hold.
const LZ4_BYTES: usize = 240 << 20;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

/// `CORRUPT_MESSAGE`, `MESSAGE_TOO_LARGE` or `INVALID_RECORD`: what a batch is that nobody should unpack.
const REFUSALS: [i16; 3] = [2, 10, 87];
/// One buffer at the bound of what a batch may unpack to, and some for the batch and its connection.
const PEAK_MAX_BYTES: u64 = (64 + 16) << 20;

/// A batch for each way to pack so much, or to promise it.
pub(super) struct Bombs(Vec<(&'static str, Vec<u8>)>);

impl Bombs {
    pub(super) fn make() -> anyhow::Result<Self> {
        let sections = [
            ("gzip", GZIP, gzip()?),
            ("zstd", ZSTD, zstd(ZSTD_BYTES)),
            ("zstd with a window of 2 GiB", ZSTD, vec![0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]),
            ("lz4", LZ4, lz4(LZ4_BYTES)),
            ("lz4 that promises 2^63 bytes", LZ4, lz4_promise()),
            ("snappy", SNAPPY, snappy(SNAPPY_BYTES)),
            ("snappy that promises 4 GiB", SNAPPY, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'x']),
            ("framed snappy", SNAPPY, framed_snappy()),
        ];
        let batch = |(codec, attributes, section): (_, _, Vec<u8>)| {
            (codec, produce_bytes::batch(attributes, 1, &section))
        };
        Ok(Self(sections.into_iter().map(batch).collect()))
    }

    /// Sends all of them; none may be taken, and none may take more memory than what a batch may unpack to.
    pub(super) async fn send(&self, broker: &Broker) -> anyhow::Result<String> {
        let address = broker.kafka();
        Connection::open(address).await?.create_topic(TOPIC, 1).await?;
        let peak_before = broker.peak_resident_bytes()?;
        for (codec, batch) in &self.0 {
            let error = produce_bytes::produce(address, TOPIC, batch).await.context(*codec)?;
            let size = batch.len() >> 10;
            ensure!(REFUSALS.contains(&error), "a bomb of {codec}, {size} KiB, is answered with {error}");
        }
        let peak = broker.peak_resident_bytes()?.saturating_sub(peak_before);
        ensure!(peak <= PEAK_MAX_BYTES, "the bombs took {} MiB at a time", peak >> 20);
        Ok(format!("{} bombs refused, the peak of memory {} MiB above that before", self.0.len(), peak >> 20))
    }
}

/// Members of 16 MiB one after another, as many as a batch can hold: nearly a gibibyte.
fn gzip() -> anyhow::Result<Vec<u8>> {
    const SECTION_BYTES_MAX: usize = (1 << 20) - 1024;
    let member = produce_bytes::bomb(16 << 20)?;
    Ok(member.repeat(SECTION_BYTES_MAX / member.len()))
}

/// A zstd frame of blocks that each repeat one byte: 4 bytes for 128 KiB.
fn zstd(bytes: usize) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const BLOCK: usize = 128 * 1024;
    const REPEATED: usize = 1 << 1;
    // No content size, no checksum; a window of 128 KiB.
    let mut out = [&MAGIC[..], &[0, 7 << 3]].concat();
    let blocks = bytes / BLOCK;
    for block in 1..=blocks {
        let header = BLOCK << 3 | REPEATED | usize::from(block == blocks);
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.push(0);
    }
    out
}

/// An LZ4 frame of blocks of 4 MiB, each one literal and one match as long as the block: 16 KiB for 4 MiB.
fn lz4(bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 4 << 20;
    // Version 1, independent blocks; blocks of up to 4 MiB; the header's checksum is xxHash's second byte.
    let mut out = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    let mut block = vec![0x1f, 0, 1, 0];
    let mut left = BLOCK - 1 - 5 - (4 + 15);
    while left >= 255 {
        block.push(255);
        left -= 255;
    }
    block.push(left as u8);
    block.extend_from_slice(&[0x50, 0, 0, 0, 0, 0]);
    for _ in 0..bytes / BLOCK {
        out.extend_from_slice(&(block.len() as u32).to_le_bytes());
        out.extend_from_slice(&block);
    }
    out.extend_from_slice(&[0; 4]);
    out
}

/// The frame of nothing but a header, which says how large its content is.
fn lz4_promise() -> Vec<u8> {
    // Version 1, independent blocks, a content size; blocks of up to 4 MiB; a checksum that nobody gets to see.
    let mut out = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x70];
    out.extend_from_slice(&(1_u64 << 63).to_le_bytes());
    out.extend_from_slice(&[0; 5]);
    out
}

/// Raw snappy: one literal, then copies of 64 bytes from one byte before.
fn snappy(bytes: usize) -> Vec<u8> {
    const COPY_64_FROM_1: [u8; 3] = [63 << 2 | 2, 1, 0];
    let copies = bytes / 64;
    let mut out = Vec::new();
    let mut left = copies * 64 + 1;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    // A literal of one byte.
    out.extend_from_slice(&[0, 0]);
    out.extend(COPY_64_FROM_1.repeat(copies));
    out
}

/// Java's framing of snappy: blocks that unpack to 64 KiB and are as many as a batch can hold.
fn framed_snappy() -> Vec<u8> {
    const SECTION_BYTES_MAX: usize = (1 << 20) - 1024;
    let block = snappy(64 << 10);
    let mut out = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    while out.len() + 4 + block.len() <= SECTION_BYTES_MAX {
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}
