//! Writes the primitives of Kafka's messages.
//!
//! A value that the version has no field for is left out where Kafka's definitions call it ignorable. In a response,
//! numbers, texts and tagged fields are left out too: an older client did not ask for them, and an answer with one
//! detail less is better than none. Everything else, such as a filter of a request or a list of a response, must not
//! get lost silently: encoding fails with [`EncodeError::Absent`] unless it has its default value. Likewise a null that
//! the version does not allow becomes empty in a response, and [`EncodeError::Null`] in a request.

use bytes::{BufMut, BytesMut};
use keyway_record::{TopicId, varint};
use std::ops::RangeInclusive;

/// Why a message cannot be written. Each is a mistake of the code that made the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field that must not be lost has a value, and the version does not have the field.
    #[error("{message} has no field {field} in version {version}")]
    Absent {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// Null in a version that does not allow it.
    #[error("{field} of {message} must not be null in version {version}")]
    Null {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// Text of more than 32767 bytes, or a list or bytes of more than 2^31 - 1.
    #[error("{message} has a field of length {len}, which is more than the format can say")]
    Length {
        /// The message's name.
        message: &'static str,
        /// The length.
        len: usize,
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
}

/// Appends one message of one version to a buffer.
pub(crate) struct Encoder<'a> {
    out: &'a mut BytesMut,
    message: &'static str,
    version: i16,
    flexible: bool,
}

/// Tagged fields that wait for their count.
pub(crate) struct Tags {
    count: u64,
    bytes: BytesMut,
}

impl<'a> Encoder<'a> {
    /// Starts a message of `version`, in which lengths are compact if it is `flexible`.
    pub(crate) fn begin(
        out: &'a mut BytesMut,
        message: &'static str,
        version: i16,
        versions: RangeInclusive<i16>,
        flexible: bool,
    ) -> Result<Self, EncodeError> {
        if !versions.contains(&version) {
            let (min, max) = versions.into_inner();
            return Err(EncodeError::Version { message, version, min, max });
        }
        Ok(Self { out, message, version, flexible })
    }

    /// Bytes in the buffer so far.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.put_u8(value.into());
    }

    pub(crate) fn uuid(&mut self, value: TopicId) {
        self.out.put_slice(&value.0);
    }

    pub(crate) fn string(&mut self, value: &str) -> Result<(), EncodeError> {
        self.nullable_string(Some(value))
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        let len = value.map(|value| self.bounded(value.len(), i16::MAX as usize)).transpose()?;
        if self.flexible {
            self.compact_len(len);
        } else {
            self.out.put_i16(len.map_or(-1, |len| len as i16));
        }
        self.out.put_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// A string whose length takes two bytes in every version.
    pub(crate) fn nullable_short_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let result = self.nullable_string(value);
        self.flexible = flexible;
        result
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(value))
    }

    pub(crate) fn nullable_bytes(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        self.len(value.map(<[u8]>::len))?;
        self.out.put_slice(value.unwrap_or_default());
        Ok(())
    }

    pub(crate) fn array<T>(
        &mut self,
        elements: &[T],
        write: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.nullable_array(Some(elements), write)
    }

    pub(crate) fn nullable_array<T>(
        &mut self,
        elements: Option<&[T]>,
        mut write: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.len(elements.map(<[T]>::len))?;
        elements.unwrap_or_default().iter().try_for_each(|element| write(self, element))
    }

    pub(crate) fn nullable_struct<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.i8(if value.is_some() { 1 } else { -1 });
        value.map_or(Ok(()), |value| write(self, value))
    }

    /// The length of bytes or a list; `None` for null.
    pub(crate) fn len(&mut self, len: Option<usize>) -> Result<(), EncodeError> {
        let len = len.map(|len| self.bounded(len, i32::MAX as usize)).transpose()?;
        if self.flexible {
            self.compact_len(len);
        } else {
            self.out.put_i32(len.map_or(-1, |len| len as i32));
        }
        Ok(())
    }

    /// An empty set of tagged fields.
    pub(crate) fn tags(&self) -> Tags {
        Tags { count: 0, bytes: BytesMut::new() }
    }

    /// Adds a field to `tags`; tags must come in ascending order.
    pub(crate) fn tag(
        &self,
        tags: &mut Tags,
        tag: u32,
        write: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut field = BytesMut::new();
        write(&mut Encoder { out: &mut field, ..*self })?;
        varint::put_unsigned(&mut tags.bytes, tag.into());
        varint::put_unsigned(&mut tags.bytes, field.len() as u64);
        tags.bytes.put_slice(&field);
        tags.count += 1;
        Ok(())
    }

    pub(crate) fn put_tags(&mut self, tags: Tags) {
        varint::put_unsigned(self.out, tags.count);
        self.out.put_slice(&tags.bytes);
    }

    pub(crate) fn no_tags(&mut self) {
        self.out.put_u8(0);
    }

    /// The error for a field that the version does not have.
    pub(crate) fn absent(&self, field: &'static str) -> EncodeError {
        EncodeError::Absent { message: self.message, field, version: self.version }
    }

    /// The value of a field that the version does not allow to be null.
    pub(crate) fn required<T>(&self, field: &'static str, value: Option<T>) -> Result<T, EncodeError> {
        value.ok_or(EncodeError::Null { message: self.message, field, version: self.version })
    }

    fn bounded(&self, len: usize, max: usize) -> Result<usize, EncodeError> {
        if len > max { Err(EncodeError::Length { message: self.message, len }) } else { Ok(len) }
    }

    fn compact_len(&mut self, len: Option<usize>) {
        varint::put_unsigned(self.out, len.map_or(0, |len| len as u64 + 1));
    }
}

macro_rules! numbers {
    ($($name:ident $put:ident)*) => {
        impl Encoder<'_> {
            $(#[allow(dead_code)]
            pub(crate) fn $name(&mut self, value: $name) {
                self.out.$put(value);
            })*
        }
    };
}

numbers! { i8 put_i8 i16 put_i16 u16 put_u16 i32 put_i32 u32 put_u32 i64 put_i64 f64 put_f64 }
