//! TxnOffsetCommit: offsets that count if the producer's transaction does. Answered when they are durable.

use super::{
    call::{Answer, Call},
    group_call,
    lookup::{self, TopicRef},
    offset_answers::{ASKED, committed, fill},
    topic_error,
};
use keyway_access::{Operation, Resource};
use keyway_groups::{
    Commit, Generation, GroupId, Input, MemberId,
    transaction::{Producer, Version},
};
use keyway_kafka_wire::messages::{
    Response, TxnOffsetCommitRequest, TxnOffsetCommitResponse, txn_offset_commit::*,
};
use keyway_record::{ErrorCode, PartitionId, ProducerEpoch, ProducerId, Timestamp};

/// First version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;

/// First version in which sending offsets adds the group to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 5;

pub(super) async fn handle(call: &Call<'_>, request: TxnOffsetCommitRequest) -> Answer {
    let committed_at = Timestamp(call.node.world.clock.wall_ms());
    let (mut response, mut offsets) = (TxnOffsetCommitResponse::default(), Vec::new());
    let permitted = call
        .check(Operation::Write, Resource::transactional_id(&request.transactional_id))
        .and_then(|()| call.check(Operation::Read, Resource::group(&request.group_id)));
    for asked in request.topics {
        let topic =
            permitted.and_then(|()| lookup::permitted(call, TopicRef::Name(&asked.name), Operation::Read));
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in asked.partitions {
            let id = PartitionId(partition.partition_index);
            let known = lookup::partition(&topic, id.0).and(topic.as_ref().map_err(|error| *error));
            let error_code = match known {
                Ok(topic) => {
                    let committed = committed(
                        partition.committed_offset,
                        partition.committed_leader_epoch,
                        partition.committed_metadata,
                        committed_at,
                    );
                    offsets.push((topic.name.clone(), id, committed));
                    ASKED
                }
                Err(error) => error.code(),
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
            let busy = ErrorCode::CoordinatorLoadInProgress;
            let knows_abortable = call.version() >= ABORTABLE_FROM;
            let error = topic_error::of_transactional_write(error, rules, busy, knows_abortable);
            fill(codes(&mut response), Err(error));
            return response.into();
        }
    };
    Answer::Later(Box::pin(async move {
        let answer = answer.await.map_err(|_| ErrorCode::CoordinatorNotAvailable);
        fill(codes(&mut response), answer);
        Response::TxnOffsetCommit(response)
    }))
}

fn codes(response: &mut TxnOffsetCommitResponse) -> impl Iterator<Item = &mut i16> {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    partitions.map(|partition| &mut partition.error_code)
}
