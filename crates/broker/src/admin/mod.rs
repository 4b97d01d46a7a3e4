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
mod permits;
mod policy;
mod same_site;
mod subscriptions;

pub(crate) use connections::serve;
pub(crate) use dead_letters::DeadLetters;
pub(crate) use policy::set_audited;

use crate::{fronts::Peer, node::Node};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use error::ApiError;
use keyway_access::Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read};
use permits::{Need, Routes};
use std::{net::SocketAddr, sync::Arc};

/// Largest body of a request, bytes; the longest one carries a key.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Paths that those who watch over processes ask for without a login. They tell nothing else.
const WITHOUT_LOGIN: [&str; 2] = ["/healthz", "/readyz"];

/// What all handlers share.
type Shared = Arc<Node>;

/// Says beside every request whom it comes from, and refuses those that have to prove it and do not.
async fn identify(State(node): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Arc<Peer>>().expect("every connection has a peer").clone();
    let proof = match WITHOUT_LOGIN.contains(&request.uri().path()) {
        true => Ok(None),
        false => peer.proof(&node, request.headers()).await,
    };
    let caller = match proof {
        Ok(None) => peer.caller().clone(),
        Ok(Some(proof)) => proof.caller().clone(),
        Err(refused) => return ApiError::from(refused).into_response(),
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

pub(crate) fn router(node: Arc<Node>, listening: SocketAddr) -> Router {
    let routes = routes(node.clone())
        .into_router()
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(node.clone(), identify))
        .with_state(node);
    if listening.ip().is_loopback() { routes.layer(middleware::from_fn(same_site::check)) } else { routes }
}

/// Every route, for tests that leave out none.
#[cfg(test)]
pub(crate) fn listed(node: Arc<Node>) -> Vec<(Method, String)> {
    routes(node).listed
}

/// Whoever asks about messages of a subscription could have read them as its worker.
const WORKER: &[Need] = &[Need::Topic(Read), Need::Group(Read)];

fn routes(node: Shared) -> Routes {
    let of_all = &[Need::Cluster(Describe)];
    let subscription = "/api/v1/topics/{topic}/subscriptions/{name}";
    let below = |rest: &str| format!("{subscription}{rest}");
    Routes::new(node)
        .route(Method::GET, "/healthz", &[], health::healthz)
        .route(Method::GET, "/readyz", &[], health::readyz)
        .route(Method::GET, "/metrics", of_all, metrics::scrape)
        .route(Method::GET, "/api/v1/subscriptions", of_all, subscriptions::list)
        .route(
            Method::GET,
            subscription,
            &[Need::Topic(Describe), Need::Group(Describe)],
            subscriptions::describe,
        )
        .route(Method::PUT, subscription, WORKER, subscriptions::create)
        .route(
            Method::DELETE,
            subscription,
            &[Need::Topic(Describe), Need::Group(Delete)],
            subscriptions::delete,
        )
        .route(Method::GET, &below("/keys"), WORKER, subscriptions::keys)
        .route(Method::GET, &below("/key"), WORKER, subscriptions::key)
        .route(Method::POST, &below("/seek"), WORKER, subscriptions::seek)
        .route(Method::POST, &below("/release"), WORKER, subscriptions::release)
        .route(
            Method::GET,
            &below("/policy"),
            &[Need::Topic(Describe), Need::Group(DescribeConfigs)],
            policy::get,
        )
        .route(
            Method::PATCH,
            &below("/policy"),
            &[Need::Topic(Describe), Need::Group(AlterConfigs)],
            policy::change,
        )
        .route(Method::GET, "/api/v1/damaged-records", of_all, damaged_records::list)
        .route(Method::GET, "/api/v1/dead-letters", of_all, dead_letters::list)
        .route(Method::GET, "/api/v1/dead-letters/{topic}", &[Need::Topic(Read)], dead_letters::show)
        // Letters go to topics that they name themselves.
        .route(
            Method::POST,
            "/api/v1/dead-letters/{topic}/replay",
            &[Need::Topic(Read), Need::Topic(Delete), Need::Cluster(Alter)],
            dead_letters::replay,
        )
        .route(
            Method::POST,
            "/api/v1/dead-letters/{topic}/purge",
            &[Need::Topic(Read), Need::Topic(Delete)],
            dead_letters::purge,
        )
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath { path: uri.path().to_owned() }
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::NoSuchMethod { method, path: uri.path().to_owned() }
}
