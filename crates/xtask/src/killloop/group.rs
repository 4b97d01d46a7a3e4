//! Members of a consumer group, and what they say.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use crate::kafka_client::Connection;
use crate::process;
use crate::witness::Found;

const END_LIMIT: Duration = Duration::from_secs(30);

/// What the members of a group have seen and committed.
#[derive(Default, Debug)]
pub(super) struct GroupAccount {
    /// Checksums of values by partition and offset.
    seen: BTreeMap<(i32, i64), u32>,
    /// The highest commit that was answered, by partition.
    committed: BTreeMap<i32, i64>,
    /// What the broker said is committed when it was asked last.
    last: BTreeMap<i32, i64>,
    broken: Option<String>,
}

impl GroupAccount {
    /// Reads a member's line.
    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(4, ' ');
        let (what, partition) = (words.next()?, words.next()?.parse().ok()?);
        let offset = words.next()?.parse().ok()?;
        if what == "committed" {
            let highest = self.committed.entry(partition).or_insert(offset);
            *highest = offset.max(*highest);
            return Some(());
        }
        let checksum = crc32c::crc32c(words.next()?.as_bytes());
        let before = self.seen.insert((partition, offset), checksum);
        if before.is_some_and(|before| before != checksum) {
            self.broken = Some(format!("two values were seen at offset {offset} of partition {partition}"));
        }
        Some(())
    }

    /// Whether as many records were seen as there are.
    fn has_seen(&self, found: &Found) -> bool {
        self.seen.len() >= found.partitions.iter().flatten().map(|batch| batch.records.len()).sum::<usize>()
    }

    /// What was seen is what is stored and nothing else, nothing below a commit was left out, and no commit is forgotten.
    fn check(&mut self, found: &Found, committed: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        if let Some(broken) = &self.broken {
            bail!("{broken}");
        }
        let mut unfounded = self.seen.keys().filter(|(partition, offset)| !holds(found, *partition, *offset));
        if let Some((partition, offset)) = unfounded.next() {
            bail!("partition {partition}, offset {offset}: a record was seen that nobody else can see");
        }
        for (partition, batches) in found.partitions.iter().enumerate() {
            let partition = partition as i32;
            let now = committed.get(&partition).copied().unwrap_or(-1);
            let answered = self.committed.get(&partition).copied().unwrap_or(-1);
            ensure!(
                now >= answered,
                "partition {partition}: offset {answered} was committed, now it is {now}"
            );
            let last = self.last.insert(partition, now).unwrap_or(-1);
            ensure!(
                now >= last,
                "partition {partition}: the committed offset went from {last} back to {now}"
            );
            let end = batches.last().map_or(0, |batch| batch.last_offset + 1);
            ensure!(now <= end, "partition {partition}: {now} is committed, and the log ends at {end}");
            for record in batches.iter().flat_map(|batch| &batch.records) {
                match self.seen.get(&(partition, record.offset)) {
                    Some(seen) => ensure!(
                        *seen == crc32c::crc32c(&record.value),
                        "partition {partition}, offset {}: what was seen is not what is stored",
                        record.offset
                    ),
                    None => ensure!(
                        record.offset >= now,
                        "partition {partition}: offset {} was left out, and {now} is committed",
                        record.offset
                    ),
                }
            }
        }
        Ok(())
    }
}

/// Whether there is a record at an offset.
fn holds(found: &Found, partition: i32, offset: i64) -> bool {
    let batches = usize::try_from(partition).ok().and_then(|partition| found.partitions.get(partition));
    let batches = batches.map_or(&[][..], Vec::as_slice);
    let at = batches.partition_point(|batch| batch.last_offset < offset);
    batches.get(at).is_some_and(|batch| batch.records.iter().any(|record| record.offset == offset))
}

/// One process of `interop/kafka/crash_group.py`.
struct Member {
    child: Child,
    input: ChildStdin,
    reader: JoinHandle<anyhow::Result<()>>,
}

/// A group's members and their common account.
pub(super) struct Group {
    name: String,
    topic: String,
    members: Vec<Member>,
    account: Arc<Mutex<GroupAccount>>,
}

impl Group {
    /// Starts the members; what they say of their connections goes to `log`, as a pipe that nobody reads would stop them.
    pub(super) fn start(topic: &str, name: &str, commands: Vec<Command>, log: &Path) -> anyhow::Result<Self> {
        let account = Arc::<Mutex<GroupAccount>>::default();
        let members = commands.into_iter().map(|mut command| {
            command.args([topic, name]);
            let log = OpenOptions::new().create(true).append(true).open(log)?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
            let mut child = command.spawn()?;
            let input = child.stdin.take().context("no input")?;
            let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
            let account = Arc::clone(&account);
            let reader = tokio::spawn(async move {
                while let Some(line) = lines.next_line().await? {
                    let taken = account.lock().expect("no reader panics").take(&line);
                    taken.with_context(|| format!("crash_group.py printed {line:?}"))?;
                }
                Ok(())
            });
            anyhow::Ok(Member { child, input, reader })
        });
        let members = members.collect::<anyhow::Result<_>>()?;
        Ok(Self { name: name.to_string(), topic: topic.to_string(), members, account })
    }

