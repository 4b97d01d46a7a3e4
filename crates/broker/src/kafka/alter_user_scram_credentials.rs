//! AlterUserScramCredentials: makes users, changes their passwords, and removes them.

use super::{
    call::{Call, Refused},
    topic_error,
};
use crate::access::{AuditEvent, Change as AuditedChange};
use crate::users::{Change, NAME_BYTES_MAX, UserError};
use keyway_access::{ITERATIONS_MAX, Operation, Resource, ScramCredential, ScramMechanism};
use keyway_kafka_wire::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, alter_user_scram_credentials::*,
};
use keyway_record::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// Longest salt, bytes; Kafka's tools make 26.
const SALT_BYTES_MAX: usize = 1024;

pub(super) async fn handle(
    call: &Call<'_>,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let AlterUserScramCredentialsRequest { deletions, upsertions } = request;
    let named = deletions.iter().map(|one| &one.name).chain(upsertions.iter().map(|one| &one.name));
    let mut outcomes: BTreeMap<String, Result<(), Refused>> =
        named.map(|name| (name.clone(), Ok(()))).collect();
    if !call.may(Operation::Alter, Resource::CLUSTER) {
        let refused =
            || Err((ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.".to_owned()));
        outcomes.values_mut().for_each(|outcome| *outcome = refused());
        return answered(outcomes);
    }
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    let mut note = |name: String, mechanism: i8, change: Result<Change, Refused>| {
        let twice = !seen.insert((name.clone(), mechanism));
        let change = match twice {
            true => Err((
                ErrorCode::DuplicateResource,
                "A user credential cannot be altered twice in the same request".to_owned(),
            )),
            false => change,
        };
        match change {
            Ok(change) => changes.push(change),
            Err(refused) => _ = outcomes.insert(name, Err(refused)),
        }
    };
    for one in deletions {
        let (name, mechanism) = (one.name.clone(), one.mechanism);
        note(name, mechanism, removal(call, one));
    }
    for one in upsertions {
        let (name, mechanism) = (one.name.clone(), one.mechanism);
        note(name, mechanism, setting(one));
    }
    // A user with one refused change keeps all it has.
    changes.retain(|change| outcomes[name_of(change)].is_ok());
    let changed: Vec<String> = changes.iter().map(|change| name_of(change).to_owned()).collect();
    let audited: Vec<AuditedChange> = changes.iter().map(|change| call.begin(event_of(change))).collect();
    let outcome = call.node.users.change(changes).await;
    audited.into_iter().for_each(|change| change.settle(&outcome));
    if let Err(error) = outcome {
        let refused = match &error {
            UserError::TooMany => (ErrorCode::UnacceptableCredential, error.to_string()),
            UserError::Record(cause) => (topic_error::of_internal(cause), error.to_string()),
        };
        changed.into_iter().for_each(|name| _ = outcomes.insert(name, Err(refused.clone())));
    }
    answered(outcomes)
}

fn name_of(change: &Change) -> &str {
    match change {
        Change::Set { name, .. } | Change::Remove { name, .. } => name,
    }
}

fn event_of(change: &Change) -> AuditEvent<'_> {
    match change {
        Change::Set { name, credential } => {
            AuditEvent::UserSet { user: name, mechanism: credential.mechanism.name() }
        }
        Change::Remove { name, mechanism } => {
            AuditEvent::UserRemoved { user: name, mechanism: mechanism.name() }
        }
    }
}

fn removal(call: &Call<'_>, one: ScramCredentialDeletion) -> Result<Change, Refused> {
    let mechanism = checked(&one.name, one.mechanism)?;
    if !call.node.users.credentials(&one.name).contains_key(&mechanism) {
        let message = "Attempt to delete a user credential that does not exist";
        return Err((ErrorCode::ResourceNotFound, message.to_owned()));
    }
    Ok(Change::Remove { name: one.name, mechanism })
}

fn setting(one: ScramCredentialUpsertion) -> Result<Change, Refused> {
    let mechanism = checked(&one.name, one.mechanism)?;
    let refused = |message: &str| Err((ErrorCode::UnacceptableCredential, message.to_owned()));
    let iterations = match u32::try_from(one.iterations) {
        Ok(iterations) if iterations > ITERATIONS_MAX => return refused("Too many iterations"),
        Ok(iterations) if iterations >= ScramMechanism::ITERATIONS_MIN => iterations,
        _ => return refused("Too few iterations"),
    };
    if one.salt.is_empty() || one.salt.len() > SALT_BYTES_MAX {
        return refused("The salt is empty or too long");
    }
    if one.salted_password.len() != mechanism.hash_bytes() {
        return refused("The salted password is not as long as the mechanism's hash");
    }
    let salt = one.salt.to_vec();
    let credential = ScramCredential::of_salted_password(mechanism, &one.salted_password, salt, iterations);
    Ok(Change::Set { name: one.name, credential })
}

fn checked(name: &str, mechanism: i8) -> Result<ScramMechanism, Refused> {
    let refused = |message: String| Err((ErrorCode::UnacceptableCredential, message));
    if name.is_empty() {
        return refused("Username must not be empty.".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return refused(format!("Username must not be longer than {NAME_BYTES_MAX} bytes."));
    }
    let unknown = || (ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism.".to_owned());
    ScramMechanism::from_code(mechanism).ok_or_else(unknown)
}

fn answered(outcomes: BTreeMap<String, Result<(), Refused>>) -> AlterUserScramCredentialsResponse {
    let result = |(user, outcome): (String, Result<(), Refused>)| match outcome {
        Ok(()) => AlterUserScramCredentialsResult { user, ..Default::default() },
        Err((error, message)) => {
            AlterUserScramCredentialsResult { user, error_code: error.code(), error_message: Some(message) }
        }
    };
    let results = outcomes.into_iter().map(result).collect();
    AlterUserScramCredentialsResponse { results, ..Default::default() }
}
