//! `danube.AuthService`: tokens for API keys, which only the Java client asks for.

use crate::{fronts::Peer, node::Node};
use axum::http::HeaderValue;
use keyway_danube_wire::proto::{AuthRequest, AuthResponse, auth_service_server::AuthService};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Tokens {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl AuthService for Tokens {
    /// An API key is what a `Bearer` header may carry, and its own token: each call is checked anyway, and a token that
    /// outlived its password would let in who no longer may.
    async fn authenticate(&self, request: Request<AuthRequest>) -> Result<Response<AuthResponse>, Status> {
        let peer = request.extensions().get::<Arc<Peer>>().expect("every connection has a peer").clone();
        if !peer.wants_login() {
            // A token that is handed out would look like a permission.
            return Err(Status::failed_precondition(
                "this broker has no authentication and gives no tokens; connect without an API key",
            ));
        }
        let AuthRequest { api_key: token } = request.into_inner();
        let header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Status::unauthenticated("the API key has characters that no header may have"))?;
        match peer.prove(&self.node, Some(&header)).await {
            Ok(_) => Ok(Response::new(AuthResponse { token })),
            Err(refused) => Err(Status::unauthenticated(refused.to_string())),
        }
    }
}
