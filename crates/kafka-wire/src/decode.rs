//! Reads the primitives of Kafka's messages from a frame, never believing a length or a count.
//!
//! **Invariant:** what is allocated is bounded twice: a count by the bytes that remain (each element takes at least
//! one), and everything together by [`DECODED_BYTES_MAX`].

use crate::{ApiKey, ByteStr};
use bytes::Bytes;
use keyway_record::{TopicId, varint};
use std::ops::RangeInclusive;

/// Most bytes that the structs, lists and texts of one message may take in memory. A 100 MiB frame full of two-byte
/// elements would otherwise become gigabytes; records and other byte fields are slices of the frame and cost nothing.
pub const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why bytes are not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends before the field does.
    #[error("at byte {at}: a field needs {needed} bytes, {remaining} remain")]
    Truncated {
        /// Where in the message.
        at: usize,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that were left.
        remaining: usize,
    },
    /// A length or count below zero that does not mean null.
    #[error("at byte {at}: the length {length} is impossible")]
    Length {
        /// Where in the message.
        at: usize,
        /// The length.
        length: i32,
    },
    /// A count of more elements than the bytes that remain could hold.
    #[error("at byte {at}: {count} elements cannot fit into the {remaining} bytes that remain")]
    Count {
        /// Where in the message.
        at: usize,
        /// The stated count.
        count: usize,
        /// Bytes that were left.
        remaining: usize,
    },
    /// A varint that is cut short or longer than 32 bits.
    #[error("at byte {at}: the varint is malformed")]
    Varint {
        /// Where in the message.
        at: usize,
    },
    /// Null where the version does not allow it.
    #[error("at byte {at}: the field must not be null")]
    Null {
        /// Where in the message.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("at byte {at}: the text is not UTF-8")]
    Utf8 {
        /// Where in the message.
        at: usize,
    },
    /// The message would take more memory than [`DECODED_BYTES_MAX`].
    #[error("at byte {at}: the message takes more than {DECODED_BYTES_MAX} bytes of memory")]
    Memory {
        /// Where in the message.
        at: usize,
    },
    /// Bytes remain after the last field, of the message or of a tagged field.
    #[error("at byte {at}: {remaining} bytes follow the last field")]
    Trailing {
        /// Where in the message.
        at: usize,
        /// How many bytes remain.
        remaining: usize,
    },
    /// A version that the message does not have.
    #[error("{message} has no version {version}; it has {min} to {max}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
        /// The lowest version.
        min: i16,
        /// The highest version.
        max: i16,
    },
    /// An API whose messages are not here.
    #[error("the messages of {} are not implemented", api.name())]
    Api {
        /// The API.
        api: ApiKey,
    },
}

/// A walk over the bytes of one message. Byte fields come out as slices of them.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    at: usize,
    /// Where the message, or the tagged field that is being read, ends.
    end: usize,
    /// Whether lengths are compact and tagged fields exist.
    flexible: bool,
    memory_left: usize,
}

