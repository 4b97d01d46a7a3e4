//! Cuts the byte stream of a connection into frames.
//!
//! | at | part | type |
//! |---|---|---|
//! | 0 | bytes that follow | i32, big-endian |
//! | 4 | header and body | bytes |

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length in front of every frame.
pub const LENGTH_LEN: usize = 4;

/// Cuts frames of at most so many bytes. Holds no bytes of its own.
#[derive(Clone, Copy, Debug)]
pub struct FrameCutter {
    size_max: usize,
}

/// Why the stream cannot be read further. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length below zero.
    #[error("the frame states a length of {length}")]
    Negative {
        /// The stated length.
        length: i32,
    },
    /// A length above the limit.
    #[error("the frame states a length of {length} bytes; {max} are allowed")]
    TooLarge {
        /// The stated length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are those of an HTTP request.
    #[error("this is an HTTP request; the port speaks the Kafka protocol")]
    Http,
    /// The bytes are those of a TLS handshake.
    #[error("this is a TLS handshake; the port speaks the Kafka protocol without TLS")]
    Tls,
}

impl FrameCutter {
    /// Cuts frames whose stated length is at most `size_max`.
    #[must_use]
    pub fn new(size_max: usize) -> Self {
        Self { size_max }
    }

    /// Takes the next frame off the front of `received`, without its length; `None` if it is not all there yet.
    pub fn cut(&self, received: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(first) = received.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
        let length = self.length(*first)?;
        if received.len() - LENGTH_LEN < length {
            return Ok(None);
        }
        received.advance(LENGTH_LEN);
        Ok(Some(received.split_to(length).freeze()))
    }

    fn length(&self, first: [u8; LENGTH_LEN]) -> Result<usize, FrameError> {
        let length = i32::from_be_bytes(first);
        let Ok(bytes) = usize::try_from(length) else { return Err(FrameError::Negative { length }) };
        match first {
            _ if bytes <= self.size_max => Ok(bytes),
            // A record of type handshake in any TLS version.
            [0x16, 3, ..] => Err(FrameError::Tls),
            _ if HTTP_STARTS.contains(&&first) => Err(FrameError::Http),
            _ => Err(FrameError::TooLarge { length: bytes, max: self.size_max }),
        }
    }
}

/// The first four bytes of HTTP's methods and of HTTP/2's preface, each a length above 1 GiB if taken for one.
const HTTP_STARTS: [&[u8; LENGTH_LEN]; 10] =
    [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI "];

#[cfg(test)]
mod tests {
    use super::*;

    const CUTTER: FrameCutter = FrameCutter { size_max: 100 };

    fn cut(bytes: &[u8]) -> Result<Option<Bytes>, FrameError> {
        CUTTER.cut(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_come_out_in_order_however_the_bytes_arrive() {
        let stream = [&[0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 9]].concat();
        for step in 1..=stream.len() {
            let (mut received, mut frames) = (BytesMut::new(), Vec::new());
            for bytes in stream.chunks(step) {
                received.extend_from_slice(bytes);
                while let Some(frame) = CUTTER.cut(&mut received).unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&[1, 2, 3][..], &[], &[9]], "{step} bytes at a time");
            assert!(received.is_empty());
        }
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_its_bytes_arrive() {
        assert_eq!(cut(&[0xff, 0xff, 0xff, 0xff]), Err(FrameError::Negative { length: -1 }));
        assert_eq!(cut(&[0, 0, 0, 101]), Err(FrameError::TooLarge { length: 101, max: 100 }));
        assert_eq!(cut(&[0, 0, 0, 100]), Ok(None));
    }

    #[test]
    fn other_protocols_are_named() {
        assert_eq!(cut(b"GET / HTTP/1.1\r\n"), Err(FrameError::Http));
        assert_eq!(cut(b"PRI * HTTP/2.0\r\n"), Err(FrameError::Http));
        assert_eq!(cut(&[0x16, 3, 1, 2, 0, 1]), Err(FrameError::Tls));
    }
}
