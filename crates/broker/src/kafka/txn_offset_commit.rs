//! TxnOffsetCommit: offsets that count if the producer's transaction does. Answered when they are durable.

use super::{
    call::{Answer, Call},
    group_call, topic_error,
};
use keyway_groups::{
    Commit, Committed, Generation, GroupId, Input, MemberId, Reply,
    transaction::{Producer, Version},
};
use keyway_kafka_wire::messages::{
    Response, TxnOffsetCommitRequest, TxnOffsetCommitResponse, txn_offset_commit::*,
};
use keyway_record::{ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp};

/// First version in which sending offsets adds the group to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 5;

pub(super) async fn handle(call: &Call<'_>, request: TxnOffsetCommitRequest) -> Answer {
    let committed_at = Timestamp(call.node.world.clock.wall_ms());
    let (mut response, mut offsets) = (TxnOffsetCommitResponse::default(), Vec::new());
    for asked in request.topics {
        let topic = call.node.topics.named(&asked.name);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in asked.partitions {
            let id = PartitionId(partition.partition_index);
            let known = topic.as_ref().filter(|topic| topic.partition(id).is_some());
            let error_code = match known {
                Some(topic) => {
                    offsets.push((topic.name.clone(), id, committed(partition, committed_at)));
                    ASKED
                }
                None => ErrorCode::UnknownTopicOrPartition.code(),
            };
            partitions.push(TxnOffsetCommitResponsePartition { partition_index: id.0, error_code });
        }
        response.topics.push(TxnOffsetCommitResponseTopic { name: asked.name, partitions });
    }
    if offsets.is_empty() {
        return response.into();
    }
    let producer_id = ProducerId(request.producer_id);
    let producer = Producer { id: producer_id, epoch: ProducerEpoch(request.producer_epoch) };
    let rules = if call.version() >= IMPLICIT_FROM { Version::V2 } else { Version::V1 };
    let group = GroupId::from(request.group_id.as_str());
    let commit = Commit {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        generation: Generation(request.generation_id),
        knows_member_epochs: true,
        offsets,
    };
    let input = |caller| Input::CommitInTransaction { caller, producer_id, commit };
    let (node, transactional_id) = (call.node, request.transactional_id.as_str().into());
    let asked =
        node.transactions.commit_offsets(node, &transactional_id, producer, &group, rules, input).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            // What these clients know to go on from.
            let error = match (topic_error::of_fencing(error, false), rules) {
                (ErrorCode::ConcurrentTransactions, Version::V1) => ErrorCode::CoordinatorLoadInProgress,
                (ErrorCode::TransactionAbortable, Version::V1) => ErrorCode::InvalidTxnState,
                (error, _) => error,
            };
            fill(&mut response, std::iter::repeat(error));
            return response.into();
        }
    };
    Answer::Later(Box::pin(async move {
        match answer.await {
            Ok(Reply::Commit(results)) => fill(&mut response, results.iter().map(|(_, _, error)| *error)),
            Ok(other) => unreachable!("a commit is not answered with {other:?}"),
            Err(_) => fill(&mut response, std::iter::repeat(ErrorCode::CoordinatorNotAvailable)),
        }
        Response::TxnOffsetCommit(response)
    }))
}

/// Stands in the response for what the group will say; no error has this code.
const ASKED: i16 = i16::MIN;

fn committed(asked: TxnOffsetCommitRequestPartition, committed_at: Timestamp) -> Committed {
    Committed {
        offset: Offset(asked.committed_offset),
        leader_epoch: LeaderEpoch(asked.committed_leader_epoch),
        metadata: asked.committed_metadata.unwrap_or_default().into(),
        committed_at,
    }
}

/// Puts the group's answers, in the order in which it was asked, into the places that wait for them.
fn fill(response: &mut TxnOffsetCommitResponse, mut answers: impl Iterator<Item = ErrorCode>) {
    let all = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in all.filter(|partition| partition.error_code == ASKED) {
        partition.error_code = answers.next().expect("the group answers for every offset").code();
    }
}
