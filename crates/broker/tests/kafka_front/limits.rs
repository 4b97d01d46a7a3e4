//! How many may come, and for how long they may say nothing.

use crate::{
    broker::TestBroker,
    broker_configs,
    client::{Client, call},
    fast_clock,
    requests::{append, batch, create_topic, fetch, metadata_of, produce, values},
    sasl,
};
use bytes::Bytes;
use keyway_broker::Config;
use keyway_kafka_wire::{
    ApiKey,
    compression::compress,
    messages::{
        AlterClientQuotasRequest, ListOffsetsRequest, Request, Response, SaslHandshakeRequest,
        alter_client_quotas::*,
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    },
    request_frame,
};
use keyway_log::MemoryStore;
use keyway_record::Compression;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_secs(10);

async fn start(settings: &[(&str, &str)]) -> TestBroker {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TestBroker::on(Arc::new(MemoryStore::new()), Config { settings, ..Config::default() }).await
}

async fn is_served(client: &mut Client) -> bool {
    client.try_send(&Request::Metadata(metadata_of("orders")), 12).await;
    client.frame().await.is_some()
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let broker = start(&[("max.connections.per.ip.overrides", "127.0.0.1:2")]).await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut broker.connect().await).await, "a third");
    drop(first);
    comes_in(async || is_served(&mut broker.connect().await).await.then_some(())).await;
    drop(second);
    broker.shutdown().await;
}

/// The first bytes of an HTTP/2 connection, with an empty SETTINGS frame.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HTTP: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection that says this, if it is answered.
async fn served(address: SocketAddr, words: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The broker may have closed already.
    let _ = stream.write_all(words).await;
    let answered = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("in time");
    matches!(answered, Ok(1..)).then_some(stream)
}

/// A client of the listener with logins, if it is answered.
async fn begins_login(broker: &TestBroker) -> Option<Client> {
    let mut client = sasl::connect(broker).await;
    let request = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
    client.try_send(&Request::SaslHandshake(request), 1).await;
    client.frame().await.map(|_| client)
}

/// Tries again and again for a place that is being given back.
async fn comes_in<T>(connect: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(connected) = connect().await {
            return connected;
        }
        assert!(Instant::now() < until, "no place is given back");
    }
}

