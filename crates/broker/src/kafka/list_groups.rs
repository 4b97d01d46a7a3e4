//! ListGroups: every group, or those of some states and types.

use super::call::Call;
use keyway_groups::State;
use keyway_kafka_wire::messages::{ListGroupsRequest, ListGroupsResponse, list_groups::ListedGroup};

/// The type of every group here, as Kafka calls it.
const CLASSIC: &str = "Classic";

pub(super) async fn handle(call: &Call<'_>, request: &ListGroupsRequest) -> ListGroupsResponse {
    let allows = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let mut groups = Vec::new();
    if !allows(&request.types_filter, CLASSIC) {
        return ListGroupsResponse::default();
    }
    for id in call.node.groups.ids() {
        // A group that went meanwhile, or whose log failed, has nothing to show.
        let Ok(description) =
            call.node.groups.read(&id, |group| (group.state(), group.describe().protocol_type)).await
        else {
            continue;
        };
        let (state, protocol_type) = description;
        if state != State::Dead && allows(&request.states_filter, state.name()) {
            groups.push(ListedGroup {
                group_id: id.as_str().to_owned(),
                protocol_type: protocol_type.as_ref().to_owned(),
                group_state: state.name().to_owned(),
                group_type: CLASSIC.to_owned(),
            });
        }
    }
    ListGroupsResponse { groups, ..Default::default() }
}
