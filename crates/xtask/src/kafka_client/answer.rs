//! Reading an answer field by field; what does not fit is an error.

use anyhow::{Context, ensure};

/// The bytes after the length, and how far they are read.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> anyhow::Result<&[u8]> {
        let end = self.at.checked_add(count).context("a length that cannot be")?;
        ensure!(end <= self.bytes.len(), "{count} bytes are wanted, {} are left", self.left());
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn array<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }

    pub(crate) fn i8(&mut self) -> anyhow::Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> anyhow::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> anyhow::Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> anyhow::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A list's length; a null list has none.
    pub(crate) fn count(&mut self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    /// A string; null is empty.
    pub(crate) fn text(&mut self) -> anyhow::Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8(self.take(length)?.to_vec())?)
    }

    /// Bytes behind a 32-bit length; null is empty.
    pub(crate) fn bytes(&mut self) -> anyhow::Result<&[u8]> {
        let length = usize::try_from(self.i32()?).unwrap_or(0);
        self.take(length)
    }

    /// A zigzag varint, as records have it.
    pub(crate) fn varint(&mut self) -> anyhow::Result<i64> {
        const BITS_MAX: u32 = 63;
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.array::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
            shift += 7;
            ensure!(shift <= BITS_MAX, "a varint of more than ten bytes");
        }
    }

    /// Bytes behind a varint length; none for null.
    pub(crate) fn varint_bytes(&mut self) -> anyhow::Result<Option<&[u8]>> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}
