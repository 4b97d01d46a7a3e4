//! Who a client is, what it may do, and how much of it, as pure functions and state machines.
//!
//! Kafka's model: a [`Principal`] wants to do an [`Operation`] on a [`Resource`].

pub mod acl;
mod operation;
mod principal;
pub mod quota;
mod resource;

pub use operation::Operation;
pub use principal::{Principal, PrincipalError};
pub use resource::{Resource, ResourceType};
