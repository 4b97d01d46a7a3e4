//! Bytes that no client should send: that connection ends or gets an error, others do not notice, memory stays flat.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::scene::Scene;
use super::stage::Stage;
use crate::kafka_probe;
use crate::produce_bytes::{self, GZIP};

const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// A well-behaved client next door is answered within this.
const NEIGHBOUR_LIMIT: Duration = Duration::from_secs(1);
const GROWTH_MAX_BYTES: u64 = 64 << 20;
/// Connections that announce a large frame and then say nothing more.
const ANNOUNCERS: usize = 50;
const ANNOUNCED_BYTES: i32 = 50 << 20;

/// What has to happen to the connection.
enum Expect {
    Closed,
    /// An answer, or the end: either is fine as long as nobody else notices.
    Anything,
}

fn attacks(random: &mut dyn FnMut() -> u8) -> Vec<(&'static str, Vec<u8>, Expect)> {
    let garbage: Vec<u8> = (0..65_536).map(|_| random()).collect();
    // A high first bit makes the length negative, so that this one must end.
    let mut negative_garbage = garbage.clone();
    negative_garbage[0] |= 0x80;
    vec![
        ("garbage", garbage, Expect::Anything),
        ("garbage with a negative length", negative_garbage, Expect::Closed),
        ("length -1", (-1_i32).to_be_bytes().to_vec(), Expect::Closed),
        ("length 2 GiB - 1", i32::MAX.to_be_bytes().to_vec(), Expect::Closed),
        ("length 0", 0_i32.to_be_bytes().to_vec(), Expect::Closed),
        ("an HTTP request", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Expect::Closed),
        ("a TLS hello", [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..], &[0; 512]].concat(), Expect::Closed),
        ("an unknown API key", request(9_999, 0, &[]), Expect::Closed),
        ("a header cut short", framed(&[0, 18, 0]), Expect::Closed),
        // Metadata version 1 that announces 2^31 - 1 topics in four bytes.
        ("a count beyond the frame", request(3, 1, &i32::MAX.to_be_bytes()), Expect::Closed),
        // Metadata version 9 that announces 2^32 - 1 topics as a varint.
        (
            "a varint count beyond the frame",
            request(3, 9, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Expect::Closed,
        ),
    ]
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

/// A frame with a version 1 request header, a null client id, and `body` as it is.
fn request(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let (api_key, version) = (api_key.to_be_bytes(), version.to_be_bytes());
    framed(&[&api_key[..], &version, &7_i32.to_be_bytes(), &(-1_i16).to_be_bytes(), body].concat())
}

async fn attack(address: SocketAddr, bytes: &[u8], expect: &Expect) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    // The other side may well have closed before it has read everything.
    let _ = connection.write_all(bytes).await;
    if matches!(expect, Expect::Anything) {
        return Ok(());
    }
    let mut rest = Vec::new();
    match timeout(CLOSE_LIMIT, connection.read_to_end(&mut rest)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => bail!("the connection is still open after {} s", CLOSE_LIMIT.as_secs()),
    }
}

/// The neighbour's connection, opened before the attacks, still works.
async fn neighbour(connection: &mut TcpStream, correlation_id: i32, after: &str) -> anyhow::Result<()> {
    match timeout(NEIGHBOUR_LIMIT, kafka_probe::ask(connection, correlation_id)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => bail!("after {after}, the neighbour's request: {error:#}"),
        Err(_) => bail!("after {after}, the neighbour waits for more than {} s", NEIGHBOUR_LIMIT.as_secs()),
    }
}

/// Everything of [`attacks`] on the Kafka port, then many connections that announce a lot and send nothing.
pub(crate) async fn kafka_port(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let address = stage.broker.kafka();
    let attacks = attacks(&mut || stage.random(256) as u8);
    let mut friend = TcpStream::connect(address).await?;
    neighbour(&mut friend, 0, "nothing").await?;
    let before = stage.broker.resident_bytes()?;
    for (round, (name, bytes, expect)) in attacks.iter().enumerate() {
        attack(address, bytes, expect).await.map_err(|error| error.context(*name))?;
        neighbour(&mut friend, round as i32 + 1, name).await?;
    }
    unsupported_version(address).await?;
    let kinds = attacks.len() + 1;
    // Apache Kafka allocates what is announced, and its heap ends here.
    if !stage.broker.speaks_danube() {
        return Ok(format!("{kinds} kinds"));
    }
    let mut announcers = Vec::new();
    for _ in 0..ANNOUNCERS {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(&ANNOUNCED_BYTES.to_be_bytes()).await?;
        connection.write_all(&[0; 1000]).await?;
        announcers.push(connection);
    }
    neighbour(&mut friend, 1_000, "the announcers").await?;
    kafka_probe::answers(address).await?;
    let grown = stage.broker.resident_bytes()?.saturating_sub(before);
    ensure!(grown < GROWTH_MAX_BYTES, "resident memory grew by {} MiB", grown >> 20);
    let announced = ANNOUNCED_BYTES >> 20;
    Ok(format!(
        "{kinds} kinds and {ANNOUNCERS} announcers of {announced} MiB; memory grew by {} KiB",
        grown >> 10
    ))
}

