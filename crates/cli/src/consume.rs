//! `keyway consume`: records to stdout.

use crate::{
    client::{Client, Connect, Consumer, MissingTopics, Record, Start, TopicInfo},
    failure::{Failure, note},
    record_json::RecordJson,
    stop_signal::StopSignals,
};
use clap::{Args, ValueEnum};
use keyway_record::TopicName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    os::fd::AsFd,
    time::Duration,
};
use tokio::time::Instant;

const AFTER_HELP: &str = "\
Fields of -o json, one object per line:
  topic, partition, offset
  timestamp    milliseconds since 1970, or -1
  key, value   text, or null; key_base64, value_base64 in their place for bytes that are not UTF-8
  headers      list of [name, value] in order; a value is text, null, or {\"base64\": ...}

Examples:
  keyway consume orders --from-beginning
  keyway consume orders -e -o json | jq -r .value
  keyway consume orders -g billing -n 100";

/// Longest wait of one poll: how late a full count or a reached end may be noticed.
const POLL_WAIT: Duration = Duration::from_millis(250);

/// Time between commits of a group's position; what was printed since is printed again after a kill.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long nothing comes before the user is told what is being waited for.
const HINT_AFTER: Duration = Duration::from_secs(2);

/// Print a topic's records
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Consume {
    /// Topic to read, all partitions
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,

    /// Start at the oldest record; the default is to wait for new ones (with a group: where it has no position yet)
    #[arg(long)]
    from_beginning: bool,

    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Stop at the end of what is there now; implies --from-beginning
    #[arg(short = 'e', long)]
    exit_at_end: bool,

    /// Read as a member of this consumer group, which shares the partitions and remembers the position
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,

    /// Form of a record: its key, a tab and its value (without a key only the value), or a JSON object
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What one run has done so far.
struct Progress {
    printed: u64,
    /// By partition, the offset after the last record that was printed.
    next: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    committed_at: Instant,
}

impl Consume {
    /// Prints records until the count, the end, or a signal.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut stop = StopSignals::listen()?;
        let outcome = tokio::select! {
            biased;
            stopped = stop.next() => return Err(stopped),
            opened = self.open() => opened,
        };
        let (client, mut consumer, topic, ends) = outcome?;
        let mut progress = Progress::new();
        let outcome =
            self.copy(&client, &mut consumer, &topic, ends.as_ref(), &mut progress, &mut stop).await;
        // A closed pipe or a failed poll leaves the position where stdout was last flushed.
        let committed = if self.group.is_some() { progress.commit(&consumer).await } else { Ok(()) };
        let closed = consumer.close().await;
        outcome.and(committed).and(closed)
    }

    async fn open(&self) -> Result<(Client, Consumer, TopicInfo, Option<BTreeMap<i32, i64>>), Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        let topic = client.topic(&self.topic).await?;
        let ends = if self.exit_at_end { Some(client.ends(&topic).await?) } else { None };
        let start = if self.from_beginning || self.exit_at_end { Start::Beginning } else { Start::End };
        let own = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        let consumer = own.consumer(topic.clone(), start, self.group.as_deref()).await?;
        Ok((client, consumer, topic, ends))
    }

    async fn copy(
        &self,
        client: &Client,
        consumer: &mut Consumer,
        topic: &TopicInfo,
        ends: Option<&BTreeMap<i32, i64>>,
        progress: &mut Progress,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let mut hint_at = Some(Instant::now() + HINT_AFTER);
        loop {
            if let Some(ends) = ends
                && consumer.has_reached(ends).await
            {
                return Ok(());
            }
            let records = tokio::select! {
                biased;
                stopped = stop.next() => return Err(stopped),
                records = consumer.poll(POLL_WAIT) => records?,
            };
            let left = self.count.map_or(u64::MAX, |count| count - progress.printed);
            let records = &records[..records.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            for record in records {
                self.print(record, &mut out).map_err(|error| Failure::of_stdout(&error))?;
            }
            out.flush().map_err(|error| Failure::of_stdout(&error))?;
            progress.advance(records);
            if records.is_empty() && is_closed(&io::stdout()) {
                return Err(Failure::of_stdout(&io::ErrorKind::BrokenPipe.into()));
            }
            if Some(progress.printed) == self.count {
                return Ok(());
            }
            if self.group.is_some() && progress.committed_at.elapsed() >= COMMIT_INTERVAL {
                progress.commit(consumer).await?;
            }
            if progress.printed > 0 {
                hint_at = None;
            } else if hint_at.is_some_and(|at| Instant::now() >= at) {
                hint_at = None;
                self.hint(client, topic).await;
            }
        }
    }

    fn print(&self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        match self.output {
            Output::Json => serde_json::to_writer(&mut *out, &RecordJson::new(record))?,
            Output::Text => {
                if let Some(key) = &record.key {
                    out.write_all(key)?;
                    out.write_all(b"\t")?;
                }
                out.write_all(record.value.as_deref().unwrap_or_default())?;
            }
        }
        out.write_all(b"\n")
    }

    /// Says what is being waited for, and how to see what is there already.
    async fn hint(&self, client: &Client, topic: &TopicInfo) {
        let held = match client.bounds(topic).await {
            Ok(bounds) => bounds.values().map(|offsets| offsets.end - offsets.start).sum::<i64>(),
            Err(_) => return,
        };
        let topic = &topic.name;
        match &self.group {
            _ if held == 0 => note(&format!("topic '{topic}' is empty; waiting for new records")),
            Some(group) => {
                note(&format!("nothing new in '{topic}' for group '{group}'; waiting for new records"))
            }
            None if self.from_beginning => note(&format!("nothing came yet from '{topic}'; still waiting")),
            None => note(&format!(
                "waiting for new records; --from-beginning prints the {held} that '{topic}' holds already"
            )),
        }
    }
}

/// Whether the reader of the pipe has gone, which a write would tell only once there is something to write.
fn is_closed(pipe: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

impl Progress {
    fn new() -> Self {
        Self { printed: 0, next: BTreeMap::new(), committed: BTreeMap::new(), committed_at: Instant::now() }
    }

    fn advance(&mut self, printed: &[Record]) {
        self.printed += printed.len() as u64;
        self.next.extend(printed.iter().map(|record| (record.partition, record.offset + 1)));
    }

    async fn commit(&mut self, consumer: &Consumer) -> Result<(), Failure> {
        self.committed_at = Instant::now();
        if self.committed != self.next {
            consumer.commit(&self.next).await?;
            self.committed.clone_from(&self.next);
        }
        Ok(())
    }
}
