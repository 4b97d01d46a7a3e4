//! DescribeCluster: the one node and the cluster's id.

use super::{authorized_operations, call::Call, topic_error};
use crate::node::NODE_ID;
use keyway_access::Resource;
use keyway_kafka_wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, describe_cluster::DescribeClusterBroker,
};
use keyway_record::ErrorCode;

/// `EndpointType` of brokers; 2 is that of controllers.
const BROKERS: i8 = 1;

pub(super) async fn handle(call: &Call<'_>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let refused = |error: ErrorCode, message: &str| DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(message.to_owned()),
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        2 => {
            return refused(
                ErrorCode::MismatchedEndpointType,
                "this endpoint is a broker's, not a controller's",
            );
        }
        _ => return refused(ErrorCode::UnsupportedEndpointType, "endpoint types are 1 and 2"),
    }
    let cluster_id = match call.node.cluster_id.get().await {
        Ok(id) => id.to_owned(),
        Err(error) => return refused(topic_error::of_internal(&error), "the cluster id cannot be written"),
    };
    let (host, port) = call.advertised();
    let broker = DescribeClusterBroker { broker_id: NODE_ID, host, port: port.into(), ..Default::default() };
    let asked = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        cluster_id,
        controller_id: NODE_ID,
        brokers: vec![broker],
        cluster_authorized_operations: authorized_operations::of(call, asked, Resource::CLUSTER),
        ..Default::default()
    }
}
