//! ApiVersions: what this broker speaks. The one request that is answered whatever its version.

use super::call::Call;
use keyway_kafka_wire::{
    API_VERSIONS, AdvertisedApi, ApiKey,
    messages::{ApiVersionsRequest, ApiVersionsResponse, Response, api_versions::*},
};
use keyway_record::ErrorCode;

/// `metadata.version` of Apache Kafka 4.3.
const METADATA_VERSION: i16 = 30;

/// Lowest `metadata.version` that Apache Kafka 4.3 can run with.
const METADATA_VERSION_MIN: i16 = 7;

/// `kraft.version`: the highest and finalized one.
const KRAFT_VERSION: i16 = 1;

/// `group.version`, the highest and finalized one: consumer groups by KIP-848.
const GROUP_VERSION: i16 = 1;

/// `transaction.version`: from 2 on clients let a write add its partition to the transaction (KIP-890).
const TRANSACTION_VERSION: i16 = 2;

pub(super) fn handle(call: &Call<'_>, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named =
        is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if call.version() >= 3 && !named {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: API_VERSIONS.iter().map(api_version).collect(),
        supported_features: supported_features(call.version()),
        // The epoch is what makes clients look at the list.
        finalized_features_epoch: 0,
        finalized_features: finalized_features(),
        ..Default::default()
    }
}

/// The answer to a version above ours: always version 0, with the range of this API for the next try.
pub(super) fn too_new() -> Response {
    let own = API_VERSIONS.iter().filter(|row| row.api == ApiKey::ApiVersions);
    Response::ApiVersions(ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.map(api_version).collect(),
        ..Default::default()
    })
}

fn api_version(row: &AdvertisedApi) -> ApiVersion {
    ApiVersion { api_key: row.api.code(), min_version: row.min, max_version: row.max }
}

fn supported_features(version: i16) -> Vec<SupportedFeatureKey> {
    let feature = |name: &str, min_version, max_version| SupportedFeatureKey {
        name: name.to_owned(),
        min_version,
        max_version,
    };
    let mut features = vec![feature("metadata.version", METADATA_VERSION_MIN, METADATA_VERSION)];
    // Java clients before KAFKA-17492 cannot read a feature that starts at 0; they ask in version 3.
    if version >= 4 {
        features.push(feature("kraft.version", 0, KRAFT_VERSION));
        features.push(feature("group.version", 0, GROUP_VERSION));
        features.push(feature("transaction.version", 0, TRANSACTION_VERSION));
    }
    features
}

fn finalized_features() -> Vec<FinalizedFeatureKey> {
    let feature = |name: &str, level| FinalizedFeatureKey {
        name: name.to_owned(),
        min_version_level: level,
        max_version_level: level,
    };
    vec![
        feature("metadata.version", METADATA_VERSION),
        feature("kraft.version", KRAFT_VERSION),
        feature("group.version", GROUP_VERSION),
        feature("transaction.version", TRANSACTION_VERSION),
    ]
}

/// The level that a feature has.
pub(super) fn finalized_level(feature: &str) -> Option<i16> {
    finalized_features().iter().find(|one| one.name == feature).map(|one| one.max_version_level)
}

/// Letters and digits, with `-` and `.` between them.
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for name in ["a", "librdkafka", "apache-kafka-java", "4.3.0", "v1.2-rc1"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "a_b", "ä"] {
            assert!(!is_software_name(name), "{name}");
        }
    }

    #[test]
    fn features_that_start_at_zero_are_kept_from_version_3() {
        assert!(supported_features(3).iter().all(|feature| feature.min_version > 0));
        assert!(supported_features(4).iter().any(|feature| feature.min_version == 0));
    }
}
