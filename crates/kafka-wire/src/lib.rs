//! Kafka bytes to messages and back: framing, headers, generated messages, compression.

mod api;
mod decode;
mod encode;
pub mod messages;

pub use api::{API_VERSIONS, AdvertisedApi};
pub use decode::{DECODED_BYTES_MAX, DecodeError, Decoder};
pub use encode::EncodeError;
pub use messages::ApiKey;
