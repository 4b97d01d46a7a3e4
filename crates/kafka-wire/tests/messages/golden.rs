//! Bytes that Apache Kafka 4.3's own classes wrote. `golden/Golden.java` made them, and says how.

use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{
    ApiKey, Decoder,
    messages::{Request, Response},
};
use std::collections::BTreeSet;

/// One line of the file.
pub(crate) struct Golden {
    pub(crate) api: ApiKey,
    pub(crate) is_request: bool,
    pub(crate) version: i16,
    pub(crate) bytes: Bytes,
    fields: &'static str,
}

pub(crate) fn all() -> impl Iterator<Item = Golden> {
    include_str!("golden/golden.txt").lines().map(|line| {
        let [api, side, version, hex, fields] = line.splitn(5, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let api = ApiKey::ALL.iter().copied().find(|key| key.name() == api).expect("an API of ours");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes = if hex == "-" { Bytes::new() } else { (0..hex.len()).step_by(2).map(byte).collect() };
        Golden {
            api,
            is_request: side == "request",
            version: version.parse().expect("a number"),
            bytes,
            fields,
        }
    })
}

/// The fields as Rust shows them, without the variant's name in front and without `Some(…)`.
fn shown(message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:?}");
    let (_, message) = text.split_once('(').expect("a variant of the enum");
    let message = message.replace("Some(", "").replace(')', "");
    // What has the name of another part of the request bears a longer one here.
    ["[", ": ", ", "].iter().fold(message, |text, before| text.replace(&format!("{before}Response"), before))
}

#[test]
fn kafkas_bytes_decode_to_kafkas_fields_and_encode_to_the_same_bytes() {
    for Golden { api, is_request, version, bytes, fields } in all() {
        let (mut input, mut out) = (Decoder::new(bytes.clone()), BytesMut::new());
        let shown = if is_request {
            let message = Request::decode(api, &mut input, version).expect("Kafka's bytes");
            message.encode(&mut out, version).expect("what was decoded");
            shown(&message)
        } else {
            let message = Response::decode(api, &mut input, version).expect("Kafka's bytes");
            message.encode(&mut out, version).expect("what was decoded");
            shown(&message)
        };
        assert_eq!(shown, fields, "{api:?} v{version}");
        assert_eq!(out.freeze(), bytes, "{api:?} v{version} {fields}");
        input.finish().expect("nothing remains");
    }
}

#[test]
fn the_file_has_every_version_of_every_api() {
    let seen: BTreeSet<_> = all().map(|line| (line.api, line.version, line.is_request)).collect();
    for api in ApiKey::ALL {
        for version in api.versions().into_iter().flatten() {
            assert!(seen.contains(&(*api, version, true)), "{api:?} v{version} request");
            assert!(seen.contains(&(*api, version, false)), "{api:?} v{version} response");
        }
    }
}
