//! HTTP for people, scripts and scrapers: health, metrics, and JSON under `/api/v1`.
//!
//! | path | what it answers or does |
//! |---|---|
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 while clients are served, 503 once the broker stops |
//! | `GET /metrics` | everything that is counted, for Prometheus |
//! | `GET /api/v1/subscriptions` | `subscriptions`: a summary of each |
//! | `GET /api/v1/topics/{topic}/subscriptions/{name}` | the summary, `policy`, `partition_views` |
//! | `PUT …/{name}` | creates it: `type` (`key_shared`), `start` (`latest`) |
//! | `DELETE …/{name}` | deletes it with its position, consumers and policy |
//! | `GET …/{name}/keys?order=&limit=` | `keys` by `backlog`, `rate` or `age` |
//! | `GET …/{name}/key?key=` | one key: `holder`, `waiting`, `attempts`, `blocked`, … |
//! | `POST …/{name}/seek` | `to`; answers `partitions` with their offsets |
//! | `POST …/{name}/release` | `key`, or nothing for all; answers how many were `released` |
//! | `GET`, `PATCH …/{name}/policy` | see [`policy`] |
//! | `GET /api/v1/damaged-records` | `damaged_records`: `topic`, `partition`, `first_offset`, `next_offset`, `file`, `position` |
//! | `GET /api/v1/dead-letters` | `dead_letter_topics` with how many letters are `waiting` |
//! | `GET /api/v1/dead-letters/{topic}?key=&limit=` | `dead_letters`, and the `rest` to ask for next |
//! | `POST /api/v1/dead-letters/{topic}/replay` | `key`, `limit`, `to`; answers `settled`, `refused`, `refusals`, `rest` |
//! | `POST /api/v1/dead-letters/{topic}/purge` | `key`, `limit`; answers the same |
//!
//! What a summary, partition, consumer and key have is listed at `Summary` in [`subscriptions`] and in
//! `subscription/view.rs`, a dead letter at `LetterView`.
//!
//! Names of fields are stable: units last (`_ms`, `_bytes`), offsets and counts as whole numbers. A position is `latest`,
//! `earliest`, `offset:N` or `time:MS`. Refusals look as [`error`] says.
//!
//! **Invariant:** nothing here is on the path of a message; figures are asked of their owners when somebody looks.

mod connections;
mod damaged_records;
mod dead_letters;
mod error;
mod extract;
mod health;
mod metrics;
mod policy;
mod same_site;
mod subscriptions;

pub(crate) use connections::serve;
pub(crate) use dead_letters::DeadLetters;

use crate::node::Node;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
    middleware,
    routing::{get, post},
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
        .route("/metrics", get(metrics::scrape))
        .nest("/api/v1", api())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(node);
    if listening.ip().is_loopback() { routes.layer(middleware::from_fn(same_site::check)) } else { routes }
}

fn api() -> Router<Shared> {
    let subscription = Router::new()
        .route("/", get(subscriptions::describe).put(subscriptions::create).delete(subscriptions::delete))
        .route("/keys", get(subscriptions::keys))
        .route("/key", get(subscriptions::key))
        .route("/seek", post(subscriptions::seek))
        .route("/release", post(subscriptions::release))
        .route("/policy", get(policy::get).patch(policy::change));
    Router::new()
        .route("/subscriptions", get(subscriptions::list))
        .nest("/topics/{topic}/subscriptions/{name}", subscription)
        .route("/damaged-records", get(damaged_records::list))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{topic}", get(dead_letters::show))
        .route("/dead-letters/{topic}/replay", post(dead_letters::replay))
        .route("/dead-letters/{topic}/purge", post(dead_letters::purge))
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath { path: uri.path().to_owned() }
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::NoSuchMethod { method, path: uri.path().to_owned() }
}
