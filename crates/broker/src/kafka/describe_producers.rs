//! DescribeProducers: who has written to a partition lately, and whose transaction is open there.

use super::{
    call::Call,
    lookup::{self, TopicRef},
};
use keyway_access::Operation;
use keyway_kafka_wire::messages::{
    DescribeProducersRequest, DescribeProducersResponse, describe_producers::*,
};
use keyway_log::producers::ActiveProducer;

pub(super) fn handle(call: &Call<'_>, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let of_topic = |asked: TopicRequest| {
        let topic = lookup::permitted(call, TopicRef::Name(&asked.name), Operation::Read);
        let of_partition = |partition_index: i32| {
            let partition = match lookup::partition(&topic, partition_index) {
                Ok(partition) => partition,
                Err(error) => {
                    return PartitionResponse {
                        partition_index,
                        error_code: error.code(),
                        error_message: Some(error.to_string()),
                        ..Default::default()
                    };
                }
            };
            let active_producers = partition.log.producers().iter().map(described).collect();
            PartitionResponse { partition_index, active_producers, ..Default::default() }
        };
        let partitions = asked.partition_indexes.iter().copied().map(of_partition).collect();
        TopicResponse { partitions, name: asked.name }
    };
    DescribeProducersResponse {
        topics: request.topics.into_iter().map(of_topic).collect(),
        ..Default::default()
    }
}

fn described(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0.into(),
        last_sequence: producer.last_sequence.unwrap_or(-1),
        last_timestamp: producer.appended_at.0,
        // The one coordinator there is.
        coordinator_epoch: 0,
        current_txn_start_offset: producer.transaction_start.map_or(-1, |offset| offset.0),
    }
}
