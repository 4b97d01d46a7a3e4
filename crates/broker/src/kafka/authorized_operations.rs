//! Which operations a client may use, as bits: bit n stands for the operation of Kafka's number n.

use super::call::Call;
use keyway_access::{
    Operation::{self, *},
    Resource, ResourceType,
};

/// The client did not ask.
pub(super) const NOT_ASKED: i32 = i32::MIN;

const TOPIC: &[Operation] = &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs];

const GROUP: &[Operation] = &[Read, Delete, Describe, DescribeConfigs, AlterConfigs];

const CLUSTER: &[Operation] =
    &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite];

/// What the client may do to `resource`, of all that can be done to its kind; [`NOT_ASKED`] if it did not ask.
pub(super) fn of(call: &Call<'_>, asked: bool, resource: Resource<'_>) -> i32 {
    if !asked {
        return NOT_ASKED;
    }
    // What may be done to the cluster is told to who may describe it.
    if resource.kind == ResourceType::Cluster && !call.may(Describe, resource) {
        return 0;
    }
    let possible = match resource.kind {
        ResourceType::Topic => TOPIC,
        ResourceType::Group => GROUP,
        ResourceType::Cluster => CLUSTER,
        other => unreachable!("nobody is asked what may be done to a {other:?}"),
    };
    let allowed = possible.iter().filter(|&&operation| call.sees(operation, resource));
    allowed.fold(0, |bits, operation| bits | 1 << operation.code())
}
