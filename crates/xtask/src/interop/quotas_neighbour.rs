//! A producer that sends on whatever it is told, held back by its quota, and what its neighbour notices.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::stage::Stage;
use crate::kafka_client::{Acks, Connection, error_code};
use crate::neighbour::{self, Bound, Turn, Turns};
use crate::produce_bytes::{batch, record};

/// Bytes a second.
const RATE: f64 = 1_000_000.0;
/// Ten seconds' worth pass at once: the rate counts over 11 windows of 1 s.
const BURST: f64 = 10.0 * RATE;
const VALUE_BYTES: usize = 50_000;
const TOPIC: &str = "greedy";
const TIME: Duration = Duration::from_secs(18);
const WITHIN: f64 = 0.1;
/// Batches that are on their way at a time.
const IN_FLIGHT: usize = 5;

/// Sends for [`TIME`] whenever it is its turn, and says how much was taken.
async fn greedy(mut connection: Connection, mut turn: Turn) -> anyhow::Result<f64> {
    let batch = batch(0, 1, &record(&[b'g'; VALUE_BYTES]));
    let until = Instant::now() + TIME;
    let (mut taken, mut in_flight) = (0.0, 0);
    while Instant::now() < until {
        if in_flight < IN_FLIGHT {
            turn.come().await;
            connection.send_batch(TOPIC, 0, Acks::All, &batch).await?;
            in_flight += 1;
            continue;
        }
        let error = connection.produced().await?.error_code;
        ensure!(error == error_code::NONE, "it is refused with error {error}");
        in_flight -= 1;
        taken += batch.len() as f64;
    }
    Ok(taken)
}

/// The neighbour alone and beside it, by turns.
pub(crate) async fn neighbour(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let address = stage.broker.kafka();
    neighbour::move_in(address).await?;
    let mut connection = Connection::open(address).await?.called("greedy");
    connection.create_topic(TOPIC, 1).await?;
    connection.set_quota("greedy", "producer_byte_rate", RATE).await?;
    let batch = batch(0, 1, &record(&[b'g'; VALUE_BYTES]));
    // What may pass at once is spent before the neighbour is looked at.
    let mut spent = 0.0;
    while spent <= BURST {
        let error = connection.produce(TOPIC, 0, Acks::All, &batch).await?;
        ensure!(error == error_code::NONE, "it is refused with error {error}");
        spent += batch.len() as f64;
    }
    let (turns, turn) = Turns::new();
    let begun = Instant::now();
    let (taken, compared) = neighbour::beside(address, &turns, greedy(connection, turn)).await?;
    let elapsed_s = begun.elapsed().as_secs_f64();
    let most = (elapsed_s * RATE + BURST) * (1.0 + WITHIN);
    ensure!(spent + taken <= most, "{:.0} bytes in {elapsed_s:.1} s; {most:.0} may pass", spent + taken);
    compared.check(Bound::Going)?;
    let rate = taken / elapsed_s / 1e3;
    Ok(format!("{rate:.0} kB/s of {:.0} in its turns behind the burst; {compared}", RATE / 1e3))
}