#[tokio::test]
async fn the_listeners_of_clients_share_the_connections_of_the_broker() {
    let broker = sasl::broker(&[("max.connections", "3")]).await;
    let mut kafka = broker.connect().await;
    assert!(is_served(&mut kafka).await);
    let login = begins_login(&broker).await.expect("a second, through another listener");
    let _grpc = served(broker.grpc_address(), HTTP_2).await.expect("a third, by another protocol");
    assert!(!is_served(&mut broker.connect().await).await);
    assert!(begins_login(&broker).await.is_none());
    assert!(served(broker.grpc_address(), HTTP_2).await.is_none());
    for (address, words) in [(broker.http_address(), HTTP), (broker.danube_admin_address(), HTTP_2)] {
        assert!(served(address, words).await.is_some(), "an administrator gets in");
    }
    drop(login);
    let _grpc = comes_in(|| served(broker.grpc_address(), HTTP_2)).await;
    assert!(!is_served(&mut broker.connect().await).await, "the place is taken, whoever has it");
    // More while the broker runs.
    assert_eq!(broker_configs::set(&mut kafka, "max.connections", "4").await, 0);
    assert!(is_served(&mut broker.connect().await).await);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_listener_has_its_own_bound_below_that_of_the_broker() {
    const OWN: &str = "listener.name.sasl_plaintext.max.connections";
    let broker = sasl::broker(&[
        (OWN, "1"),
        ("listener.name.grpc.max.connections", "1"),
        ("listener.name.http.max.connections", "1"),
    ])
    .await;
    let mut kafka = broker.connect().await;
    let first = begins_login(&broker).await.expect("the first");
    assert!(begins_login(&broker).await.is_none(), "a second");
    for (address, words) in [(broker.http_address(), HTTP), (broker.grpc_address(), HTTP_2)] {
        let _first = served(address, words).await.expect("the first");
        assert!(served(address, words).await.is_none(), "a second");
    }
    assert!(is_served(&mut kafka).await && is_served(&mut broker.connect().await).await);
    assert_eq!(broker_configs::set(&mut kafka, OWN, "2").await, 0);
    let _second = begins_login(&broker).await.expect("a second, once there may be two");
    assert!(begins_login(&broker).await.is_none(), "a third");
    assert_eq!(broker_configs::value(&mut kafka, OWN).await.as_deref(), Some("2"));
    assert_ne!(broker_configs::set(&mut kafka, OWN, "-1").await, 0);
    drop(first);
    comes_in(|| begins_login(&broker)).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_one_that_asks_is_not() {
    let broker = start(&[("connections.max.idle.ms", "400")]).await;
    let (mut silent, mut asking) = (broker.connect().await, broker.connect().await);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        assert!(is_served(&mut asking).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let begun = Instant::now();
    assert_eq!(silent.frame().await, None);
    assert!(begun.elapsed() < Duration::from_millis(300), "it was closed long ago");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_request_beyond_socket_request_max_bytes_ends_its_connection() {
    let broker = start(&[("socket.request.max.bytes", "1000")]).await;
    let mut client = broker.connect().await;
    assert!(is_served(&mut client).await);
    client.send_bytes(&1_001_i32.to_be_bytes()).await;
    assert_eq!(client.frame().await, None);
    broker.shutdown().await;
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_held_up_and_closed() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let address = EntityData { entity_type: "ip".to_owned(), entity_name: Some("127.0.0.1".to_owned()) };
    let rate = OpData { key: "connection_creation_rate".to_owned(), value: 1.0, remove: false };
    let entries = vec![EntryData { entity: vec![address], ops: vec![rate] }];
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    assert_eq!(call!(client, AlterClientQuotas, 1, request).entries[0].error_code, 0);
    // Ten seconds' worth pass at once.
    for _ in 0..10 {
        assert!(is_served(&mut broker.connect().await).await);
    }
    let begun = Instant::now();
    assert!(!is_served(&mut broker.connect().await).await, "one too many");
    assert!(begun.elapsed() >= Duration::from_millis(500), "closed after {:?}", begun.elapsed());
    assert!(is_served(&mut client).await, "who is in stays in");
    broker.shutdown().await;
}

/// The bound of what a batch may unpack to holds for what comes, and leaves alone what is there.
#[tokio::test]
async fn a_batch_that_decompresses_to_too_much_is_too_large() {
    const SETTING: &str = "max.decompressed.message.bytes";
    const MESSAGE_TOO_LARGE: i16 = 10;
    let broker = start(&[(SETTING, "4000")]).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let of = |codec, bytes: usize| {
        let plain = batch(&[&"x".repeat(bytes)]).build();
        plain.with_record_section(codec, &compress(codec, &plain.record_section()))
    };
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (offset, codec) in (0..).zip(codecs) {
        assert_eq!(append(&mut client, "orders", 0, &of(codec, 3_900)).await, Ok(offset), "{codec:?}");
        assert_eq!(
            append(&mut client, "orders", 0, &of(codec, 4_000)).await,
            Err(MESSAGE_TOO_LARGE),
            "{codec:?}"
        );
    }
    assert_eq!(broker_configs::set(&mut client, SETTING, "1000").await, 0);
    assert_eq!(append(&mut client, "orders", 0, &of(Compression::Zstd, 3_900)).await, Err(MESSAGE_TOO_LARGE));
    // Times are found inside of batches, which are unpacked for it.
    let partition = ListOffsetsPartition { timestamp: 1_000, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let found = &call!(client, ListOffsets, 7, request).topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset), (0, 0));
    for refused in ["0", "67108865", "all"] {
        assert_ne!(broker_configs::set(&mut client, SETTING, refused).await, 0, "{refused}");
    }
    assert_eq!(broker_configs::set(&mut client, SETTING, "67108864").await, 0);
    assert_eq!(append(&mut client, "orders", 0, &of(Compression::Gzip, 600_000)).await, Ok(5));
    broker.shutdown().await;
}

/// All clients together may come so fast, and those of one listener; who comes faster waits, and is served.
#[tokio::test]
async fn connections_beyond_the_rate_wait_and_are_served() {
    beyond_the_rate("max.connection.creation.rate").await;
    beyond_the_rate("listener.name.plaintext.max.connection.creation.rate").await;
}

async fn beyond_the_rate(setting: &str) {
    // Another listener's rate is not looked at.
    let broker = start(&[(setting, "1"), ("listener.name.http.max.connection.creation.rate", "1")]).await;
    // Ten seconds' worth pass at once.
    let begun = Instant::now();
    let mut client = broker.connect().await;
    for _ in 0..9 {
        assert!(is_served(&mut broker.connect().await).await);
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "ten took {:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(is_served(&mut broker.connect().await).await, "the eleventh is not closed");
    assert!(begun.elapsed() >= Duration::from_millis(500), "it was served after {:?}", begun.elapsed());
    assert_eq!(broker_configs::set(&mut client, setting, "2147483647").await, 0);
    let begun = Instant::now();
    for _ in 0..10 {
        assert!(is_served(&mut broker.connect().await).await);
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "ten more took {:?}", begun.elapsed());
    broker.shutdown().await;
}

/// How long a client may take none of its answer, by a clock that runs so fast.
const FASTER: u64 = 30;
const WRITE_STALL: Duration = Duration::from_secs(60).checked_div(FASTER as u32).unwrap();

/// A client that asks for a mebibyte again and again, and the bytes of one request.
async fn asks_for_much(broker: &TestBroker) -> (TcpStream, Bytes) {
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&[&"x".repeat(1_000_000)]).build()).await.unwrap();
    let request = Request::Fetch(fetch("orders", 0, 0));
    let frame = request_frame(ApiKey::Fetch, 12, 1, Some("raw"), |out| request.encode(out, 12)).unwrap();
    (TcpStream::connect(broker.kafka_address()).await.unwrap(), frame)
}

async fn fast_broker() -> TestBroker {
    let world = fast_clock::world(FASTER);
    TestBroker::in_world(world, Arc::new(MemoryStore::new()), Config::default()).await
}

#[tokio::test]
async fn a_client_that_takes_none_of_its_answers_is_closed() {
    let broker = fast_broker().await;
    let (mut client, frame) = asks_for_much(&broker).await;
    let begun = Instant::now();
    // Requests go out until the broker reads no more, and then nothing happens until it closes.
    let asked = async { while client.write_all(&frame).await.is_ok() {} };
    tokio::time::timeout(WRITE_STALL + PATIENCE, asked).await.expect("the connection ends");
    assert!(begun.elapsed() >= WRITE_STALL, "it ended after {:?}", begun.elapsed());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_client_that_takes_its_answers_slowly_is_served() {
    let broker = fast_broker().await;
    let (client, frame) = asks_for_much(&broker).await;
    let (mut read, mut write) = client.into_split();
    let asking = tokio::spawn(async move { while write.write_all(&frame).await.is_ok() {} });
    let begun = Instant::now();
    let mut some = vec![0; 512 * 1024];
    let mut taken = 0;
    // For longer than a client may stand still: less than the broker could send, so that it waits for most of the time.
    while begun.elapsed() < 2 * WRITE_STALL {
        taken += read.read_exact(&mut some).await.expect("it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(taken > 10 << 20, "{taken} bytes are less than what the system keeps by itself");
    assert!(!asking.is_finished(), "it was closed");
    asking.abort();
    broker.shutdown().await;
}

/// Clients that announce much and send little hold nothing that others need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_request_takes_no_memory_from_others() {
    let broker = start(&[("queued.max.request.bytes", "1048576")]).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let mut announcing = Vec::new();
    for _ in 0..20 {
        let mut one = broker.connect().await;
        let announced: i32 = 50 << 20;
        one.send_bytes(&[&announced.to_be_bytes()[..], &[0; 30_000]].concat()).await;
        announcing.push(one);
    }
    let large = batch(&[&"x".repeat(600_000)]).build();
    let appended = append(&mut client, "orders", 0, &large);
    let appended = tokio::time::timeout(Duration::from_secs(5), appended).await;
    assert_eq!(appended.expect("an answer in time"), Ok(0));
    broker.shutdown().await;
}

/// More large requests at a time than there is memory for are all answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_requests_that_come_together_do_not_wait_for_each_other_for_ever() {
    let broker = start(&[("queued.max.request.bytes", "1048576")]).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let large = batch(&[&"x".repeat(900_000)]).build();
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = broker.connect().await;
        let large = large.clone();
        sending.spawn(async move { append(&mut client, "orders", 0, &large).await });
    }
    let all = tokio::time::timeout(Duration::from_secs(20), sending.join_all());
    let all = all.await.expect("all are answered in time");
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    broker.shutdown().await;
}

/// Requests of many MiB, whose pages are their own, between small ones that come with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_requests_of_one_connection_arrive_whole_and_in_order() {
    let broker = start(&[("message.max.bytes", "8388608")]).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let sent =
        ["a".repeat(5 << 20), "b".into(), "c".repeat(2 << 20), "d".repeat((2 << 20) - 100), "e".into()];
    let mut asked = Vec::new();
    for value in &sent {
        let request = produce("orders", 0, -1, &batch(&[value.as_str()]).build());
        asked.push(client.send(&Request::Produce(request), 9).await);
    }
    for (offset, correlation_id) in asked.into_iter().enumerate() {
        let Response::Produce(answer) = client.receive(ApiKey::Produce, 9, correlation_id).await else {
            panic!("another answer")
        };
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset as i64));
    }
    let mut stored = Vec::new();
    while stored.len() < sent.len() {
        stored.extend(values(&mut client, "orders", 0, stored.len() as i64).await);
    }
    assert!(stored == sent, "{:?}", stored.iter().map(String::len).collect::<Vec<_>>());
    broker.shutdown().await;
}
