//! The Kafka front: one file per API, and here the way from a frame to its answer.

mod acl_rule;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_user_scram_credentials;
mod api_versions;
mod authorized_operations;
mod call;
mod config_change;
mod config_resource;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod group_call;
pub(crate) mod handshake;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod lookup;
mod metadata;
mod offset_answers;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod repeated;
mod replicas;
mod sync_group;
mod thread_time;
mod throttle;
mod topic_error;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

use crate::{access::Caller, node::Node, quotas::Mute};
use bytes::Bytes;
use call::{Answer, Call};
use futures_util::{FutureExt, future::BoxFuture};
use keyway_access::quota::QuotaKind;
use keyway_kafka_wire::{
    ApiKey, Decoder, HeaderError, RequestHeader,
    messages::{Request, Response},
    response_frame,
};
use std::sync::{Arc, atomic::AtomicU64};
use thread_time::Timed;
use throttle::Account;

/// What becomes of a request. The pieces of a response are one frame, its length included.
pub(crate) enum Reply {
    /// The response.
    Now(Vec<Bytes>),
    /// The response comes when the future is done, and keeps its place among the others; `None` for none.
    Later(BoxFuture<'static, Option<Vec<Bytes>>>),
    /// As [`Reply::Later`], but it may become large: no further request is run until it is sent.
    Poll(BoxFuture<'static, Option<Vec<Bytes>>>),
    /// The client expects no response.
    Nothing,
    /// The response, and after it the connection ends, for this reason.
    Last(Vec<Bytes>, String),
    /// The connection cannot go on, for this reason.
    Close(String),
}

/// Handles one frame. What the request changes has its place in the log when this returns; only waiting is left to
/// [`Reply::Later`], so the requests of a connection take effect in their order.
pub(crate) async fn handle(node: &Arc<Node>, caller: &Arc<Caller>, mute: &Mute, frame: Bytes) -> Reply {
    let request_bytes = frame.len();
    let (header, body) = match RequestHeader::decode(frame) {
        Ok((header, _)) if header.api.advertised().is_none() => {
            return Reply::Close(format!("{} is not spoken", header.api.name()));
        }
        Ok(decoded) => decoded,
        // The one API that must be answered in any version, so that the two sides can find a common one.
        Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
            return Head { api: ApiKey::ApiVersions, version: 0, correlation_id }
                .reply(&api_versions::too_new());
        }
        Err(error) => return Reply::Close(error.to_string()),
    };
    node.traffic.kafka_request(header.api);
    let head = Head { api: header.api, version: header.version, correlation_id: header.correlation_id };
    let call = Call {
        node,
        caller,
        head,
        client_id: header.client_id,
        request_bytes,
        mute,
        mutation_wait_ms: AtomicU64::new(0),
    };
    if !node.quotas.has(QuotaKind::RequestPercentage) {
        return run(&call, body).await;
    }
    let (reply, thread_us) = Timed::new(run(&call, body).boxed(), &node.world.clock).await;
    if let (Some(account), false) = (Account::of(&call), matches!(reply, Reply::Nothing)) {
        account.ran(thread_us);
    }
    reply
}

async fn run(call: &Call<'_>, body: Decoder) -> Reply {
    match call.head.api {
        ApiKey::Produce => produce::handle(call, body).await,
        ApiKey::Fetch => fetch::handle(call, body).await,
        // Boxed, so that the largest of the many handlers does not size the future of the two above.
        _ => answer(call, body).boxed().await,
    }
}

/// What a response repeats of its request.
#[derive(Clone, Copy, Debug)]
struct Head {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Head {
    fn reply(self, response: &Response) -> Reply {
        match self.frame(response) {
            Ok(frame) => Reply::Now(vec![frame]),
            Err(error) => Reply::Close(error),
        }
    }

    fn frame(self, response: &Response) -> Result<Bytes, String> {
        let body = |out: &mut _| response.encode(out, self.version);
        response_frame(self.api, self.version, self.correlation_id, body)
            .map_err(|error| format!("a response cannot be written: {error}"))
    }

