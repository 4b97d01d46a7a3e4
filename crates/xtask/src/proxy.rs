//! A proxy between a Kafka client and its broker, which loses connections, holds answers back, and counts what passes.
//!
//! Clients are told to connect to the proxy, not to the broker: where an answer names the broker's address, the proxy
//! puts its own. A program controls it by lines on a second port, each answered by one line:
//!
//! | line | effect |
//! |---|---|
//! | `cut BYTES` | every connection ends after a random number of bytes, at most so many, in the midst of whatever it is |
//! | `delay MS` | answers to Produce come so much later |
//! | `stall` | Produce requests do not reach the broker |
//! | `drop` | Produce requests reach the broker, their answers are not passed on |
//! | `calm` | nothing of it any more |
//! | `counts` | what passed since the last `counts`, as JSON |

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::random::Random;

const PRODUCE: i16 = 0;
/// No frame of a client or broker here is longer.
const FRAME_BYTES_MAX: usize = 128 << 20;
/// Requests that are kept to be looked at, and how long they may be.
const RECORDED_MAX: usize = 2_000;
const RECORDED_BYTES_MAX: usize = 64 << 10;
const HELD_UP_EVERY: Duration = Duration::from_millis(5);

/// A running proxy; dropping it ends it and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    control: SocketAddr,
    state: Shared,
    tasks: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) async fn start(broker: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let (clients, controllers) = (listen().await?, listen().await?);
        let (address, control) = (clients.local_addr()?, controllers.local_addr()?);
        let state = Arc::new(Mutex::new(State::new(seed)));
        let serving = tokio::spawn(serve(clients, broker, address, Arc::clone(&state)));
        let obeying = tokio::spawn(obey(controllers, Arc::clone(&state)));
        Ok(Self { address, control, state, tasks: vec![serving, obeying] })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that passed, without their lengths: the first of them, and no large ones.
    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        with(&self.state, |state| state.recorded.clone())
    }

    /// Where it takes its orders.
    pub(crate) fn control(&self) -> SocketAddr {
        self.control
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen() -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?)
}

/// What the proxy does to its connections, and what it has seen.
struct State {
    orders: Orders,
    counts: Counts,
    random: Random,
    /// Counts orders to cut, so that connections of before notice them.
    cuts: u64,
    /// Requests without their lengths.
    recorded: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Default)]
struct Orders {
    cut_bytes_max: Option<u64>,
    delay: Duration,
    stall: bool,
    drop: bool,
}

/// What passed.
#[derive(Default, Serialize)]
struct Counts {
    /// Produce requests.
    requests: u64,
    /// Their bytes.
    bytes: u64,
    /// The numbers of acknowledgements that they ask for.
    acks: BTreeSet<i16>,
    /// The most of them that waited for an answer on one connection.
    in_flight_max: usize,
    /// Connections that were cut.
    cuts: u64,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            orders: Orders::default(),
            counts: Counts::default(),
            random: Random::new(seed),
            cuts: 0,
            recorded: Vec::new(),
        }
    }
}

impl State {
    fn record(&mut self, frame: &Frame) {
        if self.recorded.len() < RECORDED_MAX && frame.0.len() <= RECORDED_BYTES_MAX {
            self.recorded.push(frame.0.clone());
        }
    }
}

type Shared = Arc<Mutex<State>>;

fn with<T>(state: &Shared, change: impl FnOnce(&mut State) -> T) -> T {
    change(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes orders, one controller after the other.
async fn obey(controllers: TcpListener, state: Shared) {
    while let Ok((stream, _)) = controllers.accept().await {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match order(&state, &line) {
                Ok(answer) => answer,
                Err(error) => format!("error: {error:#}"),
            };
            if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                break;
            }
        }
    }
}

fn order(state: &Shared, line: &str) -> anyhow::Result<String> {
    let (word, number) = line.split_once(' ').unwrap_or((line, ""));
    with(state, |state| {
        match word {
            "cut" => {
                state.orders.cut_bytes_max = Some(number.parse()?);
                state.cuts += 1;
            }
            "delay" => state.orders.delay = Duration::from_millis(number.parse()?),
            "stall" => state.orders.stall = true,
            "drop" => state.orders.drop = true,
            "calm" => state.orders = Orders::default(),
            "counts" => return Ok(serde_json::to_string(&std::mem::take(&mut state.counts))?),
            _ => bail!("{line:?} is no order"),
        }
        Ok("done".to_owned())
    })
}

async fn serve(clients: TcpListener, broker: SocketAddr, own: SocketAddr, state: Shared) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = clients.accept().await {
        while connections.try_join_next().is_some() {}
        let connection = Connection::new(own, broker, Arc::clone(&state));
        connections.spawn(async move {
            // However it ends, both ends of it notice.
            let _ended = connection.run(client).await;
        });
    }
}

/// One client's connection, and the requests on it that Produce's answers are known by.
struct Connection {
    own: SocketAddr,
    broker: SocketAddr,
    state: Shared,
    waiting: Mutex<BTreeSet<i32>>,
    budget: Mutex<Budget>,
}

/// How many bytes a connection may still pass.
#[derive(Default)]
struct Budget {
    order: u64,
    left: Option<u64>,
}

/// A frame without its length.
struct Frame(Vec<u8>);

