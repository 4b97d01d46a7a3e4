//! OffsetDelete: a group forgets offsets of topics that it is not subscribed to.

use super::{
    call::Call,
    lookup::{self, TopicRef},
};
use crate::{access::AuditEvent, groups::Missing};
use keyway_access::{Operation, Resource};
use keyway_groups::{GroupId, Input, Reply};
use keyway_kafka_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse, offset_delete::*};
use keyway_record::{ErrorCode, PartitionId, TopicName};

pub(super) async fn handle(call: &Call<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    if let Err(error) = call.check(Operation::Delete, Resource::group(&request.group_id)) {
        return refused(error);
    }
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let (mut asked, mut known) = (Vec::new(), Vec::with_capacity(request.topics.len()));
    for topic in &request.topics {
        let found = lookup::permitted(call, TopicRef::Name(&topic.name), Operation::Read);
        known.push(found.as_ref().map(|_| ()).map_err(|error| *error));
        let Ok(found) = found else { continue };
        let indexes = topic.partitions.iter().map(|partition| PartitionId(partition.partition_index));
        let known = indexes.filter(|index| found.partition(*index).is_some());
        asked.extend(known.map(|index| (found.name.clone(), index)));
    }
    let known_topics = request.topics.iter().zip(&known).filter(|(_, known)| known.is_ok());
    let topics: Vec<&str> = known_topics.map(|(topic, _)| topic.name.as_str()).collect();
    let change = call.begin(AuditEvent::OffsetsDeleted { group: &request.group_id, topics: &topics });
    let group = GroupId::from(request.group_id.as_str());
    let input = |caller| Input::DeleteOffsets { caller, partitions: asked };
    let answers = match call.node.groups.ask(call.node, &group, Missing::Leave, input).await {
        Err(error) => Err(error.code(ErrorCode::GroupIdNotFound)),
        Ok(answer) => match answer.await {
            Ok(Reply::DeleteOffsets(answers)) => answers,
            Ok(other) => unreachable!("a deletion is not answered with {other:?}"),
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        },
    };
    let is_any_gone =
        |answers: &Vec<(_, _, ErrorCode)>| answers.iter().any(|(.., error)| *error == ErrorCode::None);
    match answers.as_ref().is_ok_and(is_any_gone) {
        true => change.made(),
        false => change.forget(),
    }
    let mut answers = match answers {
        Ok(answers) => answers.into_iter().peekable(),
        Err(error) => return refused(error),
    };
    let topics = request.topics.into_iter().zip(known).map(|(topic, known)| {
        let of_partition = |OffsetDeleteRequestPartition { partition_index }| {
            // The group answers in the order in which it was asked.
            let is_next = |(name, partition, _): &(TopicName, PartitionId, ErrorCode)| {
                name.as_str() == topic.name && partition.0 == partition_index
            };
            let answer = answers.next_if(is_next);
            let unknown = known.err().unwrap_or(ErrorCode::UnknownTopicOrPartition);
            let error = answer.map_or(unknown, |(.., error)| error);
            OffsetDeleteResponsePartition { partition_index, error_code: error.code() }
        };
        let partitions = topic.partitions.iter().cloned().map(of_partition).collect();
        OffsetDeleteResponseTopic { name: topic.name, partitions }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}
