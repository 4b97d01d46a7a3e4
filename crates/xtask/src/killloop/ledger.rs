//! What transactional producers asked for and were told, and whether what readers of committed records see agrees.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use crate::witness::Found;

/// Transactions of one producer, by number.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    name: String,
    transactions: BTreeMap<u64, Transaction>,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    records: u64,
    /// A commit was, or would have been, asked for.
    wants_commit: bool,
    end: Option<End>,
}

/// What the producer was told of its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Committed,
    Aborted,
    Unknown,
}

/// How many transactions there were.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) committed: usize,
    pub(super) aborted: usize,
    /// Of these no producer knows.
    pub(super) unknown: usize,
}

impl Ledger {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_string(), ..Self::default() }
    }

    /// Reads a producer's line; "#" begins a remark.
    pub(super) fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", ..] => {}
            ["begin", number, records, wanted] => {
                let begun = Transaction {
                    records: records.parse().ok()?,
                    wants_commit: wanted == "commit",
                    end: None,
                };
                self.transactions.insert(number.parse().ok()?, begun);
            }
            ["end", number, end] => {
                let end = match end {
                    "committed" => End::Committed,
                    "aborted" => End::Aborted,
                    "unknown" => End::Unknown,
                    _ => return None,
                };
                self.transactions.get_mut(&number.parse().ok()?)?.end = Some(end);
            }
            _ => return None,
        }
        Some(())
    }

    /// Each transaction is there as a whole or not at all, as its producer was told. `seen`: how many of its records are.
    fn check(&self, seen: &BTreeMap<(&str, u64), u64>, counts: &mut Counts) -> anyhow::Result<()> {
        for (number, transaction) in &self.transactions {
            let Transaction { records, wants_commit, end } = *transaction;
            let seen = seen.get(&(self.name.as_str(), *number)).copied().unwrap_or(0);
            let what = || format!("{seen} of {records} records of {} {number} are seen", self.name);
            ensure!(seen == 0 || seen == records, "a torn transaction: {}", what());
            ensure!(seen == 0 || wants_commit, "nobody asked for its commit: {}", what());
            match end {
                Some(End::Committed) => {
                    ensure!(seen == records, "its commit was acknowledged: {}", what());
                    counts.committed += 1;
                }
                Some(End::Aborted) => {
                    ensure!(seen == 0, "it was aborted: {}", what());
                    counts.aborted += 1;
                }
                Some(End::Unknown) | None => counts.unknown += 1,
            }
        }
        Ok(())
    }
}

/// Judges what readers of committed records see, whole partitions of it. A record's value is `PRODUCER:TRANSACTION:RECORD`,
/// and record n of a transaction goes to partition n, counted around.
pub(super) fn judge(ledgers: &[&Ledger], visible: &Found) -> anyhow::Result<Counts> {
    let by_name: BTreeMap<&str, &Ledger> =
        ledgers.iter().map(|ledger| (ledger.name.as_str(), *ledger)).collect();
    let mut seen: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (partition, batches) in visible.partitions.iter().enumerate() {
        let mut last: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for record in batches.iter().flat_map(|batch| &batch.records) {
            let place = || format!("partition {partition}, offset {}", record.offset);
            let parts = parts(&record.value).with_context(|| format!("{}: a foreign value", place()))?;
            let (name, transaction, number) = parts;
            let ledger = by_name.get(name).with_context(|| format!("{}: nobody is {name}", place()))?;
            let begun = ledger.transactions.get(&transaction);
            let is_one = begun.is_some_and(|begun| number < begun.records);
            let is_here = number as usize % visible.partitions.len() == partition;
            ensure!(is_one && is_here, "{}: {name} never sent {transaction}:{number} here", place());
            let before = last.insert(name, (transaction, number));
            ensure!(
                before < Some((transaction, number)),
                "{}: {transaction}:{number} of {name} comes after {before:?}",
                place()
            );
            *seen.entry((name, transaction)).or_default() += 1;
        }
    }
    let mut counts = Counts::default();
    ledgers.iter().try_for_each(|ledger| ledger.check(&seen, &mut counts))?;
    Ok(counts)
}

