//! OffsetCommit: answered when the offsets are durable.

use super::{
    call::{Answer, Call},
    group_call,
    lookup::{self, TopicRef},
    offset_answers::{ASKED, committed, fill},
};
use crate::{
    access::{AuditEvent, Change},
    groups::Missing,
};
use keyway_access::{Operation, Resource};
use keyway_groups::{Commit, Generation, Input, MemberId};
use keyway_kafka_wire::messages::{OffsetCommitRequest, OffsetCommitResponse, Response, offset_commit::*};
use keyway_record::{ErrorCode, PartitionId, Timestamp};

/// First version whose clients may state a member epoch.
const EPOCHS_FROM: i16 = 9;

/// First version that names topics by id.
const IDS_FROM: i16 = 10;

pub(super) async fn handle(call: &Call<'_>, request: OffsetCommitRequest) -> Answer {
    let generation = Generation(request.generation_id_or_member_epoch);
    let committed_at = Timestamp(call.node.world.clock.wall_ms());
    let (mut response, mut offsets) = (OffsetCommitResponse::default(), Vec::new());
    let permitted = call.check(Operation::Read, Resource::group(&request.group_id));
    for asked in request.topics {
        let reference = TopicRef::of(call.version() >= IDS_FROM, &asked.name, asked.topic_id);
        let topic = permitted.and_then(|()| lookup::permitted(call, reference, Operation::Read));
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
    // A client outside of membership may bring the group about. Tools that reset offsets are such clients.
    let (missing, change) = match generation < Generation(0) {
        true => {
            let mut topics: Vec<&str> = offsets.iter().map(|(topic, ..)| topic.as_str()).collect();
            topics.dedup();
            let event = AuditEvent::OffsetsSet { group: &request.group_id, topics: &topics };
            (Missing::Create, call.begin(event))
        }
        false => (Missing::Leave, Change::untold()),
    };
    let commit = Commit {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        generation,
        knows_member_epochs: call.version() >= EPOCHS_FROM,
        offsets,
    };
    let respond = move |reply| {
        fill(codes(&mut response), reply);
        match codes(&mut response).any(|code| *code == ErrorCode::None.code()) {
            true => change.made(),
            false => change.forget(),
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

fn codes(response: &mut OffsetCommitResponse) -> impl Iterator<Item = &mut i16> {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    partitions.map(|partition| &mut partition.error_code)
}
