//! What OffsetCommit and TxnOffsetCommit have in common: places in a response that wait for the group's answers.

use keyway_groups::{Committed, Reply};
use keyway_record::{ErrorCode, LeaderEpoch, Offset, Timestamp};

/// Stands in a response for what the group will say; no error has this code.
pub(super) const ASKED: i16 = i16::MIN;

/// What a client wants to be committed for a partition.
pub(super) fn committed(
    offset: i64,
    leader_epoch: i32,
    metadata: Option<String>,
    committed_at: Timestamp,
) -> Committed {
    Committed {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: metadata.unwrap_or_default().into(),
        committed_at,
    }
}

/// Puts the group's answer, in the order in which it was asked, into the places that wait for it.
pub(super) fn fill<'a>(codes: impl Iterator<Item = &'a mut i16>, answer: Result<Reply, ErrorCode>) {
    let waiting = codes.filter(|code| **code == ASKED);
    match answer {
        Ok(Reply::Commit(results)) => {
            let mut results = results.into_iter();
            waiting.for_each(|code| {
                let (_, _, error) = results.next().expect("the group answers for every offset");
                *code = error.code();
            });
        }
        Err(error) => waiting.for_each(|code| *code = error.code()),
        Ok(other) => unreachable!("a commit is not answered with {other:?}"),
    }
}
