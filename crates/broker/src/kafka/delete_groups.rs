//! DeleteGroups: groups without members, with their offsets.

use super::call::Call;
use crate::{access::AuditEvent, groups::Missing};
use keyway_access::{Operation, Resource};
use keyway_groups::{GroupId, Input, Reply};
use keyway_kafka_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups::DeletableGroupResult,
};
use keyway_record::ErrorCode;
use std::collections::BTreeSet;

pub(super) async fn handle(call: &Call<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = BTreeSet::new();
    // What is named twice is answered once.
    for group_id in request.groups_names.into_iter().filter(|name| seen.insert(name.clone())) {
        let deleted = delete(call, &GroupId::from(group_id.as_str())).await;
        let error_code = deleted.err().unwrap_or(ErrorCode::None).code();
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}

async fn delete(call: &Call<'_>, group: &GroupId) -> Result<(), ErrorCode> {
    call.check(Operation::Delete, Resource::group(group.as_str()))?;
    let deleted = async {
        let asked = call.node.groups.ask(call.node, group, Missing::Leave, |caller| Input::Delete { caller });
        let answer = asked.await.map_err(|error| error.code(ErrorCode::GroupIdNotFound))?;
        match answer.await {
            Ok(Reply::Delete(ErrorCode::None)) => Ok(()),
            Ok(Reply::Delete(error)) => Err(error),
            Ok(other) => unreachable!("a deletion is not answered with {other:?}"),
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    };
    call.tell(AuditEvent::GroupDeleted { group: group.as_str() }, deleted).await
}
