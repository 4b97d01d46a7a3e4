//! Every advertised API in every version: answered, and readable to the last byte.

use crate::{
    broker::TestBroker,
    client::call,
    requests::{append, batch, create_topic},
};
use keyway_kafka_wire::{
    API_VERSIONS, ApiKey,
    messages::{self as m, Request, Response},
};
use keyway_record::TopicId;

const TOPIC: &str = "orders";

#[tokio::test]
async fn every_api_answers_in_every_version() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let id = create_topic(&mut client, TOPIC, 2).await;
    append(&mut client, TOPIC, 0, &batch(&["a", "b"]).build()).await.unwrap();
    for row in API_VERSIONS {
        let min = if row.api == ApiKey::Produce { 3 } else { row.min };
        for version in min..=row.max {
            let response = client.call(&request(row.api, version, id), version).await;
            let error = error_code(&response);
            let expected = match row.api {
                // The group has no such member.
                ApiKey::Heartbeat | ApiKey::SyncGroup => 25,
                ApiKey::LeaveGroup if version < 3 => 25,
                // The generation is not the group's.
                ApiKey::JoinGroup if version >= 4 => 79,
                // There is no authorizer.
                ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => 54,
                // Nobody has to log in here.
                ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => 34,
                _ => 0,
            };
            assert_eq!(error, expected, "{} {version}: {response:?}", row.api.name());
        }
    }
    broker.shutdown().await;
}

/// The error that stands for the whole response, or for its only element.
fn error_code(response: &Response) -> i16 {
    match response {
        Response::Produce(r) => r.responses[0].partition_responses[0].error_code,
        Response::Fetch(r) => r.error_code.max(r.responses[0].partitions[0].error_code),
        Response::ListOffsets(r) => r.topics[0].partitions[0].error_code,
        Response::Metadata(r) => r.topics[0].error_code,
        Response::OffsetCommit(r) => r.topics[0].partitions[0].error_code,
        Response::OffsetFetch(r) => r.groups.first().map_or(r.error_code, |group| group.error_code),
        Response::FindCoordinator(r) => r.coordinators.first().map_or(r.error_code, |one| one.error_code),
        Response::JoinGroup(r) => r.error_code,
        Response::Heartbeat(r) => r.error_code,
        Response::LeaveGroup(r) => r.error_code,
        Response::SyncGroup(r) => r.error_code,
        // Nobody made the group yet; that is what versions from 6 on say.
        Response::DescribeGroups(r) => r.groups[0].error_code % 69,
        Response::ListGroups(r) => r.error_code,
        Response::ApiVersions(r) => r.error_code,
        Response::CreateTopics(r) => r.topics[0].error_code,
        Response::DeleteTopics(r) => r.responses[0].error_code,
        Response::DeleteRecords(r) => r.topics[0].partitions[0].error_code,
        Response::InitProducerId(r) => r.error_code,
        // Nobody has used the transactional id; that is all there is to say about it.
        Response::AddPartitionsToTxn(r) => {
            let old = r.results_by_topic_v3_and_below.first();
            let topic = old.unwrap_or_else(|| &r.results_by_transaction[0].topic_results[0]);
            topic.results_by_partition[0].partition_error_code % 49
        }
        Response::EndTxn(r) => r.error_code % 49,
        Response::AddOffsetsToTxn(r) => r.error_code % 49,
        Response::TxnOffsetCommit(r) => r.topics[0].partitions[0].error_code % 49,
        Response::OffsetForLeaderEpoch(r) => r.topics[0].partitions[0].error_code,
        Response::DescribeConfigs(r) => r.results[0].error_code,
        Response::CreatePartitions(r) => r.results[0].error_code,
        Response::DeleteGroups(r) => r.results[0].error_code % 69,
        Response::AlterConfigs(r) => r.responses[0].error_code,
        Response::OffsetDelete(r) => r.error_code,
        Response::ConsumerGroupHeartbeat(r) => r.error_code,
        Response::ConsumerGroupDescribe(r) => r.groups[0].error_code,
        Response::IncrementalAlterConfigs(r) => r.responses[0].error_code,
        Response::DescribeCluster(r) => r.error_code,
        Response::WriteTxnMarkers(r) => r.markers[0].topics[0].partitions[0].error_code,
        Response::DescribeLogDirs(r) => r.results[0].error_code,
        // There is never anything to elect.
        Response::ElectLeaders(r) => r.replica_election_results[0].partition_result[0].error_code % 84,
        Response::ListPartitionReassignments(r) => r.error_code,
        Response::DescribeQuorum(r) => r.topics[0].partitions[0].error_code,
        Response::UpdateFeatures(r) => r.error_code,
        Response::DescribeProducers(r) => r.topics[0].partitions[0].error_code,
        Response::DescribeTransactions(r) => r.transaction_states[0].error_code % 105,
        Response::ListTransactions(r) => r.error_code,
        Response::ListConfigResources(r) => r.error_code,
        Response::DescribeTopicPartitions(r) => r.topics[0].error_code,
        Response::DescribeAcls(r) => r.error_code,
        Response::CreateAcls(r) => r.results[0].error_code,
        Response::DeleteAcls(r) => r.filter_results[0].error_code,
        Response::DescribeClientQuotas(r) => r.error_code,
        Response::AlterClientQuotas(r) => r.entries[0].error_code,
        Response::SaslHandshake(r) => r.error_code,
        Response::SaslAuthenticate(r) => r.error_code,
        Response::DescribeUserScramCredentials(r) => r.error_code,
        Response::AlterUserScramCredentials(r) => r.results[0].error_code,
    }
}

