//! How many may come, how fast, and for how long they may say nothing. What each limit is for, and what a client sees of
//! it: `docs/limits.md`.

mod addresses;
mod idle;
mod places;

pub(crate) use addresses::AddressLimits;
pub(crate) use idle::Idle;
pub(crate) use places::{Place, Places};

use std::time::Duration;

/// How long a client may take none of the bytes that it asked for. One that never reads would hold its answer for ever.
pub(crate) const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
