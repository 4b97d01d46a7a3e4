//! Retention by time and by size.

use super::{Home, append, batch, durable, fill, partition, read_all};
use crate::{LogConfig, LogStore, PartitionLog, Ticket};
use keyway_record::{Offset, Timestamp};

/// Bytes of a segment in these tests.
const SEGMENT_BYTES: u64 = 4_000;

fn by_time(retention_ms: i64) -> LogConfig {
    LogConfig { segment_bytes: Some(SEGMENT_BYTES), retention_ms: Some(retention_ms), ..LogConfig::default() }
}

fn by_size(retention_bytes: u64) -> LogConfig {
    LogConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        retention_bytes: Some(retention_bytes),
        ..LogConfig::default()
    }
}

fn start(log: &dyn PartitionLog) -> Offset {
    log.bounds().start
}

/// Appends 100 batches of about 1,000 bytes, the times 0, 10, 20 …
fn hundred(store: &dyn LogStore, log: &dyn PartitionLog) -> u64 {
    let mut last = Ticket::default();
    let mut bytes = 0;
    for index in 0..100 {
        let batch = batch(1, 930, index * 10);
        bytes += batch.bytes().len() as u64;
        last = append(store, log, &batch).ticket;
    }
    durable(store, last);
    bytes
}

/// The default is to keep.
pub fn an_unconfigured_log_keeps_everything(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [0, 1, 2]);
    let cleaned = store.clean(Timestamp(i64::MAX)).unwrap();
    assert_eq!((cleaned.trimmed_partitions, start(log.as_ref())), (0, Offset(0)));
}

/// Everything goes once it is all too old, nothing before that is too young, and the log goes on where it was.
pub fn old_records_go_and_young_ones_stay(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    hundred(store.as_ref(), log.as_ref());
    log.configure(by_time(500));
    store.clean(Timestamp(500)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(0), "a record of exactly that age stays");
    store.clean(Timestamp(800)).unwrap();
    let kept = start(log.as_ref());
    assert!(kept <= Offset(30), "the record at 30 is 500 ms old and stays; the log starts at {kept}");
    assert_eq!(read_all(log.as_ref(), kept).len() as i64, 100 - kept.0);
    let cleaned = store.clean(Timestamp(990 + 501)).unwrap();
    assert_eq!((cleaned.trimmed_partitions, start(log.as_ref())), (1, Offset(100)));
    assert_eq!(store.clean(Timestamp(5_000)).unwrap().trimmed_partitions, 0, "there is nothing left to do");
    assert!(read_all(log.as_ref(), Offset(100)).is_empty());
    let appended = append(store.as_ref(), log.as_ref(), &batch(1, 10, 2_000));
    assert_eq!(appended.base_offset, Offset(100));
    durable(store.as_ref(), appended.ticket);
    store.clean(Timestamp(2_100)).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(100)).len(), 1);
}

/// Times need not ascend: what lies behind a young record is kept with it, however old.
pub fn a_young_record_keeps_its_neighbours_behind_it(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [10_000, 1, 2, 3]);
    log.configure(by_time(100));
    store.clean(Timestamp(9_000)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(0));
    store.clean(Timestamp(10_101)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(4));
}

/// A record that states no time cannot be known to be old.
pub fn records_without_a_time_do_not_age(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [-1, -1]);
    log.configure(by_time(100));
    store.clean(Timestamp(1_000)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(0));
}

/// The oldest go while enough remain, and never more than a segment too few of them.
pub fn surplus_bytes_go(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let bytes = hundred(store.as_ref(), log.as_ref());
    log.configure(by_size(bytes));
    store.clean(Timestamp(0)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(0));
    // As large as the engine made them before it was told.
    let others = store.create(&partition("b")).unwrap();
    others.configure(by_size(20_000));
    hundred(store.as_ref(), others.as_ref());
    store.clean(Timestamp(0)).unwrap();
    let kept: u64 = read_all(others.as_ref(), start(others.as_ref()))
        .iter()
        .map(|batch| batch.bytes().len() as u64)
        .sum();
    assert!((20_000..=20_000 + SEGMENT_BYTES).contains(&kept), "{kept} bytes are kept");
}

/// The last config counts.
pub fn a_config_acts_from_the_next_pass_on(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [10, 20, 30]);
    log.configure(by_time(10));
    log.configure(LogConfig::default());
    store.clean(Timestamp(1_000)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(0));
    store.open(&partition("a")).unwrap().configure(by_time(10));
    store.clean(Timestamp(1_000)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(3));
}

/// A start that moved is not forgotten.
pub fn what_was_given_up_stays_so(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    hundred(store.as_ref(), log.as_ref());
    log.configure(by_time(100));
    store.clean(Timestamp(2_000)).unwrap();
    fill(store.as_ref(), log.as_ref(), [3_000]);
    drop((log, store));
    let store = home();
    let log = store.open(&partition("a")).unwrap();
    assert_eq!((start(log.as_ref()), log.bounds().end), (Offset(100), Offset(101)));
    store.clean(Timestamp(i64::MAX)).unwrap();
    assert_eq!(start(log.as_ref()), Offset(100), "opened anew, it keeps everything until it is configured");
}
