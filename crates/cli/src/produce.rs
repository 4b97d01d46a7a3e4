//! `keyway produce`: lines of a stream, or one value, to records.

use crate::{
    client::{Acks, Client, Connect, Delivery, MissingTopics, NewRecord, Producer},
    failure::{Failure, note},
    stop_signal::StopSignals,
};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use keyway_record::TopicName;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write},
    path::PathBuf,
    thread,
};
use tokio::sync::mpsc;

const AFTER_HELP: &str = "\
Examples:
  echo hello | keyway produce greetings
  keyway produce orders -k order-7 -v '{\"step\":\"paid\"}' -H source=shop
  keyway produce orders -K : -f orders.txt      each line is key:value";

/// Longest line, bytes. The broker's own limit on a record is far lower by default and is what users meet.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Lines that were read and not yet taken in by the client.
const LINES_AHEAD_MAX: usize = 1_000;

/// Records on their way; keeps the memory of many small ones in bounds.
const IN_FLIGHT_MAX: usize = 10_000;

/// Write records to a topic, one per line of input
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Produce {
    /// Topic to write to; the broker creates it on first use
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,

    /// Value of the one record to write, in place of reading lines
    #[arg(short, long, conflicts_with_all = ["file", "key_delimiter"])]
    value: Option<String>,

    /// File to read lines from, in place of stdin
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Key of all records; records of one key stay in order
    #[arg(short, long, conflicts_with = "key_delimiter")]
    key: Option<String>,

    /// Text that ends the key in each line; `\t` is a tab. A line without it becomes a record without a key
    #[arg(short = 'K', long, value_name = "DELIM", value_parser = delimiter)]
    key_delimiter: Option<String>,

    /// Header of all records; may be repeated. Without `=VALUE` its value is null
    #[arg(short = 'H', long = "header", value_name = "NAME[=VALUE]", value_parser = header)]
    headers: Vec<(String, Option<Bytes>)>,

    /// Partition of all records; the default follows the key, or spreads records without a key
    #[arg(short, long, value_name = "INDEX", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Who must have a record before it counts as written
    #[arg(long, value_enum, default_value_t = Acks::All)]
    acks: Acks,

    /// What to print per record: nothing, or a JSON object with topic, partition and offset
    #[arg(short, long, value_enum, default_value_t = Output::None)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    None,
    Json,
}

#[derive(serde::Serialize)]
struct Written<'a> {
    topic: &'a str,
    partition: i32,
    offset: Option<i64>,
}

/// Records on their way, oldest first, and what came back of earlier ones.
struct InFlight<W> {
    deliveries: VecDeque<Delivery>,
    acknowledged: u64,
    out: Option<W>,
}

