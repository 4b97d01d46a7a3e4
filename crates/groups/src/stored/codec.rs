//! The fields that stored records are made of.

use super::GroupRecordError;
use crate::message::Protocol;
use bytes::{BufMut, Bytes};
use keyway_record::Timestamp;
use std::sync::Arc;

/// The one version of every value.
pub(crate) const VERSION: u8 = 1;

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("bounded far below 4 Gi by the request that brought it"));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

pub(crate) fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

pub(crate) fn put_optional_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    out.put_u8(u8::from(time.is_some()));
    if let Some(time) = time {
        out.put_i64(time.0);
    }
}

pub(crate) fn version(value: &mut &[u8]) -> Result<(), GroupRecordError> {
    match take_u8(value)? {
        VERSION => Ok(()),
        version => Err(GroupRecordError::Version { version }),
    }
}

pub(crate) fn at_end(rest: &[u8]) -> Result<(), GroupRecordError> {
    match rest.len() {
        0 => Ok(()),
        bytes => Err(GroupRecordError::Trailing { bytes }),
    }
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], GroupRecordError> {
    let (head, tail) = rest.split_first_chunk().ok_or(GroupRecordError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

pub(crate) fn take_u8(rest: &mut &[u8]) -> Result<u8, GroupRecordError> {
    take(rest).map(u8::from_be_bytes)
}

pub(crate) fn take_u32(rest: &mut &[u8]) -> Result<u32, GroupRecordError> {
    take(rest).map(u32::from_be_bytes)
}

pub(crate) fn take_i32(rest: &mut &[u8]) -> Result<i32, GroupRecordError> {
    take(rest).map(i32::from_be_bytes)
}

pub(crate) fn take_i64(rest: &mut &[u8]) -> Result<i64, GroupRecordError> {
    take(rest).map(i64::from_be_bytes)
}

pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], GroupRecordError> {
    let len = take_u32(rest)? as usize;
    let (head, tail) = rest.split_at_checked(len).ok_or(GroupRecordError::Truncated)?;
    *rest = tail;
    Ok(head)
}

pub(crate) fn take_text(rest: &mut &[u8]) -> Result<Arc<str>, GroupRecordError> {
    let text = str::from_utf8(take_bytes(rest)?).map_err(|_| GroupRecordError::Field)?;
    Ok(text.into())
}

pub(crate) fn take_optional<T>(
    rest: &mut &[u8],
    take: impl FnOnce(&mut &[u8]) -> Result<T, GroupRecordError>,
) -> Result<Option<T>, GroupRecordError> {
    match take_u8(rest)? {
        0 => Ok(None),
        1 => take(rest).map(Some),
        _ => Err(GroupRecordError::Field),
    }
}

pub(crate) fn put_protocols(out: &mut Vec<u8>, protocols: &[Protocol]) {
    put_count(out, protocols.len());
    for protocol in protocols {
        put_bytes(out, protocol.name.as_bytes());
        put_bytes(out, &protocol.metadata);
    }
}

pub(crate) fn take_protocols(rest: &mut &[u8]) -> Result<Vec<Protocol>, GroupRecordError> {
    let count = take_u32(rest)?;
    let protocol = |_| {
        let name = take_text(rest)?;
        Ok(Protocol { name, metadata: Bytes::copy_from_slice(take_bytes(rest)?) })
    };
    (0..count).map(protocol).collect()
}
