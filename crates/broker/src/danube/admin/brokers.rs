//! `danube_admin.BrokerAdmin`: this broker is the whole cluster.

use crate::{
    danube::{authority::BrokerUrl, permits::Permits},
    node::{NODE_ID, Node},
};
use keyway_access::Operation;
use keyway_danube_wire::admin::{
    BrokerInfo, BrokerListResponse, BrokerResponse, Empty, NamespaceListResponse,
    broker_admin_server::BrokerAdmin,
};
use std::{net::SocketAddr, sync::Arc};
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Brokers {
    pub(super) node: Arc<Node>,
    /// Where clients are served.
    pub(super) grpc: SocketAddr,
}

/// This broker's id as Danube writes ids.
pub(super) fn broker_id() -> String {
    NODE_ID.to_string()
}

/// There is nobody to move topics to or from.
fn alone() -> Status {
    Status::failed_precondition(
        "this broker is the whole cluster: there is no other broker to move topics to or from. To stop it, send SIGTERM; \
         clients reconnect by themselves when it is back",
    )
}

#[tonic::async_trait]
impl BrokerAdmin for Brokers {
    async fn list_brokers(&self, request: Request<Empty>) -> Result<Response<BrokerListResponse>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Describe)?;
        let admin_addr = request.extensions().get::<BrokerUrl>().expect("the service is wrapped").0.clone();
        // The host that the administrator used is one that works, whatever address is listened on.
        let host = admin_addr.rsplit_once(':').map_or(admin_addr.as_str(), |(host, _)| host);
        let broker = BrokerInfo {
            broker_id: broker_id(),
            broker_addr: format!("{host}:{}", self.grpc.port()),
            broker_role: "leader".to_owned(),
            admin_addr: admin_addr.clone(),
            metrics_addr: String::new(),
            broker_status: "active".to_owned(),
        };
        Ok(Response::new(BrokerListResponse { brokers: vec![broker] }))
    }

    async fn get_leader_broker(&self, request: Request<Empty>) -> Result<Response<BrokerResponse>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Describe)?;
        Ok(Response::new(BrokerResponse { leader: broker_id() }))
    }

    async fn list_namespaces(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<NamespaceListResponse>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Describe)?;
        let namespaces = self.node.namespaces.all(&self.node.topics).into_iter().collect();
        Ok(Response::new(NamespaceListResponse { namespaces }))
    }

    async fn unload_broker(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Alter)?;
        Err(alone())
    }

    async fn activate_broker(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Alter)?;
        Err(alone())
    }

    async fn get_cluster_balance(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Describe)?;
        Err(alone())
    }

    async fn trigger_rebalance(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Alter)?;
        Err(alone())
    }
}
