//! Every message in every version: against Kafka's own bytes, against random bytes, against broken ones.

mod by_hand;
mod checks;
mod clients;
mod facts;
mod golden;
mod mutations;
mod random;
mod roundtrip;
mod seeds;
