//! How many may come, how fast, and for how long they may say nothing. What each limit is for, and what a client sees of
//! it: `docs/limits.md`.

mod addresses;
mod idle;
mod opening;
mod places;
mod request_memory;
mod seldom;

pub(crate) use addresses::AddressLimits;
pub(crate) use idle::Idle;
pub(crate) use opening::Opening;
pub(crate) use places::{Place, Places};
pub(crate) use request_memory::{Held, NoRoom, RequestMemory, UNCOUNTED_BYTES};
pub(crate) use seldom::Seldom;

/// How long a client may take none of the bytes that it asked for. One that never reads would hold its answer for ever.
pub(crate) const WRITE_STALL_MAX_MS: u64 = 60_000;

/// How long each step of a login may take to come, as long as a TLS handshake: a client that begins and does not go on holds a
/// place for a connection. A login has five steps at the most.
pub(crate) const LOGIN_STALL_MAX_MS: u64 = 10_000;
