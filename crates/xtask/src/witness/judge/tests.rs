//! Every promise with a log that breaks it.

use super::super::account::Told;
use super::*;
use crate::kafka_client::StoredRecord;

/// Two producers of one partition: `even` is idempotent, `odd` is plain; each has sent six records and was told of four.
fn accounts() -> [Account; 2] {
    let account = |name, kind| {
        let mut account = Account::new(name, kind, 50);
        account.sent = 6;
        account.told = (0..4)
            .map(|number| {
                let offset = Some(2 * number as i64 + i64::from(kind == Kind::Plain));
                Told { number, partition: 0, offset }
            })
            .collect();
        account
    };
    [account("even", Kind::Idempotent), account("odd", Kind::Plain)]
}

/// Records in batches of two, at the offsets that the order gives them.
fn log(records: &[(&str, u64)]) -> Found {
    let accounts = accounts();
    let stored = |(offset, (name, number)): (usize, &(&str, u64))| {
        let account = accounts.iter().find(|account| account.name == *name).expect("one of the two");
        StoredRecord { offset: offset as i64, key: Vec::new(), value: account.value(*number) }
    };
    let records: Vec<StoredRecord> = records.iter().enumerate().map(stored).collect();
    let batches = records.chunks(2).map(|chunk| StoredBatch {
        base_offset: chunk[0].offset,
        last_offset: chunk[chunk.len() - 1].offset,
        records: chunk.to_vec(),
    });
    Found { partitions: vec![batches.collect()] }
}

/// What both producers sent first, one after the other.
fn told() -> Vec<(&'static str, u64)> {
    (0..4).flat_map(|number| [("even", number), ("odd", number)]).collect()
}

fn verdict(found: &Found) -> anyhow::Result<Verdict> {
    let accounts = accounts();
    judge(&[&accounts[0], &accounts[1]], found)
}

#[track_caller]
fn refused(found: &Found, words: &str) {
    let error = format!("{:#}", verdict(found).expect_err("a promise is broken"));
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_log_that_keeps_its_promises_passes() {
    let kept = Verdict { records: 8, acknowledged: 8, repeated: 0 };
    assert_eq!(verdict(&log(&told())).expect("all is well"), kept);
    // What nobody was told of may be there, and a plain producer's may be there again.
    let more = [told(), vec![("odd", 2), ("odd", 3), ("odd", 4), ("even", 4)]].concat();
    let kept = Verdict { records: 12, acknowledged: 8, repeated: 2 };
    assert_eq!(verdict(&log(&more)).expect("all is well"), kept);
}

#[test]
fn a_lost_tail_is_seen() {
    refused(&log(&told()[..7]), "1 of 4 acknowledged records");
    refused(&log(&[]), "4 of 4 acknowledged records");
}

#[test]
fn a_lost_record_in_the_middle_is_seen() {
    let mut records = told();
    records.remove(4);
    refused(&log(&records), "record 3 is stored where 2 is missing");
    let mut found = log(&told());
    found.partitions[0].remove(1);
    refused(&found, "a batch at offset 4 where 2 is next");
    let mut found = log(&told());
    found.partitions[0][1].records.pop();
    refused(&found, "have other offsets");
}

#[test]
fn a_lost_record_that_another_one_replaced_is_seen() {
    let mut records = told();
    records[7] = ("even", 4);
    refused(&log(&records), "1 of 4 acknowledged records");
}

#[test]
fn an_idempotent_producer_is_stored_once() {
    refused(&log(&[told(), vec![("even", 3)]].concat()), "record 3 is stored twice");
}

#[test]
fn order_by_producer_is_kept() {
    let mut records = told();
    records.swap(1, 3);
    refused(&log(&records), "record 1 is stored where 0 is missing");
}

#[test]
fn what_nobody_sent_is_seen() {
    refused(&log(&[told(), vec![("odd", 4), ("odd", 5), ("odd", 6)]].concat()), "never sent");
    let mut found = log(&told());
    *found.partitions[0][3].records[1].value.last_mut().expect("a value") ^= 1;
    refused(&found, "never sent");
}

#[test]
fn a_record_stays_in_its_partition() {
    let mut found = log(&told());
    found.partitions.push(log(&[("odd", 4)]).partitions.remove(0));
    refused(&found, "odd wrote to partition 0 before");
}
