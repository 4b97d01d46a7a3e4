//! Key-Shared and the other subscription types as one pure state machine.
//!
//! One [`Dispatcher`] serves one (subscription, partition). It decides which consumer gets which offset when, and nothing
//! else: no clock, no I/O, no threads, no payloads. The owner feeds it [`Input`]s with the time and obeys its [`Output`]s:
//!
//! ```
//! use keyway_dispatch::{Arrival, Config, ConsumerId, Dispatcher, Input, Join, Millis, Mode, Output, OwnerEpoch};
//! use keyway_record::{KeyHash, Offset};
//!
//! let mut dispatcher = Dispatcher::new(Config::new(Mode::KeyShared), OwnerEpoch::FIRST);
//! let mut out = Vec::new();
//! let join = Join { consumer: ConsumerId(7), name_hash: 7, filters: vec![], credit: 64, in_flight_per_key: 1 };
//! dispatcher.step(Millis(0), Input::Join(join), &mut out);
//! assert!(matches!(out[..], [Output::Persist, Output::Fetch { from: Offset(0), .. }]));
//!
//! let arrival = |offset| Arrival { offset: Offset(offset), key: KeyHash::of(b"payment"), key_text: None, size: 10 };
//! let records = vec![arrival(0), arrival(1)];
//! out.clear();
//! dispatcher.step(Millis(1), Input::Records { base: Offset(0), end: Offset(2), records }, &mut out);
//! let [Output::Deliver { offset: Offset(0), token, .. }, Output::Fetch { .. }] = out[..] else { panic!("{out:?}") };
//!
//! // The key's second message waited for this.
//! out.clear();
//! dispatcher.step(Millis(2), Input::Ack { offset: Offset(0), token: Some(token) }, &mut out);
//! assert!(matches!(out[..], [Output::Deliver { offset: Offset(1), .. }, Output::CursorMoved(Offset(1))]));
//! ```
//!
//! A message's way: `intake` gives it a place (`live`) and appends it to its key's queue; the key at rest is linked to
//! its slot (`placement`), the slot to the ring of its consumer; `poll` turns rings into deliveries; `ack` completes the
//! head of a key and moves the cursor over the `window`; `failure` decides what a nack, an expired lease or a lost
//! consumer means.
//!
//! What else there is: `run` lets consumers that understand [`Output::Revoke`] hold several messages of a key; `spill`
//! leaves the later messages of a hot key in the log; `brake` keeps broken workers from using everything up; `seek` goes
//! on elsewhere.
//!
//! **Invariant:** a key's messages in flight are its oldest that are not done, at one consumer, and one unless that
//! consumer asked for more; done offsets of a key are its oldest, in memory and in every snapshot.
//! **Invariant:** a key is released by an ack, an expired lease or a lost consumer; never by retention or the cursor.
//! **Invariant:** after every step nothing can be dispatched, and whatever waits has a reason that wakes it.

mod ack;
mod ahead;
mod assignment;
mod brake;
mod check;
mod config;
mod consumer;
mod declarations;
mod dispatcher;
mod entry;
mod failure;
mod filter;
mod glob;
mod ids;
mod intake;
mod io;
mod key;
mod key_table;
mod key_view;
mod leases;
mod live;
mod membership;
mod mutant;
mod park;
mod placement;
mod poll;
mod queue;
mod rates;
mod run;
mod seek;
mod single;
mod slab;
mod snapshot;
mod spill;
mod stats;
mod window;

#[cfg(test)]
mod tests;

pub use config::{Backoff, Config, Disconnects, FailurePolicy, FloodBrake, Mode, Poison, Unmatched};
pub use dispatcher::Dispatcher;
pub use filter::FilterIndex;
pub use glob::glob_matches;
pub use ids::{ConsumerId, Millis, OwnerEpoch, Token};
pub use io::{Arrival, Cause, Input, Join, Output, Refusal};
pub use key_view::{KeyOrder, KeyView, Reason};
pub use snapshot::{Declaration, Retry, Snapshot, SnapshotError};
pub use stats::{Blocked, ByCause, ConsumerStats, Counters, Stats};
