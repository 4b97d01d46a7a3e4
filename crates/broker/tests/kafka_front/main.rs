//! The Kafka front as its clients see it: a broker in this process, raw frames and a foreign client.

mod admin;
mod bad_input;
mod broker;
mod broker_configs;
mod certificates;
mod client;
mod consumer_groups;
mod epochs;
mod every_version;
mod fetching;
mod foreign;
mod groups;
mod limits;
mod panics;
mod producing;
mod quotas;
mod replication;
mod requests;
mod restart;
mod sasl;
mod secure_foreign;
mod tls;
mod topic_configs;
mod transactions;
