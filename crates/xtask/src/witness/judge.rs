//! Whether a log that loses, repeats, reorders, renumbers or invents nothing could hold what was found.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};

use super::account::{Account, Kind, named};
use crate::kafka_client::StoredBatch;

/// Whole partitions, by number, as a reader found them.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) partitions: Vec<Vec<StoredBatch>>,
}

/// What a judged log holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Verdict {
    pub(crate) records: u64,
    /// Records that producers were told are stored.
    pub(crate) acknowledged: u64,
    /// Records of plain producers that were sent again because they were not answered.
    pub(crate) repeated: u64,
}

/// How far the records of one producer have come.
#[derive(Default)]
struct Progress {
    partition: Option<i32>,
    next: u64,
    repeated: u64,
    /// Offsets of a number; more than one only if it is repeated.
    offsets: BTreeMap<u64, Vec<i64>>,
}

/// Judges whole partitions; the first broken promise is the error.
pub(crate) fn judge(accounts: &[&Account], found: &Found) -> anyhow::Result<Verdict> {
    let mut progress: BTreeMap<&str, Progress> =
        accounts.iter().map(|account| (account.name.as_str(), Progress::default())).collect();
    let by_name: BTreeMap<&str, &Account> =
        accounts.iter().map(|account| (account.name.as_str(), *account)).collect();
    let mut verdict = Verdict::default();
    for (partition, batches) in found.partitions.iter().enumerate() {
        let partition = partition as i32;
        dense(partition, batches)?;
        for record in batches.iter().flat_map(|batch| &batch.records) {
            verdict.records += 1;
            let place = || format!("partition {partition}, offset {}", record.offset);
            let (name, number) =
                named(&record.value).with_context(|| format!("{}: a foreign value", place()))?;
            let account = by_name.get(name).with_context(|| format!("{}: nobody is {name}", place()))?;
            ensure!(
                number < account.sent && record.value == account.value(number),
                "{}: {name} never sent this as its record {number}",
                place()
            );
            let progress = progress.get_mut(name).expect("every account has its progress");
            progress.take(account, partition, number, record.offset).with_context(place)?;
        }
    }
    for account in accounts {
        let progress = &progress[account.name.as_str()];
        verdict.acknowledged += account.told.len() as u64;
        verdict.repeated += progress.repeated;
        nothing_lost(account, progress)?;
    }
    Ok(verdict)
}

/// Offsets begin with 0 and have no gap, neither between batches nor within one.
fn dense(partition: i32, batches: &[StoredBatch]) -> anyhow::Result<()> {
    let mut next = 0;
    for batch in batches {
        let base = batch.base_offset;
        ensure!(base == next, "partition {partition}: a batch at offset {base} where {next} is next");
        let within = batch.records.iter().map(|record| record.offset).eq(base..=batch.last_offset);
        ensure!(within, "partition {partition}: the records of the batch at {base} have other offsets");
        next = batch.last_offset + 1;
    }
    Ok(())
}

impl Progress {
    fn take(&mut self, account: &Account, partition: i32, number: u64, offset: i64) -> anyhow::Result<()> {
        let (name, next) = (&account.name, self.next);
        let first = *self.partition.get_or_insert(partition);
        ensure!(first == partition, "{name} wrote to partition {first} before");
        match account.kind {
            _ if number > next => bail!("{name}: record {number} is stored where {next} is missing"),
            Kind::Idempotent if number < next => bail!("{name}: record {number} is stored twice"),
            Kind::Plain if number < next => self.repeated += 1,
            _ => self.next += 1,
        }
        self.offsets.entry(number).or_default().push(offset);
        Ok(())
    }
}

/// Every record that the producer was told of is there, where it was told.
fn nothing_lost(account: &Account, progress: &Progress) -> anyhow::Result<()> {
    let is_there = |told: &&super::account::Told| {
        progress.partition == Some(told.partition)
            && progress
                .offsets
                .get(&told.number)
                .is_some_and(|offsets| told.offset.is_none_or(|offset| offsets.contains(&offset)))
    };
    let mut lost = account.told.iter().filter(|told| !is_there(told));
    let Some(first) = lost.next() else { return Ok(()) };
    bail!(
        "{}: {} of {} acknowledged records are not where they were, the first is {first:?}, and lies at {:?}",
        account.name,
        lost.count() + 1,
        account.told.len(),
        progress.offsets.get(&first.number)
    )
}

#[cfg(test)]
mod tests;
