//! HTTP connections: how many there may be, how long they last, and how long they may take.

use super::error::ApiError;
use crate::{limits::Places, listener::Port, node::Node, traffic::Connection};
use axum::{Router, body::Body, response::IntoResponse};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use keyway_runtime::Listener;
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tonic::transport::server::Connected;

/// Bytes of a request's head, and of what is read ahead of it.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long a request's head may take to arrive; also how long a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a request may take from its head to its answer, its body's arrival included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a connection may last. A client that reads no answers would otherwise hold one for ever.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);

/// How long a request under way may go on when its connection has to end.
const FINISH_TIME_MAX: Duration = Duration::from_secs(3);

/// Accepts until the broker stops; each connection is a task of its own.
pub(crate) async fn serve(node: Arc<Node>, listener: Arc<dyn Listener>) {
    let router = super::router(node.clone(), listener.address());
    let port = Port::new(
        &node,
        (listener, &node.listeners.http),
        "HTTP",
        node.traffic.http.clone(),
        Places::of_administrators(&node.settings),
    );
    loop {
        let Some(connection) = node.stopping.run_until_cancelled(port.accept()).await else { return };
        node.tasks.spawn(converse(node.clone(), router.clone(), connection));
    }
}

async fn converse(node: Arc<Node>, router: Router, stream: Connection) {
    let peer = stream.peer;
    let secured = node.stopping.run_until_cancelled(stream.secured(&node)).await.flatten();
    let Some(stream) = secured else { return };
    let info = stream.connect_info();
    let routes = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        let answer = tokio::time::timeout(REQUEST_TIME_MAX, routes.call(request.map(Body::new)));
        async {
            Ok::<_, Infallible>(match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => ApiError::TooSlow { seconds: REQUEST_TIME_MAX.as_secs() }.into_response(),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        () = node.stopping.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_TIME_MAX) => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(FINISH_TIME_MAX, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "an HTTP connection broke"),
        Err(_) => tracing::debug!(%peer, "an HTTP connection that did not end was closed"),
    }
}