    /// Waits until its members have seen every record, and judges them.
    pub(super) async fn catch_up(&self, connection: &mut Connection, found: &Found) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.account.lock().expect("no reader panics").has_seen(found) {
            ensure!(
                began.elapsed() < PATIENCE,
                "{} has not seen everything after {PATIENCE:?} of rest",
                self.name
            );
            sleep(Duration::from_millis(20)).await;
        }
        self.check(connection, found).await
    }

    /// Judges the group beside the log.
    async fn check(&self, connection: &mut Connection, found: &Found) -> anyhow::Result<()> {
        let mut committed = BTreeMap::new();
        for partition in 0..found.partitions.len() as i32 {
            let answer = connection.committed(&self.name, &self.topic, partition).await?;
            let offset =
                answer.map_err(|code| anyhow::anyhow!("OffsetFetch is refused with error {code}"))?;
            committed.insert(partition, offset);
        }
        self.account.lock().expect("no reader panics").check(found, &committed)
    }

    /// Ends the members; how many records they have seen.
    pub(super) async fn stop(self, log: &Path) -> anyhow::Result<usize> {
        for Member { child, input, reader } in self.members {
            drop(input);
            let finished = process::finish_child(child, "crash_group.py", log, END_LIMIT).await?;
            reader.await??;
            ensure!(
                finished.status.success(),
                "a member left with {}: see {}",
                finished.status,
                log.display()
            );
        }
        Ok(self.account.lock().expect("no reader panics").seen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka_client::{StoredBatch, StoredRecord};

    fn found() -> Found {
        let records: Vec<StoredRecord> = (0..3)
            .map(|offset| StoredRecord { offset, key: Vec::new(), value: format!("a:{offset}").into_bytes() })
            .collect();
        Found { partitions: vec![vec![StoredBatch { base_offset: 0, last_offset: 2, records }]] }
    }

    fn account(lines: &[&str]) -> GroupAccount {
        let mut account = GroupAccount::default();
        lines.iter().for_each(|line| account.take(line).expect("a line as members print it"));
        account
    }

    fn check(lines: &[&str], committed: i64) -> anyhow::Result<()> {
        account(lines).check(&found(), &BTreeMap::from([(0, committed)]))
    }

    const SEEN: [&str; 4] = ["seen 0 0 a:0", "seen 0 1 a:1", "committed 0 2", "seen 0 2 a:2"];

    #[test]
    fn a_group_that_saw_everything_passes() {
        check(&SEEN, 2).expect("all is well");
        // Committed, and the answer did not arrive.
        check(&SEEN, 3).expect("all is well");
        assert!(account(&SEEN).has_seen(&found()) && !account(&SEEN[..2]).has_seen(&found()));
    }

    #[test]
    fn a_forgotten_commit_is_seen() {
        assert!(check(&SEEN, 1).expect_err("2 was committed").to_string().contains("now it is 1"));
        assert!(check(&SEEN, 4).expect_err("3 is the end").to_string().contains("ends at 3"));
        let mut account = account(&SEEN);
        account.check(&found(), &BTreeMap::from([(0, 3)])).expect("all is well");
        let error = account.check(&found(), &BTreeMap::from([(0, 2)])).expect_err("it went back");
        assert!(error.to_string().contains("back to 2"), "{error}");
    }

    #[test]
    fn a_record_that_was_left_out_is_seen() {
        let error = check(&["seen 0 0 a:0", "committed 0 2"], 2).expect_err("1 was left out");
        assert!(error.to_string().contains("offset 1 was left out"), "{error}");
    }

    #[test]
    fn a_record_that_nobody_else_sees_is_seen() {
        let lines = [&SEEN[..], &["seen 0 3 aborted"]].concat();
        assert!(account(&lines).has_seen(&found()));
        let error = check(&lines, 3).expect_err("3 is not there").to_string();
        assert!(error.contains("offset 3: a record was seen that nobody else"), "{error}");
    }

    #[test]
    fn two_values_of_one_offset_are_seen() {
        let error = check(&["seen 0 0 a:0", "seen 0 0 a:7"], -1).expect_err("two values");
        assert!(error.to_string().contains("two values"), "{error}");
        assert!(check(&["seen 0 0 a:7"], -1).is_err());
    }
}
