//! `/metrics` in OpenMetrics text, as Prometheus scrapes it. Everything is asked for at the scrape; nothing is counted
//! for it that is not counted anyway.

mod broker;
mod page;
mod subscriptions;

use super::{Shared, subscriptions::describe_all};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use page::Page;
use prometheus_client::{encoding::text, registry::Registry};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn scrape(State(node): State<Shared>) -> Response {
    let mut page = Page::default();
    broker::add(&node, &mut page);
    subscriptions::add(&describe_all(&node).await, &mut page);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a String takes all text");
    ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}
