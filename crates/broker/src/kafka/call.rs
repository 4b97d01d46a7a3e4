//! One request on its way through the front, and the forms that its answer takes.

use super::{Head, throttle::Account};
use crate::{
    access::{AuditEvent, Caller, Change},
    node::Node,
    quotas::Mute,
};
use futures_util::future::BoxFuture;
use keyway_access::{Operation, Resource, ResourceType};
use keyway_kafka_wire::{ByteStr, messages};
use keyway_log::Isolation;
use keyway_record::ErrorCode;
use messages::Response;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Why something that a request asks for is not done: the code and the words of its answer.
pub(super) type Refused = (ErrorCode, String);

/// What a handler may know besides the request's body.
pub(super) struct Call<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) caller: &'a Arc<Caller>,
    pub(super) head: Head,
    pub(super) client_id: Option<ByteStr>,
    /// The request's bytes, its header included.
    pub(super) request_bytes: usize,
    /// How the connection is held back.
    pub(super) mute: &'a Mute,
    /// What the changes that the request made cost its client.
    pub(super) mutation_wait_ms: AtomicU64,
}

impl Call<'_> {
    pub(super) fn version(&self) -> i16 {
        self.head.version
    }

    /// Where this broker is for clients of the listener that the request came through.
    pub(super) fn advertised(&self) -> (String, u16) {
        self.node.listeners.advertised(&self.caller.listener)
    }

    /// Whether the client may do `operation` to `resource`. A denial is told and noted.
    pub(super) fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.access.allows(self.caller, operation, resource)
    }

    /// [`Call::may`] for what is left out of an answer without a word, or may be allowed by another way.
    pub(super) fn sees(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.access.shows(self.caller, operation, resource)
    }

    /// [`Call::may`], with what Kafka answers if not.
    pub(super) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        if self.may(operation, resource) { Ok(()) } else { Err(denied(resource.kind)) }
    }

    /// [`Call::check`], for answers that have words too.
    pub(super) fn permit(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Refused> {
        self.check(operation, resource).map_err(|error| (error, error.to_string()))
    }

    /// Makes a change, which the audit log tells.
    pub(super) async fn tell<T, E>(
        &self,
        event: AuditEvent<'_>,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.node.audit.tell(self.caller, event, change).await
    }

    /// A change that is about to be made, for the audit log.
    pub(super) fn begin(&self, event: AuditEvent<'_>) -> Change {
        self.node.audit.begin(self.caller, event)
    }

    /// Charges `count` partitions that are to come or go; refused if the quota of the client is used up, and it knows the
    /// refusal from the request's version `strict_from` on. Older ones are only held back.
    pub(super) fn mutate(&self, count: usize, strict_from: i16) -> Result<(), Refused> {
        let Some(account) = Account::of(self) else { return Ok(()) };
        let (charged, wait_ms) = match account.mutated(count, self.version() >= strict_from) {
            Ok(wait_ms) => (Ok(()), wait_ms),
            Err(wait_ms) => {
                let message = format!("the quota of changes to topics is used up; try again in {wait_ms} ms");
                (Err((ErrorCode::ThrottlingQuotaExceeded, message)), wait_ms)
            }
        };
        self.mutation_wait_ms.fetch_max(wait_ms, Relaxed);
        charged
    }

    /// Holds the connection back for what its requests cost, once one of them is answered; for how long, ms.
    pub(super) fn answered(&self) -> i32 {
        Account::of(self).map_or(0, |account| account.answered(self.mutation_wait_ms.load(Relaxed)))
    }
}

/// Kafka's code for who has no permission on a resource of this type.
pub(super) fn denied(kind: ResourceType) -> ErrorCode {
    match kind {
        ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
        ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
        ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
        ResourceType::Cluster | ResourceType::DelegationToken | ResourceType::User => {
            ErrorCode::ClusterAuthorizationFailed
        }
    }
}

/// A response, or the promise of one.
pub(super) enum Answer {
    Now(Response),
    Later(BoxFuture<'static, Response>),
}

macro_rules! answers {
    ($($api:ident: $response:ident,)*) => {
        $(impl From<messages::$response> for Answer {
            fn from(response: messages::$response) -> Self {
                Self::Now(Response::$api(response))
            }
        })*
    };
}

answers! {
    AddOffsetsToTxn: AddOffsetsToTxnResponse,
    AddPartitionsToTxn: AddPartitionsToTxnResponse,
    AlterClientQuotas: AlterClientQuotasResponse,
    AlterConfigs: AlterConfigsResponse,
    AlterUserScramCredentials: AlterUserScramCredentialsResponse,
    ApiVersions: ApiVersionsResponse,
    ConsumerGroupDescribe: ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeat: ConsumerGroupHeartbeatResponse,
    CreateAcls: CreateAclsResponse,
    CreatePartitions: CreatePartitionsResponse,
    CreateTopics: CreateTopicsResponse,
    DeleteAcls: DeleteAclsResponse,
    DeleteGroups: DeleteGroupsResponse,
    DeleteRecords: DeleteRecordsResponse,
    DeleteTopics: DeleteTopicsResponse,
    DescribeAcls: DescribeAclsResponse,
    DescribeClientQuotas: DescribeClientQuotasResponse,
    DescribeCluster: DescribeClusterResponse,
    DescribeConfigs: DescribeConfigsResponse,
    DescribeGroups: DescribeGroupsResponse,
    DescribeLogDirs: DescribeLogDirsResponse,
    DescribeProducers: DescribeProducersResponse,
    DescribeQuorum: DescribeQuorumResponse,
    DescribeTopicPartitions: DescribeTopicPartitionsResponse,
    DescribeTransactions: DescribeTransactionsResponse,
    DescribeUserScramCredentials: DescribeUserScramCredentialsResponse,
    ElectLeaders: ElectLeadersResponse,
    EndTxn: EndTxnResponse,
    FindCoordinator: FindCoordinatorResponse,
    Heartbeat: HeartbeatResponse,
    IncrementalAlterConfigs: IncrementalAlterConfigsResponse,
    InitProducerId: InitProducerIdResponse,
    JoinGroup: JoinGroupResponse,
    LeaveGroup: LeaveGroupResponse,
    ListConfigResources: ListConfigResourcesResponse,
    ListGroups: ListGroupsResponse,
    ListOffsets: ListOffsetsResponse,
    ListPartitionReassignments: ListPartitionReassignmentsResponse,
    ListTransactions: ListTransactionsResponse,
    Metadata: MetadataResponse,
    OffsetCommit: OffsetCommitResponse,
    OffsetDelete: OffsetDeleteResponse,
    OffsetFetch: OffsetFetchResponse,
    OffsetForLeaderEpoch: OffsetForLeaderEpochResponse,
    SaslAuthenticate: SaslAuthenticateResponse,
    SaslHandshake: SaslHandshakeResponse,
    SyncGroup: SyncGroupResponse,
    TxnOffsetCommit: TxnOffsetCommitResponse,
    UpdateFeatures: UpdateFeaturesResponse,
    WriteTxnMarkers: WriteTxnMarkersResponse,
}

/// Kafka's number of an isolation level; those that nobody knows see no more than they should.
pub(super) fn isolation(level: i8) -> Isolation {
    if level == 0 { Isolation::ReadUncommitted } else { Isolation::ReadCommitted }
}
