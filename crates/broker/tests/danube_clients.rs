//! The published Danube client, and calls by hand, against a broker in this process.

#[path = "kafka_front/certificates.rs"]
mod certificates;
#[path = "danube/support.rs"]
mod support;

#[path = "danube/admin.rs"]
mod admin;
#[path = "danube/bad_input.rs"]
mod bad_input;
#[path = "danube/key_shared.rs"]
mod key_shared;
#[path = "danube/limits.rs"]
mod limits;
#[path = "danube/membership.rs"]
mod membership;
#[path = "danube/other_types.rs"]
mod other_types;
#[path = "danube/restart.rs"]
mod restart;
#[path = "danube/rules.rs"]
mod rules;
#[path = "danube/schemas.rs"]
mod schemas;
#[path = "danube/secure.rs"]
mod secure;
#[path = "danube/throttling.rs"]
mod throttling;
#[path = "danube/topics.rs"]
mod topics;
#[path = "danube/two_protocols.rs"]
mod two_protocols;
