//! ListGroups: every group, or those of some states and types.

use super::call::Call;
use keyway_access::{Operation, Resource};
use keyway_groups::{Description, GroupId, State};
use keyway_kafka_wire::messages::{ListGroupsRequest, ListGroupsResponse, list_groups::ListedGroup};

pub(super) async fn handle(call: &Call<'_>, request: &ListGroupsRequest) -> ListGroupsResponse {
    let allows = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let sees_all = call.sees(Operation::Describe, Resource::CLUSTER);
    let is_shown = |id: &GroupId| sees_all || call.sees(Operation::Describe, Resource::group(id.as_str()));
    let mut groups = Vec::new();
    for id in call.node.groups.ids().into_iter().filter(is_shown) {
        // A group that went meanwhile, or whose log failed, has nothing to show.
        let Ok(description) = call.node.groups.read(&id, |group| (group.kind(), group.describe())).await
        else {
            continue;
        };
        let (kind, Description { state, protocol_type, .. }) = description;
        let wanted =
            allows(&request.types_filter, kind.name()) && allows(&request.states_filter, state.name());
        if state != State::Dead && wanted {
            groups.push(ListedGroup {
                group_id: id.as_str().to_owned(),
                protocol_type: protocol_type.as_ref().to_owned(),
                group_state: state.name().to_owned(),
                // Kafka's names of types begin with a capital letter everywhere but here.
                group_type: kind.name().to_lowercase(),
            });
        }
    }
    ListGroupsResponse { groups, ..Default::default() }
}
