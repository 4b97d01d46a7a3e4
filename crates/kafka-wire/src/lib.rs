//! Kafka bytes to messages and back: framing, headers, generated messages, compression.

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