impl Decoder {
    /// A walk over `bytes`, from the first.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let end = bytes.len();
        Self { bytes, at: 0, end, flexible: false, memory_left: DECODED_BYTES_MAX }
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// The bytes that were not read yet, sharing the frame's buffer.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..self.end)
    }

    /// Bytes of memory that the structs, lists and texts read so far were allowed to take.
    #[must_use]
    pub fn memory(&self) -> usize {
        DECODED_BYTES_MAX - self.memory_left
    }

    /// Checks that everything was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(DecodeError::Trailing { at: self.at, remaining }),
        }
    }

    /// Starts a message of `version`, in which lengths are compact if it is `flexible`.
    pub(crate) fn begin(
        &mut self,
        message: &'static str,
        version: i16,
        versions: RangeInclusive<i16>,
        flexible: bool,
    ) -> Result<(), DecodeError> {
        if !versions.contains(&version) {
            let (min, max) = versions.into_inner();
            return Err(DecodeError::Version { message, version, min, max });
        }
        self.flexible = flexible;
        Ok(())
    }

    /// One byte, false if zero.
    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A string whose length takes two bytes in every version.
    pub(crate) fn nullable_short_string(&mut self) -> Result<Option<String>, DecodeError> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let text = self.nullable_string();
        self.flexible = flexible;
        text
    }

    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        self.nullable_string()?.ok_or(DecodeError::Null { at: self.at })
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(range) = self.string_range()? else { return Ok(None) };
        self.charge(range.len())?;
        let at = range.start;
        let text = std::str::from_utf8(&self.bytes[range]).map_err(|_| DecodeError::Utf8 { at })?;
        Ok(Some(text.to_owned()))
    }

    /// A string that shares the frame's buffer.
    pub(crate) fn byte_str(&mut self) -> Result<ByteStr, DecodeError> {
        self.nullable_byte_str()?.ok_or(DecodeError::Null { at: self.at })
    }

    /// A string that shares the frame's buffer, or null.
    pub(crate) fn nullable_byte_str(&mut self) -> Result<Option<ByteStr>, DecodeError> {
        let Some(range) = self.string_range()? else { return Ok(None) };
        let at = range.start;
        ByteStr::try_from(self.bytes.slice(range)).map(Some).map_err(|_| DecodeError::Utf8 { at })
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        self.nullable_bytes()?.ok_or(DecodeError::Null { at: self.at })
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let len =
            if self.flexible { self.compact_len()? } else { self.i32().and_then(|len| self.len_of(len))? };
        let Some(len) = len else { return Ok(None) };
        let range = self.advance(len)?;
        Ok(Some(self.bytes.slice(range)))
    }

    pub(crate) fn uuid(&mut self) -> Result<TopicId, DecodeError> {
        self.take().map(TopicId)
    }

    /// A list whose elements take at least `len_min` bytes each.
    pub(crate) fn array<T>(
        &mut self,
        len_min: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(len_min, read)?.ok_or(DecodeError::Null { at: self.at })
    }

    /// A list, or null, whose elements take at least `len_min` bytes each.
    pub(crate) fn nullable_array<T>(
        &mut self,
        len_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count(len_min)? else { return Ok(None) };
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// A struct, or null, which a byte in front tells.
    pub(crate) fn nullable_struct<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// The count of a list whose elements take at least `len_min` bytes each: never more than can be there.
    fn count(&mut self, len_min: usize) -> Result<Option<usize>, DecodeError> {
        assert!(len_min > 0, "an element takes at least one byte");
        let at = self.at;
        let count =
            if self.flexible { self.compact_len()? } else { self.i32().and_then(|len| self.len_of(len))? };
        match count {
            Some(count) if count > self.remaining() / len_min => {
                Err(DecodeError::Count { at, count, remaining: self.remaining() })
            }
            count => Ok(count),
        }
    }

    /// Where the bytes of a string lie, and that they are there; `None` for null.
    fn string_range(&mut self) -> Result<Option<std::ops::Range<usize>>, DecodeError> {
        let at = self.at;
        let len = if self.flexible {
            self.compact_len()?
        } else {
            self.i16().and_then(|len| self.len_of(len.into()))?
        };
        match len {
            // A compact length could say more; Kafka refuses it, and the other form could not carry it on.
            Some(len) if len > i16::MAX as usize => Err(DecodeError::Length { at, length: len as i32 }),
            len => len.map(|len| self.advance(len)).transpose(),
        }
    }

    /// Reads tagged fields. `known` reads the ones that it knows and returns whether it did; others are skipped.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let at = self.at;
        let count = self.varint()? as usize;
        // A tag and its length take two bytes, which bounds the loop.
        if count > self.remaining() / 2 {
            return Err(DecodeError::Count { at, count, remaining: self.remaining() });
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let len = self.varint()? as usize;
            let field = self.advance(len)?;
            let end = std::mem::replace(&mut self.end, field.end);
            self.at = field.start;
            if known(tag, self)? {
                self.finish()?;
            }
            self.at = field.end;
            self.end = end;
        }
        Ok(())
    }

    /// Skips tagged fields where none is known.
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory_left = self.memory_left.checked_sub(bytes).ok_or(DecodeError::Memory { at: self.at })?;
        Ok(())
    }

    /// A length as a varint, plus one; zero is null.
    fn compact_len(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.varint()? as usize).checked_sub(1))
    }

    /// A length as a number; -1 is null.
    fn len_of(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| DecodeError::Length { at: self.at, length }),
        }
    }

    fn varint(&mut self) -> Result<u32, DecodeError> {
        let malformed = DecodeError::Varint { at: self.at };
        let mut rest = &self.bytes[self.at..self.end];
        let value = varint::take_unsigned(&mut rest).ok_or(malformed)?;
        self.at = self.end - rest.len();
        u32::try_from(value).map_err(|_| malformed)
    }

    /// Moves over `len` bytes and returns where they are.
    fn advance(&mut self, len: usize) -> Result<std::ops::Range<usize>, DecodeError> {
        let (at, remaining) = (self.at, self.remaining());
        if len > remaining {
            return Err(DecodeError::Truncated { at, needed: len, remaining });
        }
        self.at += len;
        Ok(at..self.at)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let range = self.advance(N)?;
        Ok(self.bytes[range].try_into().expect("N bytes"))
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {
        impl Decoder {
            $(#[allow(dead_code)]
            pub(crate) fn $name(&mut self) -> Result<$name, DecodeError> {
                self.take().map($name::from_be_bytes)
            })*
        }
    };
}

numbers! { i8 i16 u16 i32 u32 i64 f64 }