impl Frame {
    async fn read(from: &mut OwnedReadHalf) -> anyhow::Result<Self> {
        let length = usize::try_from(from.read_i32().await?)?;
        ensure!((4..=FRAME_BYTES_MAX).contains(&length), "a frame of {length} bytes");
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).await?;
        Ok(Self(bytes))
    }

    fn i16_at(&self, at: usize) -> anyhow::Result<i16> {
        let bytes = self.0.get(at..at + 2).context("a short frame")?;
        Ok(i16::from_be_bytes(bytes.try_into().expect("two bytes")))
    }

    fn i32_at(&self, at: usize) -> anyhow::Result<i32> {
        let bytes = self.0.get(at..at + 4).context("a short frame")?;
        Ok(i32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    /// The acknowledgements that a Produce request asks for: behind the header and the transactional id.
    fn acks(&self) -> anyhow::Result<i16> {
        const FLEXIBLE_FROM: i16 = 9;
        const CLIENT_ID_AT: usize = 8;
        let client_id = usize::try_from(self.i16_at(CLIENT_ID_AT)?).unwrap_or(0);
        let header_end = CLIENT_ID_AT + 2 + client_id;
        if self.i16_at(2)? < FLEXIBLE_FROM {
            let transactional_id = usize::try_from(self.i16_at(header_end)?).unwrap_or(0);
            return self.i16_at(header_end + 2 + transactional_id);
        }
        // No tagged fields in the header; the id's length is one byte, plus one.
        let length = *self.0.get(header_end + 1).context("a short frame")?;
        self.i16_at(header_end + 2 + usize::from(length).saturating_sub(1))
    }

    /// Puts one address in place of another: the host as text, the port right behind it.
    fn replace(&mut self, from: SocketAddr, to: SocketAddr) {
        let pattern = |address: SocketAddr| {
            [address.ip().to_string().as_bytes(), &i32::from(address.port()).to_be_bytes()].concat()
        };
        let (from, to) = (pattern(from), pattern(to));
        assert_eq!(from.len(), to.len(), "both listen on the same interface");
        let places: Vec<usize> = self
            .0
            .windows(from.len())
            .enumerate()
            .filter(|(_, at)| *at == from)
            .map(|(place, _)| place)
            .collect();
        for place in places {
            self.0[place..place + to.len()].copy_from_slice(&to);
        }
    }
}

impl Connection {
    fn new(own: SocketAddr, broker: SocketAddr, state: Shared) -> Self {
        let (waiting, budget) = (Mutex::default(), Mutex::default());
        Self { own, broker, state, waiting, budget }
    }

    async fn run(&self, client: TcpStream) -> anyhow::Result<()> {
        let broker = TcpStream::connect(self.broker).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        tokio::select! {
            biased;
            ended = self.requests(from_client, to_broker) => ended,
            ended = self.answers(from_broker, to_client) => ended,
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> anyhow::Result<()> {
        loop {
            let frame = Frame::read(&mut from).await?;
            with(&self.state, |state| state.record(&frame));
            if frame.i16_at(0)? == PRODUCE {
                self.note(&frame)?;
                while with(&self.state, |state| state.orders.stall) {
                    sleep(HELD_UP_EVERY).await;
                }
            }
            self.pass(&mut to, frame).await?;
        }
    }

    fn note(&self, frame: &Frame) -> anyhow::Result<()> {
        let (acks, id) = (frame.acks()?, frame.i32_at(4)?);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if acks != 0 {
            waiting.insert(id);
        }
        with(&self.state, |state| {
            state.counts.requests += 1;
            state.counts.bytes += frame.0.len() as u64;
            state.counts.acks.insert(acks);
            state.counts.in_flight_max = state.counts.in_flight_max.max(waiting.len());
        });
        Ok(())
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> anyhow::Result<()> {
        loop {
            let mut frame = Frame::read(&mut from).await?;
            let orders = with(&self.state, |state| state.orders);
            let id = frame.i32_at(0)?;
            let is_produce = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains(&id);
            if is_produce {
                sleep(orders.delay).await;
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if orders.drop {
                    continue;
                }
            }
            frame.replace(self.broker, self.own);
            self.pass(&mut to, frame).await?;
        }
    }

    /// Passes a frame on, or the part of it that the connection lives to see.
    async fn pass(&self, to: &mut OwnedWriteHalf, frame: Frame) -> anyhow::Result<()> {
        let mut bytes = (frame.0.len() as i32).to_be_bytes().to_vec();
        bytes.extend(frame.0);
        let allowed = self.allowed(bytes.len() as u64);
        to.write_all(&bytes[..allowed.min(bytes.len() as u64) as usize]).await?;
        ensure!(allowed >= bytes.len() as u64, "cut");
        Ok(())
    }

    /// How many of so many bytes may pass.
    fn allowed(&self, bytes: u64) -> u64 {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        with(&self.state, |state| {
            let Some(bytes_max) = state.orders.cut_bytes_max else {
                budget.left = None;
                return bytes;
            };
            if budget.left.is_none() || budget.order != state.cuts {
                *budget = Budget { order: state.cuts, left: Some(state.random.below(bytes_max.max(1))) };
            }
            let left = budget.left.as_mut().expect("given above");
            let allowed = bytes.min(*left);
            *left -= allowed;
            if allowed < bytes {
                state.counts.cuts += 1;
            }
            allowed
        })
    }
}
