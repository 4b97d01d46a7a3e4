//! Requests as clients sent them and as Kafka's own encoder writes them, changed at random.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::neighbour::Turn;
use crate::random::Random;
use crate::workspace;

/// Bytes of Kafka's own encoder, for every API and version.
const GOLDEN: &str = "crates/kafka-wire/tests/messages/golden/golden.txt";
const APIS: &str = "crates/kafka-wire/messages/apis.txt";

/// Most changes of one frame.
const CHANGES_MAX: u64 = 4;
/// Versions that are tried, from -1 on: more than any API has.
const VERSIONS: u64 = 24;
/// One frame of so many keeps a length that is not its own.
const WRONG_LENGTH_OF: u64 = 20;
/// Between two frames beside a neighbour: as fast as it goes, a core of the machine is the attacker's, and what is seen is
/// that.
pub(super) const PACE: Duration = Duration::from_millis(2);
/// A frame that is not answered by then waits for something: for records, for members, for bytes.
const ANSWER_LIMIT: Duration = Duration::from_millis(50);
/// No answer here is longer.
const ANSWER_BYTES_MAX: u32 = 128 << 20;

/// What became of the frames.
#[derive(Clone, Copy, Default)]
pub(super) struct Sent {
    answered: u64,
    closed: u64,
    silent: u64,
}

impl Sent {
    /// Both of what may happen did happen, or nothing was tried.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { answered, closed, .. } = self;
        ensure!(*answered > 0 && *closed > 0, "nothing is answered, or nothing refused: {self}");
        Ok(())
    }

    pub(super) fn answered(&mut self) {
        self.answered += 1;
    }

    pub(super) fn closed(&mut self) {
        self.closed += 1;
    }

    pub(super) fn silent(&mut self) {
        self.silent += 1;
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.answered + self.closed + self.silent;
        let Self { answered, closed, silent } = self;
        write!(f, "{all} changed frames ({answered} answered, {closed} closed, {silent} silent)")
    }
}

/// A request as a client sent it, behind its length.
pub(super) fn whole(request: &[u8]) -> Vec<u8> {
    let mut frame = [&[0; 4], request].concat();
    set_length(&mut frame);
    frame
}

/// Whole requests, their lengths included.
pub(super) fn corpus() -> anyhow::Result<Vec<Vec<u8>>> {
    let root = workspace::root();
    let apis = fs::read_to_string(root.join(APIS)).context(APIS)?;
    let apis: BTreeMap<&str, (i16, Option<i16>)> = apis.lines().map(api).collect::<anyhow::Result<_>>()?;
    let golden = fs::read_to_string(root.join(GOLDEN)).context(GOLDEN)?;
    let mut frames = Vec::new();
    for line in golden.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some("request"), Some(version), Some(hex)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let version: i16 = version.parse().with_context(|| format!("version of {name}"))?;
        let &(key, flexible_from) = apis.get(name).with_context(|| format!("no API {name}"))?;
        let flexible = flexible_from.is_some_and(|from| version >= from);
        frames.push(frame(key, version, flexible, &bytes(hex)?));
    }
    ensure!(frames.len() > 300, "only {} requests in {GOLDEN}", frames.len());
    Ok(frames)
}

/// `KEY NAME VERSIONS flexible VERSIONS`.
fn api(line: &str) -> anyhow::Result<(&str, (i16, Option<i16>))> {
    let words: Vec<&str> = line.split(' ').collect();
    let [key, name, _, "flexible", flexible] = words[..] else { anyhow::bail!("no API: {line}") };
    let from: String = flexible.chars().take_while(char::is_ascii_digit).collect();
    Ok((name, (key.parse()?, from.parse().ok())))
}

fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

fn frame(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    const CLIENT_ID: &[u8] = b"hostile";
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend((CLIENT_ID.len() as i16).to_be_bytes());
    frame.extend(CLIENT_ID);
    if flexible {
        frame.push(0);
    }
    frame.extend(body);
    set_length(&mut frame);
    frame
}

fn set_length(frame: &mut [u8]) {
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

/// Values at the edges of what fields hold.
const EDGES: [i32; 6] = [0, -1, 1, i32::MAX, i32::MIN, 0x00ff_ffff];

fn changed(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut frame = corpus[random.below(corpus.len() as u64) as usize].clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        let at = 4 + random.below((frame.len() - 4).max(1) as u64) as usize;
        match random.below(8) {
            0 if at < frame.len() => frame[at] ^= 1 << random.below(8),
            1 if at < frame.len() => frame[at] = random.next() as u8,
            2 if at + 4 <= frame.len() => {
                let edge = EDGES[random.below(EDGES.len() as u64) as usize];
                frame[at..at + 4].copy_from_slice(&edge.to_be_bytes());
            }
            3 => frame.truncate(at.max(8)),
            4 => {
                let new: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
                frame.splice(at.min(frame.len())..at.min(frame.len()), new);
            }
            5 if frame.len() >= 8 => {
                // Another version of the same API, or one that nobody has.
                let version = random.below(VERSIONS) as i16 - 1;
                frame[6..8].copy_from_slice(&version.to_be_bytes());
            }
            // The count of a compact list or the length of a compact string, as large as can be.
            6 if at + 5 <= frame.len() => frame[at..at + 5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
            _ => {
                // The end of another request behind the beginning of this one.
                let other = &corpus[random.below(corpus.len() as u64) as usize];
                frame.truncate(at);
                frame.extend(&other[random.below(other.len() as u64) as usize..]);
            }
        }
    }
    if random.below(WRONG_LENGTH_OF) > 0 {
        set_length(&mut frame);
    }
    frame
}

/// Sends so many changed frames, one after another, each when it is its turn; each is answered, ends its connection, or is
/// given up.
pub(super) async fn send(
    address: SocketAddr,
    corpus: &[Vec<u8>],
    random: &mut Random,
    count: u64,
    mut turn: Option<Turn>,
) -> anyhow::Result<Sent> {
    let mut sent = Sent::default();
    let mut connection = None;
    for _ in 0..count {
        if let Some(turn) = &mut turn {
            turn.come().await;
            sleep(PACE).await;
        }
        let frame = changed(corpus, random);
        let mut open = match connection.take() {
            Some(open) => open,
            None => TcpStream::connect(address).await.context("the broker takes no connection")?,
        };
        match timeout(ANSWER_LIMIT, exchange(&mut open, &frame)).await {
            Ok(Ok(())) => {
                sent.answered();
                connection = Some(open);
            }
            Ok(Err(_)) => sent.closed(),
            Err(_) => sent.silent(),
        }
    }
    Ok(sent)
}

async fn exchange(connection: &mut TcpStream, frame: &[u8]) -> anyhow::Result<()> {
    connection.write_all(frame).await?;
    let length = connection.read_u32().await?;
    ensure!((4..=ANSWER_BYTES_MAX).contains(&length), "an answer of {length} bytes");
    let mut rest = connection.take(length.into());
    let read = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    ensure!(read == u64::from(length), "an answer that is cut short");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_every_api_and_changes_are_repeatable() {
        let corpus = corpus().unwrap();
        for frame in &corpus {
            assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        }
        let many = |seed| -> Vec<_> {
            let mut random = Random::new(seed);
            (0..500).map(|_| changed(&corpus, &mut random)).collect()
        };
        assert_eq!(many(1), many(1));
        assert_ne!(many(1), many(2));
        assert!(many(3).iter().all(|frame| frame.len() >= 4));
    }
}
