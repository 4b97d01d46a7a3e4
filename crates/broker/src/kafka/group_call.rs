//! What the requests about groups have in common.

use super::call::{Answer, Call};
use crate::groups::{AskError, Missing};
use futures_util::FutureExt;
use keyway_groups::{CallerId, GroupId, Input, InstanceId, Reply};
use keyway_kafka_wire::messages::Response;
use keyway_record::ErrorCode;

/// Asks the group and promises its answer. `respond` makes the response of either; `unknown` is the code for a group
/// that does not exist.
pub(super) async fn ask(
    call: &Call<'_>,
    group: &str,
    missing: Missing,
    unknown: ErrorCode,
    input: impl FnOnce(CallerId) -> Input,
    respond: impl FnOnce(Result<Reply, ErrorCode>) -> Response + Send + 'static,
) -> Answer {
    let asked = call.node.groups.ask(call.node, &GroupId::from(group), missing, input).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => return Answer::Now(respond(Err(error.code(unknown)))),
    };
    let later = async move { respond(answer.await.map_err(|_| AskError::Unavailable.code(unknown))) };
    Answer::Later(later.boxed())
}

/// A static member's name, if the request has one.
pub(super) fn instance(id: Option<String>) -> Option<InstanceId> {
    id.map(|id| InstanceId(id.into()))
}
