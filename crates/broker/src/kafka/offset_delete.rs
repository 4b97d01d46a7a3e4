//! OffsetDelete: a group forgets offsets of topics that it is not subscribed to.

use super::call::Call;
use crate::groups::Missing;
use keyway_groups::{GroupId, Input, Reply};
use keyway_kafka_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse, offset_delete::*};
use keyway_record::{ErrorCode, PartitionId};

pub(super) async fn handle(call: &Call<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let (mut asked, mut exists) = (Vec::new(), Vec::with_capacity(request.topics.len()));
    for topic in &request.topics {
        let found = call.node.topics.named(&topic.name);
        exists.push(found.is_some());
        asked.extend(found.iter().flat_map(|found| {
            let at = |partition: &OffsetDeleteRequestPartition| PartitionId(partition.partition_index);
            topic.partitions.iter().map(move |partition| (found.name.clone(), at(partition)))
        }));
    }
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
    let mut answers = match answers {
        Ok(answers) => answers.into_iter(),
        Err(error) => return refused(error),
    };
    let topics = request.topics.into_iter().zip(exists).map(|(topic, exists)| {
        let of_partition = |partition: OffsetDeleteRequestPartition| {
            let error = match exists {
                true => answers.next().expect("the group answers for every partition").2,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            }
        };
        let partitions = topic.partitions.into_iter().map(of_partition).collect();
        OffsetDeleteResponseTopic { name: topic.name, partitions }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}
