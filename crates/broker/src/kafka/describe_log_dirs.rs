//! DescribeLogDirs: the data folder, the bytes of each partition in it, and the room that its file system has.

use super::call::Call;
use crate::topics::Topic;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, describe_log_dirs::*};
use keyway_record::PartitionId;
use std::sync::Arc;

pub(super) fn handle(call: &Call<'_>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    if let Err(error) = call.check(Operation::Describe, Resource::CLUSTER) {
        return DescribeLogDirsResponse { error_code: error.code(), ..Default::default() };
    }
    let topics = match request.topics {
        None => call.node.topics.all().iter().map(whole).collect(),
        Some(asked) => asked.into_iter().filter_map(|asked| part(call, asked)).collect(),
    };
    let volume = call.node.store.volume();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let result = DescribeLogDirsResult {
        log_dir: volume.as_ref().map(|volume| volume.folder.display().to_string()).unwrap_or_default(),
        topics,
        total_bytes: volume.as_ref().and_then(|volume| volume.total_bytes).map_or(-1, bytes),
        usable_bytes: volume.as_ref().and_then(|volume| volume.usable_bytes).map_or(-1, bytes),
        ..Default::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..Default::default() }
}

fn whole(topic: &Arc<Topic>) -> DescribeLogDirsTopic {
    let indexes = topic.partitions.iter().map(|partition| partition.id.partition.0);
    described(topic, indexes)
}

/// What is there of what was asked for; Kafka leaves out the rest.
fn part(call: &Call<'_>, asked: DescribableLogDirTopic) -> Option<DescribeLogDirsTopic> {
    let topic = call.node.topics.named(&asked.topic)?;
    Some(described(&topic, asked.partitions.into_iter()))
}

fn described(topic: &Topic, indexes: impl Iterator<Item = i32>) -> DescribeLogDirsTopic {
    let partition = |partition_index| {
        let partition = topic.partition(PartitionId(partition_index))?;
        let partition_size = i64::try_from(partition.log.size_bytes()).unwrap_or(i64::MAX);
        Some(DescribeLogDirsPartition { partition_index, partition_size, ..Default::default() })
    };
    DescribeLogDirsTopic { name: topic.name.to_string(), partitions: indexes.filter_map(partition).collect() }
}
