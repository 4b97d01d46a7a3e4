//! Who a client is, what it may do, and how much of it, as pure functions and state machines.
//!
//! Kafka's model: a [`Principal`] wants to do an [`Operation`] on a [`Resource`].

pub mod acl;
mod jaas;
mod oauthbearer;
mod operation;
mod principal;
mod principal_mapping;
pub mod quota;
mod resource;
mod sasl_plain;
mod scram;
mod security_protocol;

pub use jaas::{Jaas, JaasError};
pub use oauthbearer::{BearerError, BearerLogin, bearer_refusal, is_bearer_end};
pub use operation::{Operation, UnknownOperation};
pub use principal::{Principal, PrincipalError};
pub use principal_mapping::{MappingError, PrincipalMapping};
pub use resource::{Resource, ResourceType};
pub use sasl_plain::{PlainError, PlainLogin};
pub use scram::{ClientFirst, ITERATIONS_MAX, ScramCredential, ScramError, ScramExchange, ScramMechanism};
pub use security_protocol::{SecurityProtocol, UnknownProtocol};
