//! `danube.AuthService`: tokens for API keys, which only the Java client asks for.

use keyway_danube_wire::proto::{AuthRequest, AuthResponse, auth_service_server::AuthService};
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct NoTokens;

#[tonic::async_trait]
impl AuthService for NoTokens {
    /// There is nothing to prove here, so there is no token: one that is handed out would look like a permission.
    async fn authenticate(&self, _: Request<AuthRequest>) -> Result<Response<AuthResponse>, Status> {
        Err(Status::failed_precondition(
            "this broker has no authentication and gives no tokens; connect without an API key",
        ))
    }
}
