//! UpdateFeatures: the levels of features come with the program, so the one that a feature has is all it can be set to.

use super::{api_versions, call::Call};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse, update_features::*};
use keyway_record::ErrorCode;

/// From here on there is one answer to all updates.
const ONE_ANSWER_FROM: i16 = 2;

pub(super) fn handle(call: &Call<'_>, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    if let Err(error) = call.check(Operation::Alter, Resource::CLUSTER) {
        let error_message = Some(error.to_string());
        return UpdateFeaturesResponse { error_code: error.code(), error_message, ..Default::default() };
    }
    let results: Vec<_> = request.feature_updates.into_iter().map(update).collect();
    let refused = results.iter().find(|result| result.error_code != ErrorCode::None.code());
    match refused {
        // One refusal refuses all, and is all that is said.
        Some(refused) => UpdateFeaturesResponse {
            error_code: refused.error_code,
            error_message: refused.error_message.clone(),
            ..Default::default()
        },
        None => {
            let results = if call.version() < ONE_ANSWER_FROM { results } else { Vec::new() };
            UpdateFeaturesResponse { error_message: None, results, ..Default::default() }
        }
    }
}

fn update(asked: FeatureUpdateKey) -> UpdatableFeatureResult {
    let wanted = asked.max_version_level;
    let refusal = match api_versions::finalized_level(&asked.feature) {
        Some(level) if level == wanted => None,
        Some(level) => Some(format!("{} has level {level} in this version of the program", asked.feature)),
        None => Some(format!("there is no feature {}", asked.feature)),
    };
    let error = if refusal.is_some() { ErrorCode::InvalidUpdateVersion } else { ErrorCode::None };
    UpdatableFeatureResult { feature: asked.feature, error_code: error.code(), error_message: refusal }
}
