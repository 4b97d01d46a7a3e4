//! OffsetForLeaderEpoch: where the records of a leader epoch end, so that a client notices a log that was cut.

use super::{
    call::Call,
    lookup::{self, TopicRef},
    topic_error,
};
use crate::{partition::Partition, topics::Topic};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, offset_for_leader_epoch::*,
};
use keyway_log::epochs::EpochEnd;
use keyway_record::{ErrorCode, LeaderEpoch};
use std::sync::Arc;

pub(super) fn handle(call: &Call<'_>, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    // It was a question of brokers once, and they may ask it still.
    let is_broker = call.sees(Operation::ClusterAction, Resource::CLUSTER);
    let of_topic = |asked: OffsetForLeaderTopic| {
        let name = TopicRef::Name(&asked.topic);
        let topic = match is_broker {
            true => lookup::topic(call.node, name).ok_or(name.unknown()),
            false => lookup::permitted(call, name, Operation::Describe),
        };
        let partitions = asked.partitions.iter().map(|asked| answer(&topic, asked)).collect();
        OffsetForLeaderTopicResult { topic: asked.topic, partitions }
    };
    OffsetForLeaderEpochResponse {
        topics: request.topics.into_iter().map(of_topic).collect(),
        ..Default::default()
    }
}

fn answer(topic: &Result<Arc<Topic>, ErrorCode>, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let ended = lookup::partition(topic, asked.partition).and_then(|partition| {
        topic_error::check_epoch(partition, asked.current_leader_epoch)?;
        Ok(end(partition, asked.leader_epoch))
    });
    match ended {
        Ok((leader_epoch, end_offset)) => {
            EpochEndOffset { partition: asked.partition, leader_epoch, end_offset, ..Default::default() }
        }
        Err(error) => {
            EpochEndOffset { error_code: error.code(), partition: asked.partition, ..Default::default() }
        }
    }
}

/// The newest epoch up to `epoch`, and the offset after its last record that readers see; -1 and -1 if unknown.
fn end(partition: &Partition, epoch: i32) -> (i32, i64) {
    let found = if epoch < 0 { None } else { partition.log.epoch_end(LeaderEpoch(epoch)) };
    let seen = |found: EpochEnd| (found.epoch.0, found.end.min(partition.log.bounds().high_watermark).0);
    found.map_or((-1, -1), seen)
}