/// ApiVersions in a version from the future is answered in version 0 with error 35, so that a client can step down.
async fn unsupported_version(address: SocketAddr) -> anyhow::Result<()> {
    const UNSUPPORTED_VERSION: i16 = 35;
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(&request(18, 99, &[0, 1, 1, 0])).await?;
    let length = timeout(CLOSE_LIMIT, connection.read_i32()).await??;
    ensure!((10..10_000).contains(&length), "an answer of {length} bytes");
    let correlation_id = connection.read_i32().await?;
    let error_code = connection.read_i16().await?;
    ensure!(correlation_id == 7, "correlation id {correlation_id}");
    ensure!(error_code == UNSUPPORTED_VERSION, "ApiVersions version 99 is answered with error {error_code}");
    Ok(())
}

/// Foreign bytes on the gRPC port while a Danube producer and a worker go on.
pub(crate) async fn grpc_port(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", "orders_sub", &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    let address = stage.broker.grpc();
    let garbage: Vec<u8> = (0..65_536).map(|_| stage.random(256) as u8).collect();
    let attacks = [
        ("a Kafka request", kafka_probe::api_versions_request(1), Expect::Closed),
        ("garbage", garbage.clone(), Expect::Closed),
        ("an HTTP/1.1 request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Expect::Closed),
        ("a preface and garbage", [PREFACE, &garbage].concat(), Expect::Closed),
        ("half a preface", PREFACE[..10].to_vec(), Expect::Anything),
    ];
    let before = stage.broker.resident_bytes()?;
    let mut slowest = Duration::ZERO;
    for (number, (name, bytes, expect)) in attacks.iter().enumerate() {
        attack(address, bytes, expect).await.map_err(|error| error.context(*name))?;
        let sent_at = Instant::now();
        producer.send_with_key(number.to_string().into_bytes(), None, "key").await?;
        let delivery = scene.next().await?;
        ensure!(delivery.text() == number.to_string(), "after {name}, {} came", delivery.text());
        scene.ack(delivery).await?;
        slowest = slowest.max(sent_at.elapsed());
    }
    ensure!(slowest < NEIGHBOUR_LIMIT, "a message took {} ms", slowest.as_millis());
    let grown = stage.broker.resident_bytes()?.saturating_sub(before);
    ensure!(grown < GROWTH_MAX_BYTES, "resident memory grew by {} MiB", grown >> 20);
    Ok(format!("{} kinds; a message took {} ms at most", attacks.len(), slowest.as_millis()))
}

/// Batches that are wrong inside, while a Key-Shared worker reads the topic: each is refused with Kafka's error, and the
/// worker sees the good ones only.
pub(crate) async fn batches(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const CORRUPT_MESSAGE: i16 = 2;
    const BOMB_BYTES: usize = 256 << 20;
    /// One decompression buffer at its bound may stay with the allocator.
    const BOMB_GROWTH_MAX_BYTES: u64 = 160 << 20;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", "orders_sub", &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    let address = stage.broker.kafka();
    let good = |text: &str| produce_bytes::batch(0, 1, &produce_bytes::record(text.as_bytes()));
    let mut wrong_crc = good("wrong");
    *wrong_crc.last_mut().expect("a batch has bytes") ^= 1;
    let mut wrong_magic = good("wrong");
    wrong_magic[16] = 9;
    let mut too_long = good("wrong");
    too_long[11] += 1;
    let section = produce_bytes::record(b"wrong");
    let wrong = [
        ("a wrong CRC", wrong_crc),
        ("magic 9", wrong_magic),
        ("a length beyond the batch", too_long),
        ("two records announced, one there", produce_bytes::batch(0, 2, &section)),
        ("2^31 - 1 records announced", produce_bytes::batch(0, i32::MAX, &section)),
        ("no gzip behind the gzip bit", produce_bytes::batch(GZIP, 1, &section)),
        ("a gzip bomb", produce_bytes::batch(GZIP, 1, &produce_bytes::bomb(BOMB_BYTES)?)),
    ];
    let before = stage.broker.resident_bytes()?;
    for (number, (name, batch)) in wrong.iter().enumerate() {
        let error_code = produce_bytes::produce(address, "orders", batch).await.context(*name)?;
        ensure!(error_code != 0, "{name} is accepted");
        if *name == "a wrong CRC" {
            ensure!(error_code == CORRUPT_MESSAGE, "{name} is refused with error {error_code}");
        }
        let text = format!("good-{number}");
        let error_code = produce_bytes::produce(address, "orders", &good(&text)).await?;
        ensure!(error_code == 0, "after {name}, a good batch is refused with error {error_code}");
        let delivery = scene.next().await?;
        ensure!(delivery.text() == text, "after {name}, the worker got {}", delivery.text());
        scene.ack(delivery).await?;
    }
    let grown = stage.broker.resident_bytes()?.saturating_sub(before);
    ensure!(grown < BOMB_GROWTH_MAX_BYTES, "resident memory grew by {} MiB", grown >> 20);
    Ok(format!("{} kinds refused, the worker saw none; memory grew by {} MiB", wrong.len(), grown >> 20))
}
