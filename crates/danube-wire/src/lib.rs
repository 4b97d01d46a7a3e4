//! Danube protobuf messages and names, and their mapping to records.
//!
//! [`proto`], [`schema`] and [`admin`] are the wire as it is; [`TopicRef`] turns Danube's topic names into Kafka's and back; [`message`] turns
//! messages into records and back. No I/O.

pub mod message;
mod name;

pub use name::{KafkaNameError, TopicRef, TopicRefError};

/// The messages and services of package `danube`, generated from `proto/danube.proto`.
pub mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("danube");
}

/// The messages and services of package `danube_schema`, generated from `proto/danube_schema.proto`.
pub mod schema {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("danube_schema");
}

/// The messages and services of package `danube_admin`, generated from `proto/danube_admin.proto`.
pub mod admin {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("danube_admin");
}
