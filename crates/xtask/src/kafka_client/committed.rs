//! Reading a partition as a reader of committed records sees it: without markers and without what was aborted.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::fetch::{Fetched, Isolation, StoredBatch, WrittenBatch};
use super::{Answer, Connection};

/// The type of a marker that undoes a transaction; 1 makes it count.
const ABORT: i16 = 0;

impl Connection {
    /// All committed records of a partition in which no transaction is open.
    pub(crate) async fn read_committed(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> anyhow::Result<Vec<StoredBatch>> {
        let mut batches = Vec::new();
        let mut offset = 0;
        loop {
            let place = || format!("reading what is committed of {topic}-{partition} from offset {offset}");
            let fetched =
                self.fetch_as(topic, partition, offset, Isolation::Committed).await.with_context(place)?;
            let (stable, high_watermark) = (fetched.last_stable, fetched.high_watermark);
            ensure!(
                stable == high_watermark,
                "a transaction is open in {topic}-{partition} at {stable} of {high_watermark}"
            );
            let reached = fetched.batches.last().map_or(offset, |last| last.batch.last_offset + 1);
            let first_wanted = offset;
            let visible = visible(fetched).with_context(place)?;
            batches.extend(visible.into_iter().filter(|batch| batch.last_offset >= first_wanted));
            if reached >= stable {
                ensure!(reached == stable, "{reached} is read of {stable}");
                return Ok(batches);
            }
            ensure!(reached > offset, "no record at {offset}, and the last stable offset is {stable}");
            offset = reached;
        }
    }
}

/// The batches of one answer that count.
fn visible(fetched: Fetched) -> anyhow::Result<Vec<StoredBatch>> {
    let mut aborted = fetched.aborted;
    aborted.sort_unstable_by_key(|one| one.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut undone = BTreeSet::new();
    let mut visible = Vec::new();
    for WrittenBatch { batch, producer_id, is_transactional, is_control } in fetched.batches {
        while let Some(begun) = aborted.next_if(|one| one.first_offset <= batch.last_offset) {
            undone.insert(begun.producer_id);
        }
        if is_control {
            let marker = batch.records.first().context("a control batch without a record")?;
            let mut key = Answer::new(marker.key.clone());
            let (_version, kind) = (key.i16()?, key.i16()?);
            let was_undone = undone.remove(&producer_id);
            ensure!(
                (kind == ABORT) || !was_undone,
                "a transaction of producer {producer_id} is told to be aborted and ends with a commit at {}",
                batch.base_offset
            );
        } else if !(is_transactional && undone.contains(&producer_id)) {
            visible.push(batch);
        }
    }
    Ok(visible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka_client::fetch::{Aborted, StoredRecord};

    /// A batch with one record at this offset.
    fn batch(offset: i64, producer_id: i64, key: Vec<u8>) -> WrittenBatch {
        let records = vec![StoredRecord { offset, key, value: Vec::new() }];
        let batch = StoredBatch { base_offset: offset, last_offset: offset, records };
        WrittenBatch { batch, producer_id, is_transactional: true, is_control: false }
    }

    fn marker(offset: i64, producer_id: i64, kind: i16) -> WrittenBatch {
        let key = [0_i16.to_be_bytes(), kind.to_be_bytes()].concat();
        WrittenBatch { is_control: true, ..batch(offset, producer_id, key) }
    }

    fn offsets(batches: Vec<WrittenBatch>, aborted: &[(i64, i64)]) -> anyhow::Result<Vec<i64>> {
        let aborted =
            aborted.iter().map(|&(producer_id, first_offset)| Aborted { producer_id, first_offset });
        let fetched = Fetched { high_watermark: 9, last_stable: 9, aborted: aborted.collect(), batches };
        Ok(visible(fetched)?.iter().map(|batch| batch.base_offset).collect())
    }

    #[test]
    fn what_is_between_its_beginning_and_its_marker_is_undone() {
        let log = || {
            vec![
                batch(0, 1, Vec::new()),
                batch(1, 2, Vec::new()),
                WrittenBatch { is_transactional: false, ..batch(2, -1, Vec::new()) },
                marker(3, 1, ABORT),
                batch(4, 1, Vec::new()),
                marker(5, 2, 1),
                marker(6, 1, 1),
            ]
        };
        assert_eq!(offsets(log(), &[(1, 0)]).expect("well"), [1, 2, 4]);
        assert_eq!(offsets(log(), &[]).expect("well"), [0, 1, 2, 4]);
        assert!(offsets(log(), &[(1, 4)]).is_err(), "it ends with a commit");
    }
}