/// A request of this API that is answered without an error, where nobody has to log in.
pub(crate) fn request(api: ApiKey, version: i16, id: TopicId) -> Request {
    let name = || TOPIC.to_owned();
    let fresh = format!("{}-{version}", api.name());
    match api {
        ApiKey::Produce => {
            let mut request = crate::requests::produce(TOPIC, 1, -1, &batch(&["x"]).build());
            request.topic_data[0].topic_id = id;
            Request::Produce(request)
        }
        ApiKey::Fetch => {
            let mut request = crate::requests::fetch(TOPIC, 0, 0);
            request.topics[0].topic_id = id;
            Request::Fetch(request)
        }
        ApiKey::ListOffsets => Request::ListOffsets(m::ListOffsetsRequest {
            replica_id: -1,
            topics: vec![m::list_offsets::ListOffsetsTopic {
                name: name(),
                partitions: vec![m::list_offsets::ListOffsetsPartition {
                    timestamp: 1_001,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        }),
        ApiKey::Metadata => Request::Metadata(m::MetadataRequest {
            include_cluster_authorized_operations: (8..=10).contains(&version),
            include_topic_authorized_operations: version >= 8,
            ..crate::requests::metadata_of(TOPIC)
        }),
        ApiKey::OffsetCommit => Request::OffsetCommit(m::OffsetCommitRequest {
            group_id: "simple".to_owned(),
            topics: vec![m::offset_commit::OffsetCommitRequestTopic {
                name: name(),
                topic_id: id,
                partitions: vec![m::offset_commit::OffsetCommitRequestPartition {
                    committed_offset: 1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        }),
        ApiKey::OffsetFetch if version < 8 => Request::OffsetFetch(m::OffsetFetchRequest {
            group_id: "simple".to_owned(),
            topics: Some(vec![m::offset_fetch::OffsetFetchRequestTopic {
                name: name(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        }),
        ApiKey::OffsetFetch => Request::OffsetFetch(m::OffsetFetchRequest {
            groups: vec![m::offset_fetch::OffsetFetchRequestGroup {
                group_id: "simple".to_owned(),
                topics: Some(vec![m::offset_fetch::OffsetFetchRequestTopics {
                    name: name(),
                    topic_id: id,
                    partition_indexes: vec![0],
                }]),
                ..Default::default()
            }],
            // The older form's lists must stay empty here.
            topics: Some(Vec::new()),
            ..Default::default()
        }),
        ApiKey::FindCoordinator if version < 4 => {
            Request::FindCoordinator(m::FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() })
        }
        ApiKey::FindCoordinator => Request::FindCoordinator(m::FindCoordinatorRequest {
            coordinator_keys: vec!["g".to_owned()],
            ..Default::default()
        }),
        ApiKey::JoinGroup => Request::JoinGroup(m::JoinGroupRequest {
            group_id: fresh,
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 6_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![m::join_group::JoinGroupRequestProtocol {
                name: "range".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::SyncGroup => Request::SyncGroup(m::SyncGroupRequest {
            group_id: name(),
            member_id: name(),
            ..Default::default()
        }),
        ApiKey::Heartbeat => Request::Heartbeat(m::HeartbeatRequest {
            group_id: name(),
            member_id: name(),
            ..Default::default()
        }),
        ApiKey::LeaveGroup if version < 3 => Request::LeaveGroup(m::LeaveGroupRequest {
            group_id: name(),
            member_id: name(),
            ..Default::default()
        }),
        ApiKey::LeaveGroup => Request::LeaveGroup(m::LeaveGroupRequest {
            group_id: name(),
            members: vec![m::leave_group::MemberIdentity { member_id: name(), ..Default::default() }],
            ..Default::default()
        }),
        ApiKey::DescribeGroups => Request::DescribeGroups(m::DescribeGroupsRequest {
            groups: vec![name()],
            include_authorized_operations: version >= 3,
        }),
        ApiKey::ListGroups => Request::ListGroups(m::ListGroupsRequest::default()),
        ApiKey::ApiVersions => Request::ApiVersions(m::ApiVersionsRequest {
            client_software_name: "raw".to_owned(),
            client_software_version: "1".to_owned(),
        }),
        ApiKey::CreateTopics => Request::CreateTopics(m::CreateTopicsRequest {
            topics: vec![m::create_topics::CreatableTopic {
                name: fresh,
                num_partitions: if version >= 4 { -1 } else { 1 },
                replication_factor: if version >= 4 { -1 } else { 1 },
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::DeleteTopics => {
            // Made by the CreateTopics of the same loop.
            let name = format!("CreateTopics-{}", version + 1);
            Request::DeleteTopics(match version {
                ..6 => m::DeleteTopicsRequest { topic_names: vec![name], ..Default::default() },
                _ => m::DeleteTopicsRequest {
                    topics: vec![m::delete_topics::DeleteTopicState {
                        name: Some(name),
                        ..Default::default()
                    }],
                    ..Default::default()
                },
            })
        }
        ApiKey::DeleteRecords => Request::DeleteRecords(m::DeleteRecordsRequest {
            topics: vec![m::delete_records::DeleteRecordsTopic {
                name: name(),
                partitions: vec![m::delete_records::DeleteRecordsPartition { partition_index: 0, offset: 1 }],
            }],
            ..Default::default()
        }),
        ApiKey::InitProducerId => {
            Request::InitProducerId(m::InitProducerIdRequest { transactional_id: None, ..Default::default() })
        }
        ApiKey::AddPartitionsToTxn => {
            let topic =
                m::add_partitions_to_txn::AddPartitionsToTxnTopic { name: name(), partitions: vec![0] };
            let transaction = m::add_partitions_to_txn::AddPartitionsToTxnTransaction {
                transactional_id: "t".to_owned(),
                topics: vec![topic.clone()],
                ..Default::default()
            };
            Request::AddPartitionsToTxn(match version {
                4.. => m::AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() },
                _ => m::AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: "t".to_owned(),
                    v3_and_below_topics: vec![topic],
                    ..Default::default()
                },
            })
        }
        ApiKey::AddOffsetsToTxn => Request::AddOffsetsToTxn(m::AddOffsetsToTxnRequest {
            transactional_id: "t".to_owned(),
            group_id: "g".to_owned(),
            ..Default::default()
        }),
        ApiKey::TxnOffsetCommit => Request::TxnOffsetCommit(m::TxnOffsetCommitRequest {
            transactional_id: "t".to_owned(),
            group_id: "g".to_owned(),
            topics: vec![m::txn_offset_commit::TxnOffsetCommitRequestTopic {
                name: name(),
                partitions: vec![Default::default()],
            }],
            ..Default::default()
        }),
        ApiKey::EndTxn => Request::EndTxn(m::EndTxnRequest {
            transactional_id: "t".to_owned(),
            committed: true,
            ..Default::default()
        }),
        ApiKey::OffsetForLeaderEpoch => Request::OffsetForLeaderEpoch(m::OffsetForLeaderEpochRequest {
            topics: vec![m::offset_for_leader_epoch::OffsetForLeaderTopic {
                topic: name(),
                partitions: vec![m::offset_for_leader_epoch::OffsetForLeaderPartition::default()],
            }],
            ..Default::default()
        }),
        ApiKey::DescribeConfigs => Request::DescribeConfigs(m::DescribeConfigsRequest {
            resources: vec![m::describe_configs::DescribeConfigsResource {
                resource_type: 2,
                resource_name: name(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            ..Default::default()
        }),
        ApiKey::CreatePartitions => Request::CreatePartitions(m::CreatePartitionsRequest {
            topics: vec![m::create_partitions::CreatePartitionsTopic {
                name: name(),
                count: 3 + i32::from(version),
                assignments: None,
            }],
            ..Default::default()
        }),
        ApiKey::DeleteGroups => Request::DeleteGroups(m::DeleteGroupsRequest { groups_names: vec![name()] }),
        // Made by the OffsetCommit of the same loop.
        ApiKey::OffsetDelete => Request::OffsetDelete(m::OffsetDeleteRequest {
            group_id: "simple".to_owned(),
            topics: vec![m::offset_delete::OffsetDeleteRequestTopic {
                name: name(),
                partitions: vec![m::offset_delete::OffsetDeleteRequestPartition { partition_index: 0 }],
            }],
        }),
        ApiKey::ConsumerGroupHeartbeat => Request::ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest {
            group_id: "consumers".to_owned(),
            member_id: format!("m{version}"),
            rebalance_timeout_ms: 6_000,
            subscribed_topic_names: Some(vec![name()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        }),
        // Made by the heartbeat of the same loop.
        ApiKey::ConsumerGroupDescribe => Request::ConsumerGroupDescribe(m::ConsumerGroupDescribeRequest {
            group_ids: vec!["consumers".to_owned()],
            ..Default::default()
        }),
        ApiKey::AlterConfigs => Request::AlterConfigs(m::AlterConfigsRequest {
            resources: vec![m::alter_configs::AlterConfigsResource {
                resource_type: 2,
                resource_name: name(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::IncrementalAlterConfigs => {
            Request::IncrementalAlterConfigs(m::IncrementalAlterConfigsRequest {
                resources: vec![m::incremental_alter_configs::AlterConfigsResource {
                    resource_type: 2,
                    resource_name: name(),
                    configs: vec![m::incremental_alter_configs::AlterableConfig {
                        name: "retention.ms".to_owned(),
                        config_operation: 0,
                        value: Some("1000".to_owned()),
                    }],
                }],
                ..Default::default()
            })
        }
        ApiKey::DescribeCluster => {
            Request::DescribeCluster(m::DescribeClusterRequest { endpoint_type: 1, ..Default::default() })
        }
        ApiKey::WriteTxnMarkers => Request::WriteTxnMarkers(m::WriteTxnMarkersRequest {
            markers: vec![m::write_txn_markers::WritableTxnMarker {
                producer_id: 99,
                topics: vec![m::write_txn_markers::WritableTxnMarkerTopic {
                    name: name(),
                    partition_indexes: vec![0],
                }],
                ..Default::default()
            }],
        }),
        ApiKey::DescribeLogDirs => Request::DescribeLogDirs(m::DescribeLogDirsRequest { topics: None }),
        ApiKey::ElectLeaders => Request::ElectLeaders(m::ElectLeadersRequest {
            topic_partitions: Some(vec![m::elect_leaders::TopicPartitions {
                topic: name(),
                partitions: vec![0],
            }]),
            ..Default::default()
        }),
        ApiKey::ListPartitionReassignments => {
            Request::ListPartitionReassignments(m::ListPartitionReassignmentsRequest::default())
        }
        ApiKey::DescribeQuorum => Request::DescribeQuorum(m::DescribeQuorumRequest {
            topics: vec![m::describe_quorum::TopicData {
                topic_name: "__cluster_metadata".to_owned(),
                partitions: vec![Default::default()],
            }],
        }),
        ApiKey::UpdateFeatures => Request::UpdateFeatures(m::UpdateFeaturesRequest {
            feature_updates: vec![m::update_features::FeatureUpdateKey {
                feature: "transaction.version".to_owned(),
                max_version_level: 2,
                ..Default::default()
            }],
            ..Default::default()
        }),
        ApiKey::DescribeProducers => Request::DescribeProducers(m::DescribeProducersRequest {
            topics: vec![m::describe_producers::TopicRequest { name: name(), partition_indexes: vec![0] }],
        }),
        ApiKey::DescribeTransactions => Request::DescribeTransactions(m::DescribeTransactionsRequest {
            transactional_ids: vec!["t".to_owned()],
        }),
        ApiKey::ListTransactions => Request::ListTransactions(m::ListTransactionsRequest::default()),
        ApiKey::ListConfigResources => Request::ListConfigResources(m::ListConfigResourcesRequest::default()),
        ApiKey::DescribeTopicPartitions => {
            Request::DescribeTopicPartitions(m::DescribeTopicPartitionsRequest {
                topics: vec![m::describe_topic_partitions::TopicRequest { name: name() }],
                ..Default::default()
            })
        }
        ApiKey::DescribeAcls => Request::DescribeAcls(m::DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        }),
        ApiKey::CreateAcls => Request::CreateAcls(m::CreateAclsRequest {
            creations: vec![m::create_acls::AclCreation {
                resource_type: 2,
                resource_name: name(),
                resource_pattern_type: 3,
                principal: "User:a".to_owned(),
                host: "*".to_owned(),
                operation: 3,
                permission_type: 3,
            }],
        }),
        ApiKey::DeleteAcls => Request::DeleteAcls(m::DeleteAclsRequest {
            filters: vec![m::delete_acls::DeleteAclsFilter {
                resource_type_filter: 2,
                pattern_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            }],
        }),
        ApiKey::DescribeClientQuotas => {
            Request::DescribeClientQuotas(m::DescribeClientQuotasRequest::default())
        }
        ApiKey::AlterClientQuotas => {
            let user = m::alter_client_quotas::EntityData {
                entity_type: "user".to_owned(),
                entity_name: Some("nobody".to_owned()),
            };
            let rate = m::alter_client_quotas::OpData {
                key: "producer_byte_rate".to_owned(),
                value: 1e6,
                remove: false,
            };
            let entry = m::alter_client_quotas::EntryData { entity: vec![user], ops: vec![rate] };
            Request::AlterClientQuotas(m::AlterClientQuotasRequest {
                entries: vec![entry],
                validate_only: false,
            })
        }
        ApiKey::SaslHandshake => {
            Request::SaslHandshake(m::SaslHandshakeRequest { mechanism: "PLAIN".to_owned() })
        }
        ApiKey::SaslAuthenticate => Request::SaslAuthenticate(m::SaslAuthenticateRequest::default()),
        ApiKey::DescribeUserScramCredentials => {
            Request::DescribeUserScramCredentials(m::DescribeUserScramCredentialsRequest::default())
        }
        ApiKey::AlterUserScramCredentials => {
            Request::AlterUserScramCredentials(m::AlterUserScramCredentialsRequest {
                upsertions: vec![m::alter_user_scram_credentials::ScramCredentialUpsertion {
                    name: "alice".to_owned(),
                    mechanism: 1,
                    iterations: 4096,
                    salt: bytes::Bytes::from_static(b"salt"),
                    salted_password: bytes::Bytes::from_static(&[7; 32]),
                }],
                ..Default::default()
            })
        }
        other => panic!("{} is advertised and not tested", other.name()),
    }
}

#[tokio::test]
async fn a_too_new_api_versions_is_answered_in_version_0() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    // Length 10: key 18, version 9, correlation id 77, null client id.
    client.send_bytes(&[0, 0, 0, 10, 0, 18, 0, 9, 0, 0, 0, 77, 0xff, 0xff]).await;
    let Response::ApiVersions(response) = client.receive(ApiKey::ApiVersions, 0, 77).await else { panic!() };
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 1);
    let range = &response.api_keys[0];
    assert_eq!((range.api_key, range.min_version, range.max_version), (18, 0, 4));
    // The connection goes on.
    let named =
        m::ApiVersionsRequest { client_software_name: "raw".into(), client_software_version: "1".into() };
    let response = call!(client, ApiVersions, 4, named);
    assert_eq!(response.api_keys.len(), API_VERSIONS.len());
    assert!(response.finalized_features_epoch >= 0);
    let transactions = response.finalized_features.iter().find(|one| one.name == "transaction.version");
    assert_eq!(transactions.expect("it turns KIP-890 on").max_version_level, 2);
    let unnamed =
        m::ApiVersionsRequest { client_software_name: "no good".into(), client_software_version: "1".into() };
    assert_eq!(call!(client, ApiVersions, 3, unnamed).error_code, 42);
}
