//! Kafka bytes to messages and back: framing, headers, generated messages, compression.
//!
//! The way of a request: [`FrameCutter`] cuts it from the stream, [`RequestHeader::decode`] says what it is, the
//! `decode` of its message in [`messages`] (or [`produce`]) reads the body, and [`response_frame`] (or
//! [`fetch::FetchResponse::frame`]) writes the answer. Everything between is a value; nothing here reads or waits.
//!
//! The code in [`messages`] is generated from the facts in the folder `messages` of this crate. For a newer Kafka,
//! unpack `common/message` of its `kafka-clients` jar, run `cargo xtask messages import DIR` and `cargo xtask messages
//! generate`, and let the tests' `golden/Golden.java` write its golden bytes.
//!
//! **Invariant:** no input, however short, allocates more than its bytes allow ([`Decoder`]), and nothing decompresses
//! to more than its caller allows ([`compression`]).

mod api;
mod byte_str;
pub mod compression;
mod decode;
mod encode;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod messages;
pub mod produce;
mod records;

pub use api::{API_VERSIONS, AdvertisedApi};
pub use byte_str::ByteStr;
pub use decode::{DECODED_BYTES_MAX, DecodeError, Decoder};
pub use encode::EncodeError;
pub use frame::{FrameCutter, FrameError};
pub use header::{HeaderError, RequestHeader, request_frame, response_frame};
pub use messages::ApiKey;
pub use records::records;