fn parts(value: &[u8]) -> Option<(&str, u64, u64)> {
    let mut parts = std::str::from_utf8(value).ok()?.split(':');
    let parsed = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka_client::{StoredBatch, StoredRecord};

    const TOLD: [&str; 8] = [
        "begin 0 3 commit",
        "end 0 committed",
        "begin 1 2 abort",
        "end 1 aborted",
        "begin 2 2 commit",
        "# commit was not answered",
        "end 2 unknown",
        "begin 3 2 abandon",
    ];
    const WHOLE: [&[&str]; 2] = [&["a:0:0", "a:0:2", "a:2:0"], &["a:0:1", "a:2:1"]];

    fn judged(told: &[&str], partitions: &[&[&str]]) -> anyhow::Result<Counts> {
        let mut ledger = Ledger::new("a");
        told.iter().for_each(|line| ledger.take(line).expect("a line as producers print it"));
        let stored = |values: &&[&str]| {
            let records = (0..).zip(*values).map(|(offset, value)| StoredRecord {
                offset,
                key: Vec::new(),
                value: value.as_bytes().to_vec(),
            });
            vec![StoredBatch {
                base_offset: 0,
                last_offset: values.len() as i64 - 1,
                records: records.collect(),
            }]
        };
        judge(&[&ledger], &Found { partitions: partitions.iter().map(stored).collect() })
    }

    fn refused(told: &[&str], partitions: &[&[&str]], reason: &str) {
        let error = format!("{:#}", judged(told, partitions).expect_err("a promise is broken"));
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn transactions_that_are_whole_or_absent_pass() {
        let counts = Counts { committed: 1, aborted: 1, unknown: 2 };
        assert_eq!(judged(&TOLD, &WHOLE).expect("all is well"), counts);
        // The commit that was not answered may not have come to pass.
        assert_eq!(judged(&TOLD, &[&WHOLE[0][..2], &WHOLE[1][..1]]).expect("all is well"), counts);
    }

    #[test]
    fn an_acknowledged_commit_that_is_lost_is_seen() {
        refused(&TOLD, &[&WHOLE[0][2..], &WHOLE[1][1..]], "its commit was acknowledged: 0 of 3");
        let error = judged(&TOLD, &[&[], &[]]).expect_err("lost").to_string();
        assert!(error.contains("acknowledged"), "{error}");
    }

    #[test]
    fn a_torn_transaction_is_seen() {
        refused(&TOLD, &[WHOLE[0], &WHOLE[1][..1]], "torn");
        refused(&TOLD, &[&WHOLE[0][1..], WHOLE[1]], "torn");
    }

    #[test]
    fn what_was_aborted_or_abandoned_is_seen() {
        for (first, second) in [("a:1:0", "a:1:1"), ("a:3:0", "a:3:1")] {
            let partitions =
                [&[&WHOLE[0][..2], &[first]].concat()[..], &[&WHOLE[1][..1], &[second]].concat()];
            refused(&TOLD, &partitions, "nobody asked for its commit");
        }
        let told = [&TOLD[..6], &["end 2 aborted"]].concat();
        refused(&told, &WHOLE, "it was aborted");
    }

    #[test]
    fn repeated_reordered_and_foreign_records_are_seen() {
        refused(&TOLD, &[&["a:0:0", "a:0:0", "a:0:2"], &["a:0:1"]], "comes after");
        refused(&TOLD, &[&["a:0:2", "a:0:0"], &["a:0:1"]], "comes after");
        refused(&TOLD, &[&["a:0:0", "a:0:2", "a:0:4"], &["a:0:1"]], "never sent");
        refused(&TOLD, &[&["a:0:1"], &[]], "never sent");
        refused(&TOLD, &[&["b:0:0"], &[]], "nobody is b");
        refused(&TOLD, &[&["rubbish"], &[]], "foreign");
    }
}
