//! OffsetFetch: what groups have committed, as far as it is durable.

use super::{
    call::Call,
    lookup::{self, TopicRef},
};
use keyway_access::{Operation, Resource};
use keyway_groups::{Committed, Group, GroupId, MemberEpoch, MemberId, Offsets, WaitingOffsets};
use keyway_kafka_wire::messages::{OffsetFetchRequest, OffsetFetchResponse, offset_fetch::*};
use keyway_record::{ErrorCode, PartitionId, TopicName};
use std::collections::BTreeMap;

/// First version with an error of the whole group; before, its partitions have it.
const ERROR_FROM: i16 = 2;

/// First version that asks for several groups.
const GROUPS_FROM: i16 = 8;

/// First version that names topics by id.
const IDS_FROM: i16 = 10;

pub(super) async fn handle(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version() < GROUPS_FROM {
        return one_group(call, request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for asked in request.groups {
        groups.push(group(call, asked, request.require_stable).await);
    }
    OffsetFetchResponse { groups, ..Default::default() }
}

/// A group's offsets, and those of them that must not be told yet.
#[derive(Default)]
struct Readable {
    offsets: Offsets,
    waiting: WaitingOffsets,
}

/// The older form, answered by way of the newer one.
async fn one_group(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let newer = |asked: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: asked.name,
        partition_indexes: asked.partition_indexes,
        ..Default::default()
    };
    let asked = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| topics.into_iter().map(newer).collect()),
        ..Default::default()
    };
    let topics = asked.topics.clone().unwrap_or_default();
    let mut answered = group(call, asked, request.require_stable).await;
    if call.version() < ERROR_FROM && answered.error_code != ErrorCode::None.code() {
        answered.topics = refused_topics(topics, answered.error_code);
    }
    let older = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(older_partition).collect(),
    };
    OffsetFetchResponse {
        topics: answered.topics.into_iter().map(older).collect(),
        error_code: answered.error_code,
        ..Default::default()
    }
}

fn refused_topics(topics: Vec<OffsetFetchRequestTopics>, error_code: i16) -> Vec<OffsetFetchResponseTopics> {
    let refused =
        |index: &i32| OffsetFetchResponsePartitions { error_code, ..partition(PartitionId(*index), None) };
    let of_topic = |topic: OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        partitions: topic.partition_indexes.iter().map(refused).collect(),
        name: topic.name,
        ..Default::default()
    };
    topics.into_iter().map(of_topic).collect()
}

fn older_partition(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

/// `require_stable`: offsets that a transaction is about to change are not told (KIP-447).
async fn group(
    call: &Call<'_>,
    asked: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    if let Err(error) = call.check(Operation::Describe, Resource::group(&asked.group_id)) {
        return refused(asked.group_id, error);
    }
    let group = GroupId::from(asked.group_id.as_str());
    let member = asked.member_id.map(|id| (MemberId::from(id.as_str()), MemberEpoch(asked.member_epoch)));
    let read = move |group: &Group| {
        group.may_fetch(member.as_ref().map(|(id, epoch)| (id, *epoch)))?;
        let waiting = if require_stable { group.waiting_offsets().clone() } else { Default::default() };
        Ok(Readable { offsets: group.offsets().clone(), waiting })
    };
    let readable = match call.node.groups.read(&group, read).await {
        Ok(Ok(readable)) => readable,
        Ok(Err(error)) => return refused(asked.group_id, error),
        Err(error) => match error.code(ErrorCode::None) {
            // A group that never committed is no error.
            ErrorCode::None => Readable::default(),
            error => return refused(asked.group_id, error),
        },
    };
    let topics = match asked.topics {
        None => {
            let topics = readable.offsets.topics();
            topics.filter_map(|(name, partitions)| whole_topic(call, &readable, name, partitions)).collect()
        }
        Some(topics) => topics.into_iter().map(|asked| topic(call, asked, &readable)).collect(),
    };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, ..Default::default() }
}

fn refused(group_id: String, error: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup { group_id, error_code: error.code(), ..Default::default() }
}

/// All that was committed in a topic that the client may know of. Versions with ids cannot speak of a topic that is gone.
fn whole_topic(
    call: &Call<'_>,
    readable: &Readable,
    name: &TopicName,
    partitions: &BTreeMap<PartitionId, Committed>,
) -> Option<OffsetFetchResponseTopics> {
    if !call.sees(Operation::Describe, Resource::topic(name.as_str())) {
        return None;
    }
    let topic_id = match call.version() {
        ..IDS_FROM => Default::default(),
        _ => call.node.topics.named(name.as_str())?.id,
    };
    let partition = |(id, committed): (&PartitionId, _)| match readable.waiting.contains(name, *id) {
        true => unstable(*id),
        false => partition(*id, Some(committed)),
    };
    Some(OffsetFetchResponseTopics {
        name: name.to_string(),
        topic_id,
        partitions: partitions.iter().map(partition).collect(),
    })
}

fn topic(call: &Call<'_>, asked: OffsetFetchRequestTopics, readable: &Readable) -> OffsetFetchResponseTopics {
    let reference = TopicRef::of(call.version() >= IDS_FROM, &asked.name, asked.topic_id);
    let name = match reference {
        // Whether the topic exists does not matter to who knows its name.
        TopicRef::Name(name) => {
            call.check(Operation::Describe, Resource::topic(name)).map(|()| TopicName::new(name).ok())
        }
        TopicRef::Id(_) => {
            lookup::permitted(call, reference, Operation::Describe).map(|topic| Some(topic.name.clone()))
        }
    };
    let (name, error) = match name {
        Ok(name) => (name, ErrorCode::None),
        Err(error) => (None, error),
    };
    let of_partition = |index: &i32| {
        let id = PartitionId(*index);
        if name.as_ref().is_some_and(|name| readable.waiting.contains(name, id)) {
            return unstable(id);
        }
        let found = partition(id, name.as_ref().and_then(|name| readable.offsets.get(name, id)));
        OffsetFetchResponsePartitions { error_code: error.code(), ..found }
    };
    let partitions = asked.partition_indexes.iter().map(of_partition).collect();
    OffsetFetchResponseTopics { topic_id: asked.topic_id, partitions, name: asked.name }
}

fn unstable(id: PartitionId) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        error_code: ErrorCode::UnstableOffsetCommit.code(),
        ..partition(id, None)
    }
}

fn partition(id: PartitionId, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: id.0,
        committed_offset: committed.map_or(-1, |committed| committed.offset.0),
        committed_leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch.0),
        metadata: Some(committed.map(|committed| committed.metadata.as_ref().to_owned()).unwrap_or_default()),
        ..Default::default()
    }
}
