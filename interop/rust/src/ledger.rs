//! What was received, and whether it is what was sent.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::{Member, PATIENCE, TURN};

/// One record as a client hands it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Where it was.
    pub partition: i32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its header `number`.
    pub header: Option<Vec<u8>>,
}

/// The key of a number's record.
pub fn key_of(number: u32) -> String {
    format!("key-{}", number % 10)
}

/// Numbers in the order in which they were received.
#[derive(Default, Debug)]
pub struct Ledger {
    numbers: Vec<(i32, u32)>,
}

impl Ledger {
    /// Notes a record, if it is whole.
    pub fn note(&mut self, record: Received) -> anyhow::Result<u32> {
        let value = record.value.context("a record without a value")?;
        let number = String::from_utf8(value.clone())?.parse()?;
        ensure!(
            record.key.as_deref() == Some(key_of(number).as_bytes()),
            "{number} has key {:?}",
            record.key
        );
        ensure!(
            record.header.as_deref() == Some(value.as_slice()),
            "{number} has header {:?}",
            record.header
        );
        self.numbers.push((record.partition, number));
        Ok(number)
    }

    /// How many were received.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether none was received.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Fails unless these were received, each once, every key in one partition and in order.
    pub fn expect(&self, sent: Range<u32>) -> anyhow::Result<()> {
        let mut numbers: Vec<u32> = self.numbers.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        ensure!(numbers.iter().copied().eq(sent.clone()), "{sent:?} were sent, received were {numbers:?}");
        for first in sent.take(10) {
            let of_key: Vec<_> =
                self.numbers.iter().filter(|(_, number)| number % 10 == first % 10).collect();
            let in_order = of_key.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1);
            ensure!(in_order, "{} (partition, number) came as {of_key:?}", key_of(first));
        }
        Ok(())
    }
}

/// Receives these and nothing else, and returns them in the order of their arrival.
pub async fn fill<M: Member>(member: &mut M, sent: Range<u32>) -> anyhow::Result<Vec<u32>> {
    let (mut ledger, mut numbers) = (Ledger::default(), Vec::new());
    let started = Instant::now();
    while numbers.len() < sent.len() {
        for record in member.receive(TURN).await? {
            numbers.push(ledger.note(record)?);
        }
        ensure!(started.elapsed() < PATIENCE, "only {} of {sent:?} after {PATIENCE:?}", numbers.len());
    }
    ledger.expect(sent)?;
    Ok(numbers)
}
