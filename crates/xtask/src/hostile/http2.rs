//! What Danube's client says over HTTP/2, frame by frame, changed at random: the frames themselves, and the messages in
//! them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::frames::{PACE, Sent};
use super::tap::Tap;
use crate::broker::Broker;
use crate::interop::scene::Scene;
use crate::neighbour::Turn;
use crate::random::Random;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
/// Compressed or not, and a length.
const MESSAGE_HEADER_BYTES: usize = 5;
/// One frame of so many of a session is changed; those between keep the state of both ends together.
const CHANGED_OF: u64 = 16;
/// Whoever has not answered by then waits for more.
const ANSWER_LIMIT: Duration = Duration::from_millis(20);
/// Frames of a flood.
const FLOOD: usize = 2_000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.payload.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
    }
}

/// What one connection said behind the preface.
pub(super) struct Session(Vec<Frame>);

impl Session {
    /// The whole frames of it; none of a connection that said something else.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(PREFACE)?;
        let mut frames = Vec::new();
        while let Some((head, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, next)) = behind.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push(Frame { kind: head[3], flags: head[4], stream, payload: payload.to_vec() });
            rest = next;
        }
        (!frames.is_empty()).then_some(Self(frames))
    }

    /// The bytes of a connection of which some frames are changed, and how many.
    fn changed(&self, random: &mut Random) -> (Vec<u8>, u64) {
        let mut out = PREFACE.to_vec();
        let mut count = 0;
        for frame in &self.0 {
            if random.below(CHANGED_OF) > 0 {
                frame.write(&mut out);
                continue;
            }
            count += 1;
            change(frame.clone(), random, &mut out);
        }
        (out, count)
    }
}

