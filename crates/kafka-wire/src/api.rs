//! Which versions a broker speaks, and which header version goes with them.

use crate::ApiKey;
use std::ops::RangeInclusive;

/// One row of the table that a broker answers ApiVersions with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvertisedApi {
    /// The API.
    pub api: ApiKey,
    /// Lowest version.
    pub min: i16,
    /// Highest version.
    pub max: i16,
}

/// What the broker advertises: Apache Kafka 4.3's own ranges, for the APIs that it answers.
///
/// Produce is advertised from version 0 although it is spoken from 3: librdkafka before KAFKA-18659 sends no compressed
/// batch to a broker that does not.
pub const API_VERSIONS: &[AdvertisedApi] = &[
    row(ApiKey::Produce, 0, 13),
    row(ApiKey::Fetch, 4, 18),
    row(ApiKey::ListOffsets, 1, 11),
    row(ApiKey::Metadata, 0, 13),
    row(ApiKey::OffsetCommit, 2, 10),
    row(ApiKey::OffsetFetch, 1, 10),
    row(ApiKey::FindCoordinator, 0, 6),
    row(ApiKey::JoinGroup, 0, 9),
    row(ApiKey::Heartbeat, 0, 4),
    row(ApiKey::LeaveGroup, 0, 5),
    row(ApiKey::SyncGroup, 0, 5),
    row(ApiKey::DescribeGroups, 0, 6),
    row(ApiKey::ListGroups, 0, 5),
    row(ApiKey::SaslHandshake, 0, 1),
    row(ApiKey::ApiVersions, 0, 4),
    row(ApiKey::CreateTopics, 2, 7),
    row(ApiKey::DeleteTopics, 1, 6),
    row(ApiKey::DeleteRecords, 0, 2),
    row(ApiKey::InitProducerId, 0, 5),
    row(ApiKey::OffsetForLeaderEpoch, 2, 4),
    row(ApiKey::AddPartitionsToTxn, 0, 5),
    row(ApiKey::AddOffsetsToTxn, 0, 4),
    row(ApiKey::EndTxn, 0, 5),
    row(ApiKey::WriteTxnMarkers, 1, 2),
    row(ApiKey::TxnOffsetCommit, 0, 5),
    row(ApiKey::DescribeAcls, 1, 3),
    row(ApiKey::CreateAcls, 1, 3),
    row(ApiKey::DeleteAcls, 1, 3),
    row(ApiKey::DescribeConfigs, 1, 4),
    row(ApiKey::AlterConfigs, 0, 2),
    row(ApiKey::DescribeLogDirs, 1, 5),
    row(ApiKey::SaslAuthenticate, 0, 2),
    row(ApiKey::CreatePartitions, 0, 3),
    row(ApiKey::DeleteGroups, 0, 2),
    row(ApiKey::ElectLeaders, 0, 2),
    row(ApiKey::IncrementalAlterConfigs, 0, 1),
    row(ApiKey::ListPartitionReassignments, 0, 0),
    row(ApiKey::OffsetDelete, 0, 0),
    row(ApiKey::DescribeClientQuotas, 0, 1),
    row(ApiKey::AlterClientQuotas, 0, 1),
    row(ApiKey::DescribeUserScramCredentials, 0, 0),
    row(ApiKey::AlterUserScramCredentials, 0, 0),
    row(ApiKey::DescribeQuorum, 0, 2),
    row(ApiKey::UpdateFeatures, 0, 2),
    row(ApiKey::DescribeCluster, 0, 2),
    row(ApiKey::DescribeProducers, 0, 0),
    row(ApiKey::DescribeTransactions, 0, 0),
    row(ApiKey::ListTransactions, 0, 2),
    row(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    row(ApiKey::ConsumerGroupDescribe, 0, 1),
    row(ApiKey::ListConfigResources, 0, 1),
    row(ApiKey::DescribeTopicPartitions, 0, 0),
];

const fn row(api: ApiKey, min: i16, max: i16) -> AdvertisedApi {
    AdvertisedApi { api, min, max }
}

impl ApiKey {
    /// Kafka's number.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The row of [`API_VERSIONS`], if the API is in it.
    #[must_use]
    pub fn advertised(self) -> Option<RangeInclusive<i16>> {
        API_VERSIONS.iter().find(|row| row.api == self).map(|row| row.min..=row.max)
    }

    /// Whether the version has compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|from| version >= from)
    }

    /// Version of the header in front of a request of this version.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header in front of the response to a request of this version. ApiVersions always has version 0:
    /// a client must be able to read it before it knows the broker.
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        if self != Self::ApiVersions && self.is_flexible(version) { 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advertised_ranges_are_those_of_the_messages() {
        for row in API_VERSIONS {
            let spoken = row.api.versions().expect("messages of every advertised API");
            let min = if row.api == ApiKey::Produce { 3 } else { row.min };
            assert_eq!(spoken, min..=row.max, "{:?}", row.api);
        }
    }

    #[test]
    fn keys_come_back_from_their_numbers() {
        for &api in ApiKey::ALL {
            assert_eq!(ApiKey::of_code(api.code()), Some(api));
        }
        assert_eq!(ApiKey::of_code(4), None);
        assert_eq!(ApiKey::of_code(-1), None);
    }

    #[test]
    fn header_versions_follow_the_body() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
