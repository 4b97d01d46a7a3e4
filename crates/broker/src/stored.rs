//! What the records of the internal topics have in common: pieces of bytes with their length before them.

use bytes::{Buf, BufMut, BytesMut, TryGetError};

/// Appends `piece` with its length as u16, big-endian. Whoever stores it has bounded it.
pub(crate) fn put_piece(out: &mut BytesMut, piece: impl AsRef<[u8]>) {
    let piece = piece.as_ref();
    out.put_u16(u16::try_from(piece.len()).expect("what is stored is bounded"));
    out.put_slice(piece);
}

/// Takes what [`put_piece`] appended.
pub(crate) fn take_piece(rest: &mut impl Buf) -> Result<Vec<u8>, TryGetError> {
    let mut piece = vec![0; usize::from(rest.try_get_u16()?)];
    rest.try_copy_to_slice(&mut piece)?;
    Ok(piece)
}

/// The text that a stored piece is.
pub(crate) fn text(piece: impl Into<Vec<u8>>) -> Result<String, String> {
    String::from_utf8(piece.into()).map_err(|error| error.to_string())
}

/// All that differs from `bytes` in one byte, and every cut of it: what a decoder has to read or refuse without a panic.
#[cfg(test)]
pub(crate) fn damaged(bytes: &[u8]) -> impl Iterator<Item = bytes::Bytes> {
    let changed = (0..bytes.len()).flat_map(move |at| {
        (0..=u8::MAX).map(move |value| {
            let mut damaged = bytes.to_vec();
            damaged[at] = value;
            damaged
        })
    });
    changed.chain((0..bytes.len()).map(|len| bytes[..len].to_vec())).map(bytes::Bytes::from)
}