impl Produce {
    /// Writes until the input ends or a signal comes; then everything read so far is still written.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // Before anything is sent, so that a missing file leaves no topic behind.
        let mut lines = self.open_input()?;
        let mut stop = StopSignals::listen()?;
        let producer = tokio::select! {
            biased;
            stopped = stop.next() => return Err(stopped),
            producer = self.open() => producer?,
        };
        let out = (self.output == Output::Json).then(|| BufWriter::new(io::stdout().lock()));
        let mut in_flight = InFlight { deliveries: VecDeque::new(), acknowledged: 0, out };
        let outcome = self.copy(&mut lines, &producer, &mut in_flight, &mut stop).await;
        let acknowledged = in_flight.acknowledged;
        match outcome {
            Ok(()) => producer.close().await?,
            Err(failure) => return Err(failure.after(&format!("after {acknowledged} records: "))),
        }
        if io::stderr().is_terminal() {
            note(&format!("{acknowledged} records to '{}'", self.topic));
        }
        Ok(())
    }

    async fn open(&self) -> Result<Producer, Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Create).await?;
        let producer = client.producer(self.topic.clone(), self.acks).await?;
        if let Some(partition) = self.partition {
            let partitions = producer.partitions().await?;
            if !partitions.contains(&partition) {
                let (topic, count) = (&self.topic, partitions.len());
                return Err(Failure::NotFound(format!(
                    "topic '{topic}' has no partition {partition}; it has {count}, counted from 0"
                )));
            }
        }
        Ok(producer)
    }

    async fn copy<W: Write>(
        &self,
        lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
        producer: &Producer,
        in_flight: &mut InFlight<W>,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        let mut ended = Ok(());
        loop {
            let has_room = in_flight.deliveries.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                stopped = stop.next() => {
                    ended = Err(stopped);
                    break;
                }
                settled = in_flight.settle_first(&self.topic), if !in_flight.deliveries.is_empty() => settled?,
                line = lines.recv(), if has_room => match line {
                    Some(Ok(line)) => {
                        let delivery = producer.enqueue(self.record(line)).await?;
                        in_flight.deliveries.push_back(delivery);
                    }
                    Some(Err(error)) => {
                        ended = Err(Failure::Failed(format!("cannot read the input: {error}")));
                        break;
                    }
                    None => break,
                },
            }
        }
        while !in_flight.deliveries.is_empty() {
            in_flight.settle_first(&self.topic).await?;
        }
        ended
    }

    /// Reads lines on a thread of its own; with --value there is one.
    fn open_input(&self) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, Failure> {
        let (sender, receiver) = mpsc::channel(LINES_AHEAD_MAX);
        let source: Box<dyn BufRead + Send> = match (&self.value, &self.file) {
            (Some(value), _) => {
                sender.try_send(Ok(value.clone().into_bytes())).expect("the channel is empty");
                return Ok(receiver);
            }
            (None, Some(path)) => match File::open(path) {
                Ok(file) => Box::new(BufReader::with_capacity(64 * 1024, file)),
                Err(error) => {
                    return Err(Failure::Failed(format!("cannot read {}: {error}", path.display())));
                }
            },
            (None, None) => {
                if io::stdin().is_terminal() {
                    note("one record per line; Ctrl-D ends");
                }
                Box::new(BufReader::with_capacity(64 * 1024, io::stdin()))
            }
        };
        thread::Builder::new()
            .name("input".into())
            .spawn(move || send_lines(source, &sender))
            .map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
        Ok(receiver)
    }

    fn record(&self, line: Vec<u8>) -> NewRecord {
        let line = Bytes::from(line);
        let split = self.key_delimiter.as_ref().and_then(|delimiter| {
            let at = line.windows(delimiter.len()).position(|window| window == delimiter.as_bytes())?;
            Some((line.slice(..at), line.slice(at + delimiter.len()..)))
        });
        let (key, value) = match split {
            Some((key, value)) => (Some(key), value),
            None => (self.key.clone().map(Bytes::from), line),
        };
        NewRecord { partition: self.partition, key, value, headers: self.headers.clone() }
    }
}

impl<W: Write> InFlight<W> {
    /// Waits for the oldest record. Dropped before that, nothing has happened.
    async fn settle_first(&mut self, topic: &TopicName) -> Result<(), Failure> {
        let Some(first) = self.deliveries.front_mut() else { return Ok(()) };
        let (partition, offset) = first.await?;
        self.deliveries.pop_front();
        self.acknowledged += 1;
        if let Some(out) = &mut self.out {
            let written = Written { topic: topic.as_str(), partition, offset };
            let mut print = || {
                serde_json::to_writer(&mut *out, &written)?;
                out.write_all(b"\n")?;
                if self.deliveries.is_empty() { out.flush() } else { Ok(()) }
            };
            print().map_err(|error| Failure::of_stdout(&error))?;
        }
        Ok(())
    }
}

fn send_lines(mut source: Box<dyn BufRead + Send>, lines: &mpsc::Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut line = Vec::new();
        let sent = match source.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if line.len() as u64 > LINE_BYTES_MAX => {
                let error = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                lines.blocking_send(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                lines.blocking_send(Ok(line))
            }
            Err(error) => {
                let _ = lines.blocking_send(Err(error));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn delimiter(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".into()),
        r"\t" => Ok("\t".into()),
        text => Ok(text.into()),
    }
}

fn header(text: &str) -> Result<(String, Option<Bytes>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(Bytes::from(value.to_owned()))),
        None => (text, None),
    };
    if name.is_empty() {
        Err("the name is empty; write it as NAME=VALUE".into())
    } else {
        Ok((name.into(), value))
    }
}
