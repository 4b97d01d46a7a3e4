//! How much a client may do: Kafka's client quotas.
//!
//! [`Limits`] says which quota a client has, [`Usage`] counts what it used and how long it is to wait.

mod entity;
mod kind;
mod limits;
mod rate;
mod tokens;
mod usage;

pub use entity::{Entity, EntityError, Name};
pub use kind::{QuotaKind, ValueError};
pub use limits::{Limit, Limits};
pub use usage::{Client, Usage, Windows};
