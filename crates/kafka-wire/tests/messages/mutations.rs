//! Broken input: cut, changed, grown, or nothing but garbage. No panic, and no more memory than the bytes allow.

use super::{
    checks,
    golden::{self, Golden},
    seeds::{Rng, for_seeds},
};
use bytes::{BufMut, Bytes, BytesMut};
use keyway_kafka_wire::{ApiKey, DecodeError, Decoder, compression, messages::Request};
use keyway_record::{Compression, Record, Timestamp, batch::BatchBuilder};

fn check(golden: &Golden, body: Bytes) {
    match golden.is_request {
        true => checks::request(golden.api, golden.version, body),
        false => checks::response(golden.api, golden.version, body),
    }
}

/// Changes a few bytes, more often to values that are lengths and counts at their limits.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = rng.next() as u8,
            2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            _ => bytes.insert(at, rng.next() as u8),
        }
    }
}

#[test]
fn cut_messages_end_in_an_error() {
    for golden in golden::all() {
        for len in 0..golden.bytes.len() {
            let cut = golden.bytes.slice(..len);
            if golden.is_request {
                let error = Request::decode(golden.api, &mut Decoder::new(cut), golden.version);
                assert!(error.is_err(), "{:?} v{} cut at {len}", golden.api, golden.version);
            } else {
                check(&golden, cut);
            }
        }
    }
}

#[test]
fn damaged_messages_neither_panic_nor_take_memory() {
    let all: Vec<_> = golden::all().collect();
    for_seeds(200, |rng| {
        for golden in &all {
            let mut bytes = golden.bytes.to_vec();
            damage(rng, &mut bytes);
            check(golden, bytes.into());
        }
    });
}

#[test]
fn garbage_neither_panics_nor_takes_memory() {
    for_seeds(20_000, |rng| {
        let data: Vec<u8> =
            (0..rng.below(60)).map(|_| rng.next() as u8 & [0xff, 0x81, 0x03][rng.below(3)]).collect();
        checks::any_message(&data);
        checks::produce_request(&data);
        checks::connection(&data);
        checks::compressed(&data);
        checks::record_batch(&data);
    });
}

#[test]
fn five_bytes_cannot_ask_for_memory() {
    for byte in [0x7f, 0xff, 0xfe, 0x80] {
        for api in ApiKey::ALL {
            for version in api.versions().into_iter().flatten() {
                for len in 0..=5 {
                    let mut body = vec![byte; len];
                    body.resize(5, 0x7f);
                    checks::request(*api, version, body.clone().into());
                    checks::response(*api, version, body.into());
                }
            }
        }
    }
    // A Metadata request that states 2^31 - 1 topics.
    let mut input = Decoder::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]));
    let error = Request::decode(ApiKey::Metadata, &mut input, 1).unwrap_err();
    assert_eq!(error, DecodeError::Count { at: 0, count: 0x7fff_ffff, remaining: 1 });
    assert_eq!(input.memory(), 0);
}

#[test]
fn a_frame_full_of_tiny_elements_hits_the_memory_bound() {
    // 20 million empty topic names: 40 MB of frame would be 800 MB of structs.
    let mut body = BytesMut::new();
    body.put_i32(20_000_000);
    body.put_bytes(0, 40_000_000);
    let mut input = Decoder::new(body.freeze());
    let error = Request::decode(ApiKey::Metadata, &mut input, 1).unwrap_err();
    assert!(matches!(error, DecodeError::Memory { .. }), "{error:?}");
    assert_eq!(input.memory(), 0);
}

#[test]
fn damaged_produce_requests_read_alike_by_hand() {
    let all: Vec<_> =
        golden::all().filter(|golden| golden.api == ApiKey::Produce && golden.is_request).collect();
    for_seeds(500, |rng| {
        for golden in &all {
            let mut data = golden.bytes.to_vec();
            damage(rng, &mut data);
            data.insert(0, (golden.version - 3) as u8);
            checks::produce_request(&data);
        }
    });
}

#[test]
fn damaged_batches_neither_panic_nor_grow() {
    let plain = {
        let mut builder = BatchBuilder::new(Timestamp(1));
        for i in 0..50 {
            let value = Some(Bytes::from(vec![i; 100]));
            builder.push(Timestamp(1), Record { value, ..Record::default() });
        }
        builder.build()
    };
    for_seeds(300, |rng| {
        for code in 0..5 {
            let codec = Compression::of_code(code).expect("below five");
            let mut data = compression::compress(codec, &plain.record_section()).to_vec();
            damage(rng, &mut data);
            data.insert(0, code);
            checks::compressed(&data);
        }
        let mut batch = plain.bytes().to_vec();
        damage(rng, &mut batch);
        checks::record_batch(&batch);
    });
}
