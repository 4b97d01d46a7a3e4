//! AlterClientQuotas: sets quotas and takes them away.

use super::{
    call::{Call, Refused},
    topic_error,
};
use crate::{
    access::{AuditEvent, Change},
    quotas::{ChangeError, Changes},
};
use keyway_access::{
    Operation, Resource,
    quota::{Entity, QuotaKind},
};
use keyway_kafka_wire::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, alter_client_quotas::*,
};
use keyway_record::ErrorCode;
use std::collections::BTreeSet;

pub(super) async fn handle(call: &Call<'_>, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let may = call.may(Operation::AlterConfigs, Resource::CLUSTER);
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let altered = if may {
            alter(call, &entry, request.validate_only, &mut seen).await
        } else {
            let message = "quotas are set by who may alter the cluster's configs".to_owned();
            Err((ErrorCode::ClusterAuthorizationFailed, message))
        };
        entries.push(answer(entry, altered));
    }
    AlterClientQuotasResponse { entries, ..Default::default() }
}

async fn alter(
    call: &Call<'_>,
    entry: &EntryData,
    only_check: bool,
    seen: &mut BTreeSet<Entity>,
) -> Result<(), Refused> {
    let invalid = |message: String| (ErrorCode::InvalidRequest, message);
    let parts = entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
    let entity = Entity::of_parts(parts).map_err(|error| invalid(error.to_string()))?;
    if !seen.insert(entity.clone()) {
        return Err(invalid("the request names the entity twice".to_owned()));
    }
    let mut changes = Changes::new();
    for op in &entry.ops {
        let kind =
            QuotaKind::named(&op.key).ok_or_else(|| invalid(format!("there is no quota {:?}", op.key)))?;
        if changes.insert(kind, (!op.remove).then_some(op.value)).is_some() {
            return Err(invalid(format!("{} is named twice for one entity", op.key)));
        }
    }
    let event = AuditEvent::QuotasChanged { entity: &entity, changes: &changes };
    let change = match only_check || changes.is_empty() {
        true => Change::untold(),
        false => call.begin(event),
    };
    let changed = call.node.quotas.change(&entity, &changes, only_check).await;
    change.settle(&changed);
    changed.map_err(|error| match error {
        ChangeError::Record(ref cause) => (topic_error::of_internal(cause), error.to_string()),
        _ => invalid(error.to_string()),
    })
}

fn answer(entry: EntryData, altered: Result<(), Refused>) -> ResponseEntryData {
    let (error, error_message) = match altered {
        Ok(()) => (ErrorCode::None, None),
        Err((error, message)) => (error, Some(message)),
    };
    let part = |part: EntityData| ResponseEntityData {
        entity_type: part.entity_type,
        entity_name: part.entity_name,
    };
    ResponseEntryData {
        error_code: error.code(),
        error_message,
        entity: entry.entity.into_iter().map(part).collect(),
    }
}
