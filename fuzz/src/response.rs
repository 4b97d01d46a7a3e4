//! A response body: two bytes of API, one of version, and what a broker might have sent.

use bytes::Bytes;
use keyway_kafka_wire::{ApiKey, Decoder, messages::Response};

/// See the module.
pub fn run(data: &[u8]) {
    let Some(([key_high, key_low, version], body)) = data.split_first_chunk::<3>() else { return };
    let Some(api) = ApiKey::of_code(i16::from_be_bytes([*key_high, *key_low])) else { return };
    let mut body = Decoder::new(Bytes::copy_from_slice(body));
    let _ = Response::decode(api, &mut body, i16::from(*version));
}
