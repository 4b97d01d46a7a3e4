//! One request of each row, about the resources of a case.

use super::needs::Row;
use bytes::Bytes;
use keyway_kafka_wire::{
    ApiKey,
    messages::{self as m, Request},
};
use keyway_record::{ProducerEpoch, ProducerId, Record, Timestamp, batch::BatchBuilder};

/// The names that a request has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    pub(super) transactional_id: &'a str,
}

pub(super) fn records(is_transactional: bool) -> Bytes {
    let mut batch = BatchBuilder::new(Timestamp(1));
    batch.push(Timestamp(1), Record { value: Some(Bytes::from_static(b"x")), ..Record::default() });
    let batch = match is_transactional {
        true => batch.build_transactional(ProducerId(1), ProducerEpoch(0), 0),
        false => batch.build(),
    };
    batch.bytes().clone()
}

const CONFIG_TOPIC: i8 = 2;
const CONFIG_BROKER: i8 = 4;
const CONFIG_GROUP: i8 = 32;

pub(super) fn request(row: &Row, version: i16, names: Names<'_>) -> Request {
    let topic = || names.topic.to_owned();
    let group = || names.group.to_owned();
    let id = || names.transactional_id.to_owned();
    let (config_type, config_name) = match row.variant {
        "broker" => (CONFIG_BROKER, "1".to_owned()),
        "group" => (CONFIG_GROUP, group()),
        _ => (CONFIG_TOPIC, topic()),
    };
    match row.api {
        ApiKey::Produce => Request::Produce(m::ProduceRequest {
            acks: -1,
            timeout_ms: 1_000,
            transactional_id: (row.variant == "transactional").then(id),
            topic_data: vec![m::produce::TopicProduceData {
                name: topic(),
                partition_data: vec![m::produce::PartitionProduceData {
                    index: 0,
                    records: Some(records(row.variant == "transactional")),
                }],
                ..Default::default()
            }],
        }),
        ApiKey::Fetch => Request::Fetch(fetch(names.topic)),
        ApiKey::ListOffsets => Request::ListOffsets(m::ListOffsetsRequest {
            replica_id: -1,
            topics: vec![m::list_offsets::ListOffsetsTopic {
                name: topic(),
                partitions: vec![m::list_offsets::ListOffsetsPartition {
                    timestamp: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        }),
        ApiKey::Metadata => Request::Metadata(metadata(names.topic, version < 4)),
        ApiKey::OffsetCommit => Request::OffsetCommit(m::OffsetCommitRequest {
            group_id: group(),
            topics: vec![m::offset_commit::OffsetCommitRequestTopic {
                name: topic(),
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::OffsetFetch if version < 8 => Request::OffsetFetch(m::OffsetFetchRequest {
            group_id: group(),
            topics: (row.variant != "all topics").then(|| {
                let partition_indexes = vec![0];
                vec![m::offset_fetch::OffsetFetchRequestTopic { name: topic(), partition_indexes }]
            }),
            ..Default::default()
        }),
        ApiKey::OffsetFetch => Request::OffsetFetch(m::OffsetFetchRequest {
            groups: vec![m::offset_fetch::OffsetFetchRequestGroup {
                group_id: group(),
                topics: (row.variant != "all topics").then(|| {
                    vec![m::offset_fetch::OffsetFetchRequestTopics {
                        name: topic(),
                        partition_indexes: vec![0],
                        ..Default::default()
                    }]
                }),
                ..Default::default()
            }],
            topics: Some(Vec::new()),
            ..Default::default()
        }),
        ApiKey::FindCoordinator => {
            let is_group = row.variant.is_empty();
            let key = if is_group { group() } else { id() };
            let key_type = if is_group { 0 } else { 1 };
            Request::FindCoordinator(match version {
                4.. => {
                    m::FindCoordinatorRequest { key_type, coordinator_keys: vec![key], ..Default::default() }
                }
                _ => m::FindCoordinatorRequest { key, key_type, ..Default::default() },
            })
        }
        // The session's time is too short, so that nobody waits for others.
        ApiKey::JoinGroup => Request::JoinGroup(m::JoinGroupRequest {
            group_id: group(),
            session_timeout_ms: 1,
            rebalance_timeout_ms: if version == 0 { -1 } else { 1 },
            protocol_type: "consumer".to_owned(),
            protocols: vec![m::join_group::JoinGroupRequestProtocol {
                name: "range".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::SyncGroup => {
            Request::SyncGroup(m::SyncGroupRequest { group_id: group(), ..Default::default() })
        }
        ApiKey::Heartbeat => {
            Request::Heartbeat(m::HeartbeatRequest { group_id: group(), ..Default::default() })
        }
        ApiKey::LeaveGroup => {
            Request::LeaveGroup(m::LeaveGroupRequest { group_id: group(), ..Default::default() })
        }
        ApiKey::DescribeGroups => {
            Request::DescribeGroups(m::DescribeGroupsRequest { groups: vec![group()], ..Default::default() })
        }
        ApiKey::ListGroups => Request::ListGroups(m::ListGroupsRequest::default()),
        ApiKey::ApiVersions => Request::ApiVersions(m::ApiVersionsRequest {
            client_software_name: "raw".to_owned(),
            client_software_version: "1".to_owned(),
        }),
        ApiKey::CreateTopics => Request::CreateTopics(m::CreateTopicsRequest {
            topics: vec![m::create_topics::CreatableTopic {
                name: topic(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::DeleteTopics => Request::DeleteTopics(match version {
            ..6 => m::DeleteTopicsRequest { topic_names: vec![topic()], ..Default::default() },
            _ => m::DeleteTopicsRequest {
                topics: vec![m::delete_topics::DeleteTopicState {
                    name: Some(topic()),
                    ..Default::default()
                }],
                ..Default::default()
            },
        }),
        ApiKey::DeleteRecords => Request::DeleteRecords(m::DeleteRecordsRequest {
            topics: vec![m::delete_records::DeleteRecordsTopic {
                name: topic(),
                partitions: vec![Default::default()],
            }],
            ..Default::default()
        }),
        ApiKey::InitProducerId => Request::InitProducerId(m::InitProducerIdRequest {
            transactional_id: (row.variant == "transactional").then(id),
            transaction_timeout_ms: 1_000,
            ..Default::default()
        }),
        ApiKey::OffsetForLeaderEpoch => Request::OffsetForLeaderEpoch(m::OffsetForLeaderEpochRequest {
            topics: vec![m::offset_for_leader_epoch::OffsetForLeaderTopic {
                topic: topic(),
                partitions: vec![Default::default()],
            }],
            ..Default::default()
        }),
        ApiKey::AddPartitionsToTxn => {
            let topic =
                m::add_partitions_to_txn::AddPartitionsToTxnTopic { name: topic(), partitions: vec![0] };
            Request::AddPartitionsToTxn(match version {
                4.. => m::AddPartitionsToTxnRequest {
                    transactions: vec![m::add_partitions_to_txn::AddPartitionsToTxnTransaction {
                        transactional_id: id(),
                        topics: vec![topic],
                        ..Default::default()
                    }],
                    ..Default::default()
                },
                _ => m::AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: id(),
                    v3_and_below_topics: vec![topic],
                    ..Default::default()
                },
            })
        }
        ApiKey::AddOffsetsToTxn => Request::AddOffsetsToTxn(m::AddOffsetsToTxnRequest {
            transactional_id: id(),
            group_id: group(),
            ..Default::default()
        }),
        ApiKey::EndTxn => Request::EndTxn(m::EndTxnRequest { transactional_id: id(), ..Default::default() }),
        ApiKey::WriteTxnMarkers => Request::WriteTxnMarkers(m::WriteTxnMarkersRequest {
            markers: vec![m::write_txn_markers::WritableTxnMarker {
                topics: vec![m::write_txn_markers::WritableTxnMarkerTopic {
                    name: topic(),
                    partition_indexes: vec![7],
                }],
                ..Default::default()
            }],
        }),
        ApiKey::TxnOffsetCommit => Request::TxnOffsetCommit(m::TxnOffsetCommitRequest {
            transactional_id: id(),
            group_id: group(),
            topics: vec![m::txn_offset_commit::TxnOffsetCommitRequestTopic {
                name: topic(),
                partitions: vec![Default::default()],
            }],
            ..Default::default()
        }),
        ApiKey::DescribeAcls => Request::DescribeAcls(m::DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        }),
        // Rules about somebody else, so that they do not change who may what.
        ApiKey::CreateAcls => Request::CreateAcls(m::CreateAclsRequest {
            creations: vec![m::create_acls::AclCreation {
                resource_type: 2,
                resource_name: "elsewhere".to_owned(),
                resource_pattern_type: 3,
                principal: "User:carol".to_owned(),
                host: "*".to_owned(),
                operation: 3,
                permission_type: 3,
            }],
        }),
        ApiKey::DeleteAcls => Request::DeleteAcls(m::DeleteAclsRequest {
            filters: vec![m::delete_acls::DeleteAclsFilter {
                resource_type_filter: 1,
                pattern_type_filter: 1,
                resource_name_filter: None,
                principal_filter: Some("User:carol".to_owned()),
                host_filter: None,
                operation: 1,
                permission_type: 1,
            }],
        }),
        ApiKey::DescribeConfigs => Request::DescribeConfigs(m::DescribeConfigsRequest {
            resources: vec![m::describe_configs::DescribeConfigsResource {
                resource_type: config_type,
                resource_name: config_name,
                configuration_keys: None,
            }],
            ..Default::default()
        }),
        ApiKey::AlterConfigs => Request::AlterConfigs(m::AlterConfigsRequest {
            resources: vec![m::alter_configs::AlterConfigsResource {
                resource_type: config_type,
                resource_name: config_name,
                ..Default::default()
            }],
            validate_only: true,
        }),
        ApiKey::IncrementalAlterConfigs => {
            Request::IncrementalAlterConfigs(m::IncrementalAlterConfigsRequest {
                resources: vec![m::incremental_alter_configs::AlterConfigsResource {
                    resource_type: config_type,
                    resource_name: config_name,
                    ..Default::default()
                }],
                validate_only: true,
            })
        }
        ApiKey::DescribeClientQuotas => {
            Request::DescribeClientQuotas(m::DescribeClientQuotasRequest::default())
        }
        ApiKey::DescribeUserScramCredentials => {
            Request::DescribeUserScramCredentials(m::DescribeUserScramCredentialsRequest::default())
        }
        // Of a user that is not there, so that nothing changes.
        ApiKey::AlterUserScramCredentials => {
            Request::AlterUserScramCredentials(m::AlterUserScramCredentialsRequest {
                deletions: vec![m::alter_user_scram_credentials::ScramCredentialDeletion {
                    name: "carol".to_owned(),
                    mechanism: 1,
                }],
                ..Default::default()
            })
        }
        ApiKey::AlterClientQuotas => Request::AlterClientQuotas(m::AlterClientQuotasRequest {
            entries: vec![m::alter_client_quotas::EntryData {
                entity: vec![m::alter_client_quotas::EntityData {
                    entity_type: "user".to_owned(),
                    entity_name: Some("carol".to_owned()),
                }],
                ops: Vec::new(),
            }],
            validate_only: true,
        }),
        ApiKey::DescribeLogDirs => Request::DescribeLogDirs(m::DescribeLogDirsRequest { topics: None }),
        ApiKey::CreatePartitions => Request::CreatePartitions(m::CreatePartitionsRequest {
            topics: vec![m::create_partitions::CreatePartitionsTopic {
                name: topic(),
                count: 2,
                assignments: None,
            }],
            validate_only: true,
            ..Default::default()
        }),
        ApiKey::DeleteGroups => Request::DeleteGroups(m::DeleteGroupsRequest { groups_names: vec![group()] }),
        ApiKey::ElectLeaders => Request::ElectLeaders(m::ElectLeadersRequest {
            topic_partitions: Some(vec![m::elect_leaders::TopicPartitions {
                topic: topic(),
                partitions: vec![0],
            }]),
            ..Default::default()
        }),
        ApiKey::ListPartitionReassignments => {
            Request::ListPartitionReassignments(m::ListPartitionReassignmentsRequest::default())
        }
        ApiKey::OffsetDelete => Request::OffsetDelete(m::OffsetDeleteRequest {
            group_id: group(),
            topics: vec![m::offset_delete::OffsetDeleteRequestTopic {
                name: topic(),
                partitions: vec![Default::default()],
            }],
        }),
        ApiKey::DescribeQuorum => Request::DescribeQuorum(m::DescribeQuorumRequest::default()),
        ApiKey::UpdateFeatures => Request::UpdateFeatures(m::UpdateFeaturesRequest::default()),
        ApiKey::DescribeCluster => {
            Request::DescribeCluster(m::DescribeClusterRequest { endpoint_type: 1, ..Default::default() })
        }
        ApiKey::DescribeProducers => Request::DescribeProducers(m::DescribeProducersRequest {
            topics: vec![m::describe_producers::TopicRequest { name: topic(), partition_indexes: vec![0] }],
        }),
        ApiKey::DescribeTransactions => {
            Request::DescribeTransactions(m::DescribeTransactionsRequest { transactional_ids: vec![id()] })
        }
        ApiKey::ListTransactions => Request::ListTransactions(m::ListTransactionsRequest::default()),
        ApiKey::ConsumerGroupHeartbeat => Request::ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest {
            group_id: group(),
            member_id: "m".to_owned(),
            member_epoch: 5,
            subscribed_topic_names: Some(vec![topic()]),
            ..Default::default()
        }),
        ApiKey::ConsumerGroupDescribe => Request::ConsumerGroupDescribe(m::ConsumerGroupDescribeRequest {
            group_ids: vec![group()],
            ..Default::default()
        }),
        ApiKey::ListConfigResources => Request::ListConfigResources(m::ListConfigResourcesRequest::default()),
        ApiKey::DescribeTopicPartitions => {
            Request::DescribeTopicPartitions(m::DescribeTopicPartitionsRequest {
                topics: vec![m::describe_topic_partitions::TopicRequest { name: topic() }],
                ..Default::default()
            })
        }
        other => panic!("{} has a row and no request", other.name()),
    }
}

pub(super) fn metadata(topic: &str, allow_auto_topic_creation: bool) -> m::MetadataRequest {
    let topic = m::metadata::MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    m::MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation, ..Default::default() }
}

pub(super) fn fetch(topic: &str) -> m::FetchRequest {
    let partition = m::fetch::FetchPartition { partition_max_bytes: 1_000, ..Default::default() };
    let topic =
        m::fetch::FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    m::FetchRequest { max_bytes: 1_000, topics: vec![topic], ..Default::default() }
}
