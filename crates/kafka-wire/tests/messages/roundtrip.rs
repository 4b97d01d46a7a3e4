//! Random messages of every API and version come back as the bytes they were.

use super::{facts, random, seeds::for_seeds};
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{
    ApiKey, DecodeError, Decoder, EncodeError,
    messages::{Request, Response},
};

/// What is needed of either enum.
trait Message: PartialEq + std::fmt::Debug + Sized {
    fn read(api: ApiKey, input: &mut Decoder, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError>;
}

macro_rules! message {
    ($($name:ident)*) => {$(
        impl Message for $name {
            fn read(api: ApiKey, input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
                Self::decode(api, input, version)
            }

            fn write(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
                self.encode(out, version)
            }
        }
    )*};
}

message! { Request Response }

fn decoded<M: Message>(api: ApiKey, bytes: &Bytes, version: i16) -> M {
    let mut input = Decoder::new(bytes.clone());
    let message = M::read(api, &mut input, version).expect("a whole message");
    input.finish().expect("nothing remains");
    message
}

fn comes_back<M: Message>(api: ApiKey, bytes: Bytes, version: i16) {
    let message: M = decoded(api, &bytes, version);
    let mut out = BytesMut::new();
    message.write(&mut out, version).expect("what was decoded in a version can be encoded in it");
    assert_eq!(out.freeze(), bytes, "{message:?} v{version}");
}

#[test]
fn random_messages_of_every_version_come_back_byte_for_byte() {
    let messages = facts::all();
    for_seeds(100, |rng| {
        for message in &messages {
            let api = ApiKey::of_code(message.api).expect("an API of ours");
            for version in message.versions.clone() {
                let bytes = Bytes::from(random::bytes(rng, message, version, false));
                match message.is_request {
                    true => comes_back::<Request>(api, bytes, version),
                    false => comes_back::<Response>(api, bytes, version),
                }
            }
        }
    });
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let messages = facts::all();
    for_seeds(100, |rng| {
        for message in &messages {
            let api = ApiKey::of_code(message.api).expect("an API of ours");
            for version in message.versions.clone().filter(|version| message.flexible.contains(version)) {
                let bytes = Bytes::from(random::bytes(rng, message, version, true));
                match message.is_request {
                    true => known_fields_stay::<Request>(api, &bytes, version),
                    false => known_fields_stay::<Response>(api, &bytes, version),
                }
            }
        }
    });
}

/// Decoded, encoded without the unknown fields, decoded: the same message, in no more bytes.
fn known_fields_stay<M: Message>(api: ApiKey, bytes: &Bytes, version: i16) {
    let message: M = decoded(api, bytes, version);
    let mut out = BytesMut::new();
    message.write(&mut out, version).expect("what was decoded in a version can be encoded in it");
    assert!(out.len() <= bytes.len());
    assert_eq!(decoded::<M>(api, &out.freeze(), version), message);
}
