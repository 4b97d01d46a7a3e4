//! The HTTP port as scrapers, scripts and strangers see it.

mod broker;
mod connections;
mod dead_letters;
mod kafka;
mod metrics;
mod rules;
mod subscriptions;
