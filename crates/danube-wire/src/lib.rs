//! Danube protobuf messages and names, and their mapping to records.
//!
//! [`proto`] is the wire as it is; [`TopicRef`] turns Danube's topic names into Kafka's and back; [`message`] turns
//! messages into records and back. No I/O.

pub mod message;
mod name;

pub use name::{KafkaNameError, TopicRef, TopicRefError};

/// The messages and services of package `danube`, generated from `proto/danube.proto`.
pub mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("danube");
}
