//! Connections that begin something and go on a byte at a time, at every stage of every port: each is ended by the limit
//! that `docs/limits.md` names, and nobody else notices.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Scale;
use super::frames::PACE;
use super::http2::PREFACE;
use crate::broker::{Broker, Launch, free_address};
use crate::kafka_probe;
use crate::neighbour::{self, Turn, Turns};

/// Between two bytes of a connection.
const BYTE_EVERY: Duration = Duration::from_secs(2);
/// What a limit's timer may be late by on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(5);
/// Of all of them together, above what the broker had before.
const GROWTH_MAX_BYTES: u64 = 16 << 20;

/// One place to be slow at.
struct Stage {
    name: &'static str,
    address: SocketAddr,
    /// Said at once.
    said: Vec<u8>,
    /// Said again and again; nothing for one that falls silent.
    trickle: &'static [u8],
    /// When the broker has to end it, as `docs/limits.md` says.
    limit: Duration,
}

/// A broker with ports of every kind.
pub(super) struct Secured {
    pub(super) broker: Broker,
    ssl: SocketAddr,
    sasl: SocketAddr,
}

impl Secured {
    pub(super) async fn start(launch: &Launch, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        let Launch::Keyway { binary, .. } = launch else {
            anyhow::bail!("only this project's broker has limits")
        };
        let (ssl, sasl) = (free_address()?, free_address()?);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (identity, settings) = (folder.join("server.pem"), folder.join("server.properties"));
        fs::write(&identity, format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem()))?;
        fs::set_permissions(&identity, Permissions::from_mode(0o600))?;
        let text = format!(
            "listeners=PLAINTEXT://127.0.0.1:9092,SSL://{ssl},SASL_PLAINTEXT://{sasl}\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={}\n\
             sasl.enabled.mechanisms=PLAIN\n",
            identity.display()
        );
        fs::write(&settings, text)?;
        let options = vec!["--config".to_owned(), settings.display().to_string()];
        let launch = Launch::Keyway { binary: binary.clone(), options };
        let broker = Broker::start(&launch, &folder.join("secured"), log).await?;
        Ok(Self { broker, ssl, sasl })
    }

    fn stages(&self) -> Vec<Stage> {
        let seconds = Duration::from_secs;
        let (kafka, grpc, http) = (self.broker.kafka(), self.broker.grpc(), self.broker.http());
        let versions = kafka_probe::api_versions_request(1);
        let large = (50_i32 << 20).to_be_bytes();
        // SaslHandshake version 1 for PLAIN, and the beginning of SaslAuthenticate version 0 with 100 bytes.
        let handshake = [&[0, 0, 0, 17, 0, 17, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5][..], b"PLAIN"].concat();
        let token =
            [&handshake[..], &[0, 0, 0, 114, 0, 36, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 100, 0]].concat();
        let headers_begun = [PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\0\x3f\0\x01\x04\0\0\0\x01\x83"].concat();
        // A record that holds a hello of nearly 16 KiB.
        let hello = [0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3].to_vec();
        let stage = |name, address, said, trickle, limit| Stage { name, address, said, trickle, limit };
        vec![
            stage("TLS hello", self.ssl, hello, &[0], seconds(10)),
            stage("before ApiVersions", self.sasl, vec![], b"", seconds(10)),
            stage("after ApiVersions", self.sasl, versions.clone(), b"", seconds(10)),
            stage("after SaslHandshake", self.sasl, handshake, b"", seconds(10)),
            stage("SASL token", self.sasl, token, b"a", seconds(10)),
            stage("gRPC preface", grpc, PREFACE[..10].to_vec(), b"", seconds(10)),
            stage("gRPC headers", grpc, headers_begun, &[0x84], seconds(20)),
            stage("frame length", kafka, vec![0, 0], b"", seconds(60)),
            stage("frame header", kafka, versions[..9].to_vec(), b"", seconds(60)),
            stage("frame body", kafka, [&large[..], &versions[4..]].concat(), b"a", seconds(60)),
            stage("HTTP head", http, b"GET /metrics HTTP/1.1\r\nHost: ".to_vec(), b"a", seconds(60)),
        ]
    }

    /// So many connections at each stage that has time for it, until each has ended; then as many in each of so many rounds
    /// of a neighbour.
    pub(super) async fn hold(&mut self, scale: Scale) -> anyhow::Result<String> {
        let Scale { slow_of_each: of_each, slow_rounds: rounds, .. } = scale;
        let kafka = self.broker.kafka();
        neighbour::move_in(kafka).await?;
        let mut stages = self.stages();
        stages.retain(|stage| stage.limit <= scale.slow_limit_max);
        let latest = ended(&stages, of_each).await?;
        let (turns, turn) = Turns::new();
        let holding = in_turns(&self.broker, &stages, of_each, rounds, turn);
        let (grown, compared) = neighbour::beside(kafka, &turns, holding).await?;
        compared.check(scale.bound)?;
        Ok(format!(
            "{} slow connections at {} stages ended by their limits, {:.1} s late at most, {} KiB together; {compared}",
            stages.len() * of_each,
            stages.len(),
            latest.as_secs_f64(),
            grown >> 10
        ))
    }
}

