//! What every API of Kafka needs, as the documentation of Apache Kafka 4.3 lists it.

use keyway_access::{
    Operation::{self, *},
    ResourceType::{self, Cluster, Group, Topic, TransactionalId},
};
use keyway_kafka_wire::ApiKey;
use std::ops::RangeInclusive;

/// One way to use an API, and what it takes: of each line one. The last of a line is what a refusal names.
pub(super) struct Row {
    pub(super) api: ApiKey,
    pub(super) versions: RangeInclusive<i16>,
    /// Which of the API's requests, where there are several.
    pub(super) variant: &'static str,
    pub(super) needs: &'static [&'static [Need]],
}

/// What one has to be allowed, and on what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    On(Operation, ResourceType),
    /// Delete on the topic, which is asked only if it exists.
    DeleteExisting,
    /// Write on some topic, whichever.
    WriteSomewhere,
}

use Need::{DeleteExisting, On, WriteSomewhere};

/// The rows. Versions that name topics by their ids have tests of their own.
pub(super) const ROWS: &[Row] = &[
    row(ApiKey::Produce, 3..=12, &[&[On(Write, Topic)]]),
    variant(ApiKey::Produce, 3..=12, "transactional", &[&[On(Write, TransactionalId)], &[On(Write, Topic)]]),
    row(ApiKey::Fetch, 4..=12, &[&[On(Read, Topic)]]),
    row(ApiKey::ListOffsets, 1..=11, &[&[On(Describe, Topic)]]),
    row(ApiKey::Metadata, 0..=13, &[&[On(Describe, Topic)]]),
    row(ApiKey::OffsetCommit, 2..=9, &[&[On(Read, Group)], &[On(Read, Topic)]]),
    row(ApiKey::OffsetFetch, 1..=9, &[&[On(Describe, Group)], &[On(Describe, Topic)]]),
    variant(ApiKey::OffsetFetch, 2..=10, "all topics", &[&[On(Describe, Group)]]),
    row(ApiKey::FindCoordinator, 0..=6, &[&[On(Describe, Group)]]),
    variant(ApiKey::FindCoordinator, 1..=6, "transaction", &[&[On(Describe, TransactionalId)]]),
    row(ApiKey::JoinGroup, 0..=9, &[&[On(Read, Group)]]),
    row(ApiKey::Heartbeat, 0..=4, &[&[On(Read, Group)]]),
    row(ApiKey::LeaveGroup, 0..=5, &[&[On(Read, Group)]]),
    row(ApiKey::SyncGroup, 0..=5, &[&[On(Read, Group)]]),
    row(ApiKey::DescribeGroups, 0..=6, &[&[On(Describe, Group)]]),
    row(ApiKey::ListGroups, 0..=5, &[]),
    row(ApiKey::ApiVersions, 0..=4, &[]),
    row(ApiKey::CreateTopics, 2..=7, &[&[On(Create, Cluster), On(Create, Topic)]]),
    row(
        ApiKey::DeleteTopics,
        1..=6,
        &[&[On(Delete, Cluster), On(Describe, Topic)], &[On(Delete, Cluster), DeleteExisting]],
    ),
    row(ApiKey::DeleteRecords, 0..=2, &[&[On(Delete, Topic)]]),
    row(ApiKey::InitProducerId, 0..=5, &[&[WriteSomewhere, On(IdempotentWrite, Cluster)]]),
    variant(ApiKey::InitProducerId, 0..=5, "transactional", &[&[On(Write, TransactionalId)]]),
    row(ApiKey::OffsetForLeaderEpoch, 2..=4, &[&[On(ClusterAction, Cluster), On(Describe, Topic)]]),
    row(ApiKey::AddPartitionsToTxn, 0..=3, &[&[On(Write, TransactionalId)], &[On(Write, Topic)]]),
    variant(ApiKey::AddPartitionsToTxn, 4..=5, "broker", &[&[On(ClusterAction, Cluster)]]),
    row(ApiKey::AddOffsetsToTxn, 0..=4, &[&[On(Write, TransactionalId)], &[On(Read, Group)]]),
    row(ApiKey::EndTxn, 0..=5, &[&[On(Write, TransactionalId)]]),
    row(ApiKey::WriteTxnMarkers, 1..=2, &[&[On(Alter, Cluster), On(ClusterAction, Cluster)]]),
    row(
        ApiKey::TxnOffsetCommit,
        0..=5,
        &[&[On(Write, TransactionalId)], &[On(Read, Group)], &[On(Read, Topic)]],
    ),
    row(ApiKey::DescribeAcls, 1..=3, &[&[On(Describe, Cluster)]]),
    row(ApiKey::CreateAcls, 1..=3, &[&[On(Alter, Cluster)]]),
    row(ApiKey::DeleteAcls, 1..=3, &[&[On(Alter, Cluster)]]),
    row(ApiKey::DescribeConfigs, 1..=4, &[&[On(DescribeConfigs, Topic)]]),
    variant(ApiKey::DescribeConfigs, 1..=4, "broker", &[&[On(DescribeConfigs, Cluster)]]),
    variant(ApiKey::DescribeConfigs, 1..=4, "group", &[&[On(DescribeConfigs, Group)]]),
    row(ApiKey::AlterConfigs, 0..=2, &[&[On(AlterConfigs, Topic)]]),
    variant(ApiKey::AlterConfigs, 0..=2, "broker", &[&[On(AlterConfigs, Cluster)]]),
    variant(ApiKey::AlterConfigs, 0..=2, "group", &[&[On(AlterConfigs, Group)]]),
    row(ApiKey::IncrementalAlterConfigs, 0..=1, &[&[On(AlterConfigs, Topic)]]),
    variant(ApiKey::IncrementalAlterConfigs, 0..=1, "broker", &[&[On(AlterConfigs, Cluster)]]),
    variant(ApiKey::IncrementalAlterConfigs, 0..=1, "group", &[&[On(AlterConfigs, Group)]]),
    row(ApiKey::DescribeClientQuotas, 0..=1, &[&[On(DescribeConfigs, Cluster)]]),
    row(ApiKey::AlterClientQuotas, 0..=1, &[&[On(AlterConfigs, Cluster)]]),
    row(ApiKey::DescribeUserScramCredentials, 0..=0, &[&[On(Describe, Cluster)]]),
    row(ApiKey::AlterUserScramCredentials, 0..=0, &[&[On(Alter, Cluster)]]),
    // Older versions have no error to tell: who may not is told of no folder.
    row(ApiKey::DescribeLogDirs, 3..=5, &[&[On(Describe, Cluster)]]),
    row(ApiKey::CreatePartitions, 0..=3, &[&[On(Alter, Topic)]]),
    row(ApiKey::DeleteGroups, 0..=2, &[&[On(Delete, Group)]]),
    row(ApiKey::ElectLeaders, 0..=2, &[&[On(Alter, Cluster)]]),
    row(ApiKey::ListPartitionReassignments, 0..=0, &[&[On(Describe, Cluster)]]),
    row(ApiKey::OffsetDelete, 0..=0, &[&[On(Delete, Group)], &[On(Read, Topic)]]),
    row(ApiKey::DescribeQuorum, 0..=2, &[&[On(Describe, Cluster)]]),
    row(ApiKey::UpdateFeatures, 0..=2, &[&[On(Alter, Cluster)]]),
    row(ApiKey::DescribeCluster, 0..=2, &[]),
    row(ApiKey::DescribeProducers, 0..=0, &[&[On(Read, Topic)]]),
    row(ApiKey::DescribeTransactions, 0..=0, &[&[On(Describe, TransactionalId)]]),
    row(ApiKey::ListTransactions, 0..=2, &[]),
    row(ApiKey::ConsumerGroupHeartbeat, 0..=1, &[&[On(Read, Group)], &[On(Describe, Topic)]]),
    row(ApiKey::ConsumerGroupDescribe, 0..=1, &[&[On(Describe, Group)]]),
    row(ApiKey::ListConfigResources, 0..=1, &[&[On(DescribeConfigs, Cluster)]]),
    row(ApiKey::DescribeTopicPartitions, 0..=0, &[&[On(Describe, Topic)]]),
];

const fn row(api: ApiKey, versions: RangeInclusive<i16>, needs: &'static [&'static [Need]]) -> Row {
    variant(api, versions, "", needs)
}

const fn variant(
    api: ApiKey,
    versions: RangeInclusive<i16>,
    variant: &'static str,
    needs: &'static [&'static [Need]],
) -> Row {
    Row { api, versions, variant, needs }
}