fn change(mut frame: Frame, random: &mut Random, out: &mut Vec<u8>) {
    let message = frame.kind == DATA && frame.payload.len() > MESSAGE_HEADER_BYTES;
    let begin = if message && random.below(8) > 0 { MESSAGE_HEADER_BYTES } else { 0 };
    let at = begin + random.below((frame.payload.len() - begin).max(1) as u64) as usize;
    // What is wrong with HTTP/2 itself ends the connection, so most changes are to messages.
    let kinds = if begin > 0 && random.below(4) > 0 { 5 } else { 10 };
    match random.below(kinds) {
        0 if at < frame.payload.len() => frame.payload[at] ^= 1 << random.below(8),
        1 if at < frame.payload.len() => frame.payload[at] = random.next() as u8,
        // A varint as long as one can be: a length, a number, or a tag.
        2 if at < frame.payload.len() => {
            frame.payload.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        }
        3 => frame.payload.truncate(at),
        4 => {
            let new: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            let at = at.min(frame.payload.len());
            frame.payload.splice(at..at, new);
        }
        5 => frame.kind = random.below(12) as u8,
        6 => frame.flags ^= 1 << random.below(8),
        7 => frame.stream = [0, 1, 2, 3, u32::MAX, 1 << 31, frame.stream + 2][random.below(7) as usize],
        // Once more.
        8 => frame.write(out),
        // A length that is not its own.
        _ => {
            let begins = out.len();
            frame.write(out);
            out[begins + 1 + random.below(2) as usize] = random.next() as u8;
            return;
        }
    }
    if message && begin > 0 && frame.payload.len() >= MESSAGE_HEADER_BYTES && random.below(8) > 0 {
        let length = (frame.payload.len() - MESSAGE_HEADER_BYTES) as u32;
        frame.payload[1..MESSAGE_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    }
    frame.write(out);
}

/// What the published client says when it makes a topic, sends, reads, acknowledges and refuses.
pub(super) async fn record(broker: &Broker) -> anyhow::Result<Vec<Session>> {
    const MESSAGES: usize = 12;
    let tap = Tap::start(broker.grpc()).await?;
    let mut scene = Scene::open(&format!("http://{}", tap.address), "/default/tapped").await?;
    let producer = scene.producer("tapped_producer").await?;
    scene.worker("tapped_worker", "tapped_sub", &["a*"]).await?;
    scene.warm_up(&producer, &["a"]).await?;
    for number in 0..MESSAGES {
        let text = format!("message {number}").into_bytes();
        let attributes = [("kind".to_owned(), "tapped".to_owned())].into_iter().collect();
        producer.send_with_key(text, Some(attributes), "a").await?;
        let delivery = scene.next().await?;
        match number % 4 {
            0 => scene.nack(delivery, 1, "once more").await?,
            _ => scene.ack(delivery).await?,
        }
        if number % 4 == 0 {
            let again = scene.next().await?;
            scene.ack(again).await?;
        }
    }
    let sessions: Vec<Session> = tap.sessions().iter().filter_map(|said| Session::parse(said)).collect();
    let frames: usize = sessions.iter().map(|session| session.0.len()).sum();
    ensure!(frames >= 2 * MESSAGES, "the client sent {frames} frames");
    Ok(sessions)
}

/// Sessions with so many changed frames, one after another, each when it is its turn.
pub(super) async fn send(
    address: SocketAddr,
    sessions: &[Session],
    random: &mut Random,
    count: u64,
    mut turn: Option<Turn>,
) -> anyhow::Result<Sent> {
    let mut sent = Sent::default();
    let mut changed_frames = 0;
    while changed_frames < count {
        if let Some(turn) = &mut turn {
            turn.come().await;
        }
        let (bytes, changed) = sessions[random.below(sessions.len() as u64) as usize].changed(random);
        let connection = TcpStream::connect(address).await.context("the broker takes no connection")?;
        changed_frames += changed;
        if turn.is_some() {
            sleep(PACE * changed as u32).await;
        }
        let ended = exchange(connection, &bytes).await;
        for _ in 0..changed {
            match ended {
                Ended::Answered => sent.answered(),
                Ended::Closed => sent.closed(),
                Ended::Silent => sent.silent(),
            }
        }
    }
    Ok(sent)
}

#[derive(Clone, Copy)]
enum Ended {
    Answered,
    Closed,
    Silent,
}

async fn exchange(mut connection: TcpStream, bytes: &[u8]) -> Ended {
    // It may well close before it has read everything.
    let _ = connection.write_all(bytes).await;
    let mut buffer = vec![0; 64 << 10];
    let mut answered = false;
    loop {
        match timeout(ANSWER_LIMIT, connection.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return Ended::Closed,
            Ok(Ok(_)) => answered = true,
            Err(_) if answered => return Ended::Answered,
            Err(_) => return Ended::Silent,
        }
    }
}

/// Frames that are each allowed, and are meant to be many: calls begun and cancelled, headers that go on, empty data,
/// settings and pings that want an answer.
pub(super) async fn floods(address: SocketAddr) -> anyhow::Result<usize> {
    let frame = |kind, flags, stream, payload: &[u8]| {
        let mut out = Vec::new();
        Frame { kind, flags, stream, payload: payload.to_vec() }.write(&mut out);
        out
    };
    // `:method POST`, `:scheme http`, `:path /` from the static table.
    let call = [0x83, 0x86, 0x84];
    let reset: Vec<u8> = (0..FLOOD as u32)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [frame(HEADERS, 4, stream, &call), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    let continued =
        [frame(HEADERS, 0, 1, &call), frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b']).repeat(FLOOD)]
            .concat();
    let floods = [
        reset,
        continued,
        [frame(HEADERS, 4, 1, &call), frame(DATA, 0, 1, &[]).repeat(FLOOD)].concat(),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(FLOOD),
        frame(PING, 0, 0, &[7; 8]).repeat(FLOOD),
    ];
    for flood in &floods {
        let connection = TcpStream::connect(address).await.context("the broker takes no connection")?;
        exchange(connection, &[PREFACE, &frame(SETTINGS, 0, 0, &[]), flood].concat()).await;
    }
    Ok(floods.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written() {
        let frame = Frame { kind: DATA, flags: 1, stream: 5, payload: vec![0, 0, 0, 0, 2, 8, 1] };
        let mut bytes = PREFACE.to_vec();
        frame.write(&mut bytes);
        frame.write(&mut bytes);
        // What is cut short is left out.
        bytes.extend_from_slice(&[0, 0, 9, 0]);
        let session = Session::parse(&bytes).unwrap();
        assert_eq!(session.0, [frame.clone(), frame]);
        assert!(Session::parse(b"GET / HTTP/1.1").is_none());
        let many = |seed| {
            let mut random = Random::new(seed);
            (0..300).map(|_| session.changed(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(many(1), many(1));
        assert_ne!(many(1), many(2));
    }
}