    fn malformed(self, error: impl std::fmt::Display) -> Reply {
        Reply::Close(format!("{} version {} is malformed: {error}", self.api.name(), self.version))
    }
}

async fn answer(call: &Call<'_>, mut body: Decoder) -> Reply {
    let head = call.head;
    let request = match Request::decode(head.api, &mut body, head.version) {
        Ok(request) => request,
        Err(error) => return head.malformed(error),
    };
    let answer = match request {
        Request::ApiVersions(request) => api_versions::handle(call, &request).into(),
        Request::Metadata(request) => metadata::handle(call, request).await.into(),
        Request::DescribeCluster(request) => describe_cluster::handle(call, &request).await.into(),
        Request::ListOffsets(request) => list_offsets::handle(call, request).into(),
        Request::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::handle(call, request).into(),
        Request::DeleteRecords(request) => delete_records::handle(call, request).await.into(),
        Request::InitProducerId(request) => init_producer_id::handle(call, &request).await.into(),
        Request::WriteTxnMarkers(request) => write_txn_markers::handle(call, request).await.into(),
        Request::DescribeLogDirs(request) => describe_log_dirs::handle(call, request).into(),
        Request::DescribeQuorum(request) => describe_quorum::handle(call, request).into(),
        Request::UpdateFeatures(request) => update_features::handle(call, request).into(),
        Request::DescribeTransactions(request) => describe_transactions::handle(call, request).await.into(),
        Request::ListTransactions(request) => list_transactions::handle(call, request).await.into(),
        Request::DescribeProducers(request) => describe_producers::handle(call, request).into(),
        Request::DescribeTopicPartitions(request) => describe_topic_partitions::handle(call, request).into(),
        Request::ListPartitionReassignments(_) => list_partition_reassignments::handle(call).into(),
        Request::ElectLeaders(request) => elect_leaders::handle(call, request).into(),
        Request::ListConfigResources(request) => list_config_resources::handle(call, &request).into(),
        Request::AddPartitionsToTxn(request) => add_partitions_to_txn::handle(call, request).await.into(),
        Request::AddOffsetsToTxn(request) => add_offsets_to_txn::handle(call, request).await.into(),
        Request::TxnOffsetCommit(request) => txn_offset_commit::handle(call, request).await,
        Request::EndTxn(request) => end_txn::handle(call, request).await.into(),
        Request::FindCoordinator(request) => find_coordinator::handle(call, request).into(),
        Request::JoinGroup(request) => join_group::handle(call, request).await,
        Request::SyncGroup(request) => sync_group::handle(call, request).await,
        Request::Heartbeat(request) => heartbeat::handle(call, request).await,
        Request::LeaveGroup(request) => leave_group::handle(call, request).await,
        Request::OffsetCommit(request) => offset_commit::handle(call, request).await,
        Request::OffsetFetch(request) => offset_fetch::handle(call, request).await.into(),
        Request::OffsetDelete(request) => offset_delete::handle(call, request).await.into(),
        Request::ConsumerGroupHeartbeat(request) => consumer_group_heartbeat::handle(call, request).await,
        Request::ConsumerGroupDescribe(request) => {
            consumer_group_describe::handle(call, request).await.into()
        }
        Request::DescribeGroups(request) => describe_groups::handle(call, request).await.into(),
        Request::ListGroups(request) => list_groups::handle(call, &request).await.into(),
        Request::DeleteGroups(request) => delete_groups::handle(call, request).await.into(),
        Request::DescribeAcls(request) => describe_acls::handle(call, request).into(),
        Request::CreateAcls(request) => create_acls::handle(call, request).await.into(),
        Request::DeleteAcls(request) => delete_acls::handle(call, request).await.into(),
        Request::CreateTopics(request) => create_topics::handle(call, request).await.into(),
        Request::DeleteTopics(request) => delete_topics::handle(call, request).await.into(),
        Request::CreatePartitions(request) => create_partitions::handle(call, request).await.into(),
        Request::DescribeConfigs(request) => describe_configs::handle(call, request).into(),
        Request::AlterConfigs(request) => alter_configs::handle(call, request).await.into(),
        Request::DescribeClientQuotas(request) => describe_client_quotas::handle(call, request).into(),
        Request::AlterClientQuotas(request) => alter_client_quotas::handle(call, request).await.into(),
        Request::IncrementalAlterConfigs(request) => {
            incremental_alter_configs::handle(call, request).await.into()
        }
        Request::SaslHandshake(_) => handshake::out_of_place().into(),
        Request::SaslAuthenticate(_) => handshake::message_out_of_place().into(),
        Request::DescribeUserScramCredentials(request) => {
            describe_user_scram_credentials::handle(call, request).into()
        }
        Request::AlterUserScramCredentials(request) => {
            alter_user_scram_credentials::handle(call, request).await.into()
        }
        other => unreachable!("{} is handled before, or not advertised", other.api_key().name()),
    };
    let throttle_time_ms = call.answered();
    match answer {
        Answer::Now(mut response) => {
            response.set_throttle_time_ms(throttle_time_ms);
            head.reply(&response)
        }
        Answer::Later(response) => Reply::Later(
            async move {
                let mut response = response.await;
                response.set_throttle_time_ms(throttle_time_ms);
                match head.frame(&response) {
                    Ok(frame) => Some(vec![frame]),
                    Err(error) => panic!("{error}"),
                }
            }
            .boxed(),
        ),
    }
}