/// So many connections at each stage until all have ended; how late the last of them was.
async fn ended(stages: &[Stage], of_each: usize) -> anyhow::Result<Duration> {
    let mut held = JoinSet::new();
    for stage in stages {
        for _ in 0..of_each {
            let connection = TcpStream::connect(stage.address).await.context(stage.name)?;
            let (name, said, trickle, limit) = (stage.name, stage.said.clone(), stage.trickle, stage.limit);
            held.spawn(async move { evicted(connection, &said, trickle, limit).await.context(name) });
        }
    }
    let (mut latest, mut failed) = (Duration::ZERO, BTreeSet::new());
    while let Some(ended) = held.join_next().await {
        match ended? {
            Ok(late) => latest = latest.max(late),
            Err(error) => _ = failed.insert(format!("{error:#}")),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.into_iter().collect::<Vec<_>>().join("; "));
    Ok(latest)
}

/// Holds them whenever it is its turn; the most memory that they took together.
async fn in_turns(
    broker: &Broker,
    stages: &[Stage],
    of_each: usize,
    rounds: usize,
    mut turn: Turn,
) -> anyhow::Result<u64> {
    let before = broker.resident_bytes()?;
    let mut most = 0;
    for _ in 0..rounds {
        turn.come().await;
        let mut held = Vec::new();
        for stage in stages {
            for _ in 0..of_each {
                let mut connection = TcpStream::connect(stage.address).await.context(stage.name)?;
                connection.write_all(&stage.said).await.context(stage.name)?;
                held.push(connection);
                sleep(PACE).await;
            }
        }
        turn.pass().await;
        most = most.max(broker.resident_bytes()?.saturating_sub(before));
    }
    ensure!(most <= GROWTH_MAX_BYTES, "slow connections took {} KiB", most >> 10);
    Ok(most)
}

/// How much later than its limit the broker ended it.
async fn evicted(
    mut connection: TcpStream,
    said: &[u8],
    trickle: &[u8],
    limit: Duration,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    connection.write_all(said).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let elapsed = begun.elapsed();
        ensure!(elapsed <= limit + LATE_MAX, "still open after {:.0} s", elapsed.as_secs_f64());
        match timeout(BYTE_EVERY, connection.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            // An answer to what was said before, or what the port says of itself.
            Ok(Ok(_)) => continue,
            Err(_) if connection.write_all(trickle).await.is_err() => break,
            Err(_) => {}
        }
    }
    let elapsed = begun.elapsed();
    ensure!(elapsed + LATE_MAX >= limit, "ended after {:.1} s of {}", elapsed.as_secs_f64(), limit.as_secs());
    Ok(elapsed.saturating_sub(limit))
}
