//! `danube.HealthCheck`: the heartbeat of producers and consumers.

use super::{consumer::permits_consumer, ids::is_producer_id, permits::Permits};
use crate::node::Node;
use keyway_danube_wire::proto::{
    HealthCheckRequest, HealthCheckResponse, health_check_request::ClientType,
    health_check_response::ClientStatus, health_check_server::HealthCheck,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Heartbeats {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl HealthCheck for Heartbeats {
    /// OK for every id this broker knows, with or without a stream. An unknown id gets an error: that ends the heartbeat
    /// of a client that moved on, where CLOSE would make it subscribe again and again.
    async fn health_check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let HealthCheckRequest { client, id } = request.into_inner();
        let known = match ClientType::try_from(client) {
            Ok(ClientType::Producer) => is_producer_id(id),
            Ok(ClientType::Consumer) => self.heard(&permits, id)?,
            Err(_) => return Err(Status::invalid_argument(format!("client type {client} is unknown"))),
        };
        if known {
            Ok(Response::new(HealthCheckResponse { status: ClientStatus::Ok.into() }))
        } else {
            Err(Status::not_found(format!("id {id} is not known")))
        }
    }
}

impl Heartbeats {
    fn heard(&self, permits: &Permits<'_>, id: u64) -> Result<bool, Status> {
        let Some((subscription, consumer)) = self.node.subscriptions.consumer(id) else { return Ok(false) };
        permits_consumer(&self.node, permits, &subscription)?;
        consumer.heard(self.node.world.clock.now().0);
        Ok(true)
    }
}
