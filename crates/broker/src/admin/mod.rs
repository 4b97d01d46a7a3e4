//! HTTP for people, scripts and scrapers: health, metrics, and JSON under `/api/v1`.
//!
//! | path | what it answers |
//! |---|---|
//! | `GET /healthz` | 200 while the process serves |
//! | `GET /readyz` | 200 while clients are served, 503 once the broker stops |

mod connections;
mod error;
mod health;
mod same_site;

pub(crate) use connections::serve;

use crate::node::Node;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
    middleware,
    routing::get,
};
use error::ApiError;
use std::{net::SocketAddr, sync::Arc};

/// Largest body of a request, bytes; the longest one carries a key.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What all handlers share.
type Shared = Arc<Node>;

fn router(node: Arc<Node>, listening: SocketAddr) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(node);
    if listening.ip().is_loopback() { routes.layer(middleware::from_fn(same_site::check)) } else { routes }
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath { path: uri.path().to_owned() }
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::NoSuchMethod { method, path: uri.path().to_owned() }
}
