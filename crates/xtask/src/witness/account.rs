//! One producer's memory: what it may have sent, and what it was told is stored.

use std::sync::{Arc, Mutex};

/// What a producer's retries may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A repeated batch is stored once.
    Idempotent,
    /// A batch that was not answered is sent again and may then be stored twice, but nothing is stored before what
    /// precedes it.
    Plain,
}

/// Where the broker said a record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) partition: i32,
    /// None if the answer did not say: a duplicate whose first offset the broker has forgotten.
    pub(crate) offset: Option<i64>,
}

/// A producer numbers its records from 0 and sends them in that order to one partition.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Longest filler behind a record's number, bytes.
    filler_max: u64,
    /// Numbers below this may have reached the broker.
    pub(crate) sent: u64,
    pub(crate) told: Vec<Told>,
}

/// A producer writes it while it runs, the judge reads it.
pub(super) type SharedAccount = Arc<Mutex<Account>>;

impl Account {
    pub(crate) fn new(name: &str, kind: Kind, filler_max: u64) -> Self {
        Self { name: name.to_string(), kind, filler_max, sent: 0, told: Vec::new() }
    }

    pub(super) fn shared(self) -> SharedAccount {
        Arc::new(Mutex::new(self))
    }

    /// The whole value of a record, so that a foreign byte anywhere in it is seen.
    pub(crate) fn value(&self, number: u64) -> Vec<u8> {
        let mut value = format!("{}:{number}", self.name).into_bytes();
        if self.filler_max > 0 {
            value.push(b':');
            let length = number.wrapping_mul(7_919) % self.filler_max;
            value.extend((0..length).map(|place| b'a' + ((number + place) % 26) as u8));
        }
        value
    }
}

/// The producer and the number that a value names.
pub(super) fn named(value: &[u8]) -> Option<(&str, u64)> {
    let mut parts = std::str::from_utf8(value).ok()?.split(':');
    Some((parts.next()?, parts.next()?.parse().ok()?))
}
