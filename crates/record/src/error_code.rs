//! Kafka's error codes: code, name, whether a client may retry, meaning. Source: Kafka 4.3's protocol guide.

use std::fmt;

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $retriable:literal, $meaning:literal;)*) => {
        /// What a Kafka response says about one thing that was asked.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, ascending.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Kafka's name of the code.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub fn is_retriable(self) -> bool {
                match self { $(Self::$variant => $retriable,)* }
            }

            /// The meaning in a few words.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", false, "the broker failed in a way it did not expect";
    None = 0, "NONE", false, "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", false, "the offset is not within the partition's log";
    CorruptMessage = 2, "CORRUPT_MESSAGE", true, "the batch fails its checksum or is malformed";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", true, "the broker does not host this topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", false, "the fetch size is negative";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", true, "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", true, "this broker does not lead the partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", true, "the request ran out of time";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", false, "the broker is not available";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", false, "the batch exceeds max.message.bytes";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", false, "the metadata of a committed offset is too long";
    NetworkException = 13, "NETWORK_EXCEPTION", true, "the connection broke before a response arrived";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", true, "the coordinator is loading its state";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", true, "the coordinator is not available";
    NotCoordinator = 16, "NOT_COORDINATOR", true, "this broker does not coordinate the group or transaction";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", false, "the topic name is not allowed";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", false, "the request's records exceed the segment size";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", true, "too few replicas are in sync";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "the records were written, to too few replicas";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", false, "acks is not -1, 0 or 1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", false, "the generation is not the group's current one";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", false, "the member's protocols fit none of the group's";
    InvalidGroupId = 24, "INVALID_GROUP_ID", false, "the group id is not allowed";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", false, "the member is not in the group";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", false, "the session timeout is outside the broker's bounds";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", false, "the group is rebalancing; join again";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", false, "the offset commit is too large";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", false, "no permission on the topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", false, "no permission on the group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", false, "no permission on the cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", false, "a record's timestamp is out of range";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", false, "the SASL mechanism is not offered";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", false, "the request does not fit the SASL state";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", false, "the API version is not supported";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", false, "a topic of this name exists";
    InvalidPartitions = 37, "INVALID_PARTITIONS", false, "the number of partitions is below 1";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", false, "the replication factor cannot be met";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", false, "the replica assignment is not valid";
    InvalidConfig = 40, "INVALID_CONFIG", false, "a configuration value is not valid";
    NotController = 41, "NOT_CONTROLLER", true, "this broker is not the controller";
    InvalidRequest = 42, "INVALID_REQUEST", false, "the request contradicts itself or the protocol";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "the record format does not support the request";
    PolicyViolation = 44, "POLICY_VIOLATION", false, "a policy refuses the request";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", false, "the batch's sequence number is not the next one";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", false, "the batch was written before";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", false, "the producer's epoch is older than one seen";
    InvalidTxnState = 48, "INVALID_TXN_STATE", false, "the transaction is in another state";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", false, "the producer id does not belong to the transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", false, "the transaction timeout exceeds the broker's maximum";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", true, "another operation on the transaction is in progress";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", false, "a newer coordinator has taken over";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "no permission on the transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", false, "security features are off";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", false, "the operation was not tried";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", true, "the broker's disk failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", false, "the log folder does not exist";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", false, "the login failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", false, "the producer id is not known for this partition";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", false, "a reassignment is in progress";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", false, "the group has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", false, "the group does not exist";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", true, "the fetch session is not known";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", true, "the fetch session's epoch is not the next one";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", true, "no listener of this name";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", false, "topics may not be deleted";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", true, "the leader epoch is older than the broker's";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", true, "the leader epoch is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", false, "the compression type is not supported by this version";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", false, "the broker epoch is stale";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", true, "the offset cannot be told yet";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", false, "join again with the member id just given";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", true, "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", false, "the group is full";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", false, "another member took over this instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "no eligible leader";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", true, "no election is needed";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", false, "no reassignment is in progress";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", false, "a member of the group is subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", false, "a record is not valid";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", true, "an offset is part of an open transaction";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", true, "the quota is used up";
    ProducerFenced = 90, "PRODUCER_FENCED", false, "a newer producer with this transactional id exists";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", false, "the resource does not exist";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", false, "the resource is named twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", false, "the credential cannot be accepted";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", false, "the feature update has a wrong version";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", false, "the feature could not be updated";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", true, "the topic id is not known";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", true, "the topic id does not fit the topic";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", false, "the transactional id does not exist";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", true, "the session mixes topic names and ids";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", false, "the member's epoch is fenced; join again";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", false, "another member still holds this instance id";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", false, "the assignor is not supported";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", false, "the member's epoch is stale; retry after a heartbeat";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", false, "the request went to the wrong kind of endpoint";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", false, "the endpoint type is not supported";
    InvalidRegistration = 119, "INVALID_REGISTRATION", false, "the registration is not valid";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", false, "abort the transaction and go on";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", false, "the record is in another state";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", true, "the share session is not known";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", true, "the share session's epoch is not the next one";
    InvalidSharePartitionState = 127, "INVALID_SHARE_PARTITION_STATE", false, "the share partition's state is not valid";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", false, "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", false, "fetch the cluster's metadata anew";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", true, "too many share sessions are open";
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The error of a number on the wire, if it is in the table.
    #[must_use]
    pub fn of_code(code: i16) -> Option<Self> {
        Self::ALL.binary_search_by_key(&code, |error| error.code()).ok().map(|index| Self::ALL[index])
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn every_code_is_found_by_its_number() {
        assert!(ErrorCode::ALL.is_sorted());
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::of_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::of_code(9), None);
    }
}
