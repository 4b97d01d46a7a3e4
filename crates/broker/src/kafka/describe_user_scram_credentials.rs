//! DescribeUserScramCredentials: users, and the mechanisms that they can log in with.

use super::call::Call;
use keyway_access::{Operation, Resource, ScramCredential};
use keyway_kafka_wire::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    describe_user_scram_credentials::*,
};
use keyway_record::ErrorCode;
use std::collections::BTreeMap;

pub(super) fn handle(
    call: &Call<'_>,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if !call.may(Operation::Describe, Resource::CLUSTER) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeUserScramCredentialsResponse { error_code, ..Default::default() };
    }
    let users = &call.node.users;
    let results = match request.users.filter(|asked| !asked.is_empty()) {
        None => users.all().into_iter().map(|(name, found)| described(name, found.values())).collect(),
        Some(asked) => {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            asked.into_iter().for_each(|user| *times.entry(user.name).or_default() += 1);
            let one = |(name, times): (String, usize)| match users.credentials(&name) {
                _ if times > 1 => {
                    let message =
                        "Cannot describe SCRAM credentials for the same user twice in a single request: ";
                    refused(name, ErrorCode::DuplicateResource, message)
                }
                none if none.is_empty() => {
                    let message = "Attempt to describe a user credential that does not exist: ";
                    refused(name, ErrorCode::ResourceNotFound, message)
                }
                found => described(name, found.values()),
            };
            times.into_iter().map(one).collect()
        }
    };
    DescribeUserScramCredentialsResponse { results, ..Default::default() }
}

fn described<'a>(
    user: String,
    credentials: impl Iterator<Item = &'a ScramCredential>,
) -> DescribeUserScramCredentialsResult {
    let info = |credential: &ScramCredential| CredentialInfo {
        mechanism: credential.mechanism.code(),
        iterations: i32::try_from(credential.iterations).expect("iterations are bounded"),
    };
    DescribeUserScramCredentialsResult {
        user,
        credential_infos: credentials.map(info).collect(),
        ..Default::default()
    }
}

fn refused(user: String, error: ErrorCode, message: &str) -> DescribeUserScramCredentialsResult {
    let error_message = Some(format!("{message}{user}"));
    DescribeUserScramCredentialsResult { user, error_code: error.code(), error_message, ..Default::default() }
}
