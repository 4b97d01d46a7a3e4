//! Who watches a log from outside: what producers were told, what a reader found, and whether a log that keeps its
//! promises could have shown both.

mod account;
mod judge;
mod librdkafka;
mod producer;

pub(crate) use account::{Account, Kind, Told};
pub(crate) use judge::{Found, Verdict, judge};
pub(crate) use librdkafka::LibrdkafkaProducer;
pub(crate) use producer::{Producer, Settings};
