//! What no client should send: one connection ends, the others do not notice.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, create_topic, produce_bytes, values},
};
use bytes::{BufMut, Bytes, BytesMut};
use keyway_kafka_wire::{API_VERSIONS, compression::compress, messages::ProduceRequest};
use keyway_record::Compression;

/// A small generator, so that every failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ self.0 >> 29) >> 11
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A broker with a topic, and a client that must stay untouched.
async fn watched() -> (TestBroker, Client) {
    let broker = TestBroker::start().await;
    let mut bystander = broker.connect().await;
    create_topic(&mut bystander, "orders", 1).await;
    append(&mut bystander, "orders", 0, &batch(&["kept"]).build()).await.unwrap();
    (broker, bystander)
}

async fn closes(broker: &TestBroker, what: &str, bytes: &[u8]) {
    let mut client = broker.connect().await;
    client.send_bytes(bytes).await;
    assert_eq!(client.frame().await, None, "{what}");
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat()
}

/// A header of version 1 without a client id.
fn header(api: i16, version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(api);
    out.put_i16(version);
    out.put_i32(1);
    out.put_i16(-1);
    out
}

#[tokio::test]
async fn frames_that_are_none_end_their_connection() {
    let (broker, mut bystander) = watched().await;
    closes(&broker, "HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    closes(&broker, "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    closes(&broker, "TLS", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await;
    closes(&broker, "a negative length", &(-1i32).to_be_bytes()).await;
    closes(&broker, "a length of 2 GiB", &i32::MAX.to_be_bytes()).await;
    closes(&broker, "an empty frame", &framed(&[])).await;
    closes(&broker, "half a header", &framed(&[0, 3, 0])).await;
    closes(&broker, "an unknown key", &framed(&header(999, 0))).await;
    closes(&broker, "a broker-to-broker key", &framed(&header(53, 0))).await;
    closes(&broker, "an API that is not offered", &framed(&header(17, 1))).await;
    closes(&broker, "a future version", &framed(&header(3, 99))).await;
    closes(&broker, "a past version", &framed(&header(1, 3))).await;
    closes(&broker, "a body that is missing", &framed(&header(3, 4))).await;
    // Five bytes that claim two billion topics.
    let mut many = header(3, 4);
    many.put_i32(i32::MAX);
    many.put_u8(0);
    closes(&broker, "a count without elements", &framed(&many)).await;
    assert_eq!(values(&mut bystander, "orders", 0, 0).await, ["kept"]);
}

#[tokio::test]
async fn random_bodies_of_every_api_are_answered_or_refused() {
    let (broker, mut bystander) = watched().await;
    for seed in 0..30 {
        let mut random = Random(seed);
        for row in API_VERSIONS {
            let version = row.min + (random.next() % (row.max - row.min + 1) as u64) as i16;
            let mut body = header(row.api.code(), version);
            // Any version's header may have the byte of no tagged fields; in the others it is part of the garbage.
            body.put_u8(0);
            let len = random.next() as usize % 60;
            body.put_slice(&random.bytes(len));
            let mut client = broker.connect().await;
            client.send_bytes(&framed(&body)).await;
            client.finish_sending().await;
            // Either is right; a hang or a broker that is gone would fail here or below.
            let _ = client.frame().await;
        }
        assert_eq!(values(&mut bystander, "orders", 0, 0).await[0], "kept", "seed {seed}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn changed_batches_are_refused_or_are_still_batches() {
    let (broker, mut bystander) = watched().await;
    let mut client = broker.connect().await;
    let good = batch(&["one", "two", "three"]).build().bytes().to_vec();
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        for _ in 0..=random.next() % 3 {
            let at = random.next() as usize % bytes.len();
            bytes[at] = random.next() as u8;
        }
        bytes.truncate(bytes.len() - [0, 0, 0, 5, 40][random.next() as usize % 5]);
        // With a right checksum the checks behind it have their turn.
        if random.next().is_multiple_of(2) && bytes.len() > 21 {
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        let response = call!(client, Produce, 9, produce_bytes("orders", 0, -1, bytes.into()));
        assert_ne!(response.responses[0].partition_responses[0].error_code, -1, "seed {seed}");
    }
    // Whatever was taken in can be read.
    assert_eq!(values(&mut bystander, "orders", 0, 0).await[0], "kept");
}

#[tokio::test]
async fn a_decompression_bomb_is_refused() {
    let (broker, mut bystander) = watched().await;
    let mut client = broker.connect().await;
    for (attribute, codec) in
        [(1, Compression::Gzip), (2, Compression::Snappy), (3, Compression::Lz4), (4, Compression::Zstd)]
    {
        // 200 MiB of zeros in at most one batch.
        let section = compress(codec, &Bytes::from(vec![0; 200 << 20]));
        let mut bytes = batch(&["x"]).build().bytes()[..61].to_vec();
        bytes.extend_from_slice(&section);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[22] = attribute;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let response = call!(client, Produce, 9, produce_bytes("orders", 0, -1, bytes.into()));
        let error = response.responses[0].partition_responses[0].error_code;
        assert!(matches!(error, 2 | 10), "{codec:?}: {error}");
    }
    assert_eq!(values(&mut bystander, "orders", 0, 0).await, ["kept"]);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let (broker, mut bystander) = watched().await;
    for _ in 0..20 {
        let mut client = broker.connect().await;
        let mut request = crate::requests::fetch("orders", 0, 1);
        request.max_wait_ms = 2_000;
        client.send(&keyway_kafka_wire::messages::Request::Fetch(request), 12).await;
        drop(client);
    }
    let unanswerable = ProduceRequest { acks: -1, ..Default::default() };
    assert!(call!(bystander, Produce, 9, unanswerable).responses.is_empty());
    append(&mut bystander, "orders", 0, &batch(&["next"]).build()).await.unwrap();
    assert_eq!(values(&mut bystander, "orders", 0, 0).await, ["kept", "next"]);
    broker.shutdown().await;
}
