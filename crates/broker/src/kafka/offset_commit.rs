//! OffsetCommit: answered when the offsets are durable.

use super::{
    call::{Answer, Call},
    group_call,
    lookup::{self, TopicRef},
};
use crate::groups::Missing;
use keyway_groups::{Commit, Committed, Generation, Input, MemberId, Reply};
use keyway_kafka_wire::messages::{OffsetCommitRequest, OffsetCommitResponse, Response, offset_commit::*};
use keyway_record::{ErrorCode, LeaderEpoch, Offset, PartitionId, Timestamp};

/// First version whose clients may state a member epoch.
const EPOCHS_FROM: i16 = 9;

/// First version that names topics by id.
const IDS_FROM: i16 = 10;

pub(super) async fn handle(call: &Call<'_>, request: OffsetCommitRequest) -> Answer {
    let generation = Generation(request.generation_id_or_member_epoch);
    let committed_at = Timestamp(call.node.world.clock.wall_ms());
    let (mut response, mut offsets) = (OffsetCommitResponse::default(), Vec::new());
    for asked in request.topics {
        let reference = TopicRef::of(call.version() >= IDS_FROM, &asked.name, asked.topic_id);
        let topic = lookup::topic(call.node, reference);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in asked.partitions {
            let id = PartitionId(partition.partition_index);
            let known = match &topic {
                None => Err(reference.unknown()),
                Some(topic) => topic.partition(id).map(|_| topic).ok_or(ErrorCode::UnknownTopicOrPartition),
            };
            let error_code = match known {
                Ok(topic) => {
                    offsets.push((topic.name.clone(), id, committed(partition, committed_at)));
                    ASKED
                }
                Err(error) => error.code(),
            };
            partitions.push(OffsetCommitResponsePartition { partition_index: id.0, error_code });
        }
        response.topics.push(OffsetCommitResponseTopic {
            name: asked.name,
            topic_id: asked.topic_id,
            partitions,
        });
    }
    if offsets.is_empty() {
        return response.into();
    }
    let commit = Commit {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        generation,
        knows_member_epochs: call.version() >= EPOCHS_FROM,
        offsets,
    };
    // A client outside of membership may bring the group about.
    let missing = if generation < Generation(0) { Missing::Create } else { Missing::Leave };
    let respond = move |reply| {
        match reply {
            Ok(Reply::Commit(results)) => fill(&mut response, results.iter().map(|(_, _, error)| *error)),
            Err(error) => fill(&mut response, std::iter::repeat(error)),
            Ok(other) => unreachable!("a commit is not answered with {other:?}"),
        }
        Response::OffsetCommit(response)
    };
    let input = |caller| Input::Commit { caller, commit };
    let unknown = match call.version() {
        ..EPOCHS_FROM => ErrorCode::IllegalGeneration,
        _ => ErrorCode::GroupIdNotFound,
    };
    group_call::ask(call, &request.group_id, missing, unknown, input, respond).await
}

/// Stands in the response for what the group will say; no error has this code.
const ASKED: i16 = i16::MIN;

fn committed(asked: OffsetCommitRequestPartition, committed_at: Timestamp) -> Committed {
    Committed {
        offset: Offset(asked.committed_offset),
        leader_epoch: LeaderEpoch(asked.committed_leader_epoch),
        metadata: asked.committed_metadata.unwrap_or_default().into(),
        committed_at,
    }
}

/// Puts the group's answers, in the order in which it was asked, into the places that wait for them.
fn fill(response: &mut OffsetCommitResponse, mut answers: impl Iterator<Item = ErrorCode>) {
    let all = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in all.filter(|partition| partition.error_code == ASKED) {
        partition.error_code = answers.next().expect("the group answers for every offset").code();
    }
}
