//! A consumer group: a second member joins, both leave, a third one goes on where they stopped.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::ensure;

use crate::ledger::fill;
use crate::{Client, Codec, Ledger, Member, PARTITIONS, PATIENCE, TURN};

/// Runs the story, and says what was seen.
pub async fn group<C: Client>(client: &C, topic: &str) -> anyhow::Result<String> {
    client.create_topic(topic).await?;
    client.produce(topic, 0..100, Codec::Gzip).await?;
    let mut first = client.join(topic, topic).await?;
    fill(&mut first, 0..100).await?;
    first.commit().await?;

    let mut second = client.join(topic, topic).await?;
    let mut ledger = Ledger::default();
    let joined = Instant::now();
    loop {
        both(&mut first, &mut second, &mut ledger).await?;
        let (mine, yours) = (first.partitions().await?, second.partitions().await?);
        if mine.len() == 2 && yours.len() == 2 {
            let all: BTreeSet<i32> = &mine | &yours;
            ensure!(all.into_iter().eq(0..PARTITIONS), "they hold {mine:?} and {yours:?}");
            break;
        }
        ensure!(joined.elapsed() < PATIENCE, "after {PATIENCE:?} they hold {mine:?} and {yours:?}");
    }
    let rebalance = joined.elapsed();
    ensure!(ledger.is_empty(), "what was committed came again: {ledger:?}");

    client.produce(topic, 100..200, Codec::Snappy).await?;
    let started = Instant::now();
    while ledger.len() < 100 {
        both(&mut first, &mut second, &mut ledger).await?;
        ensure!(started.elapsed() < PATIENCE, "only {} of 100 records", ledger.len());
    }
    ledger.expect(100..200)?;
    for mut member in [first, second] {
        member.commit().await?;
        member.leave().await?;
    }

    client.produce(topic, 200..250, Codec::Lz4).await?;
    let mut third = client.join(topic, topic).await?;
    fill(&mut third, 200..250).await?;
    third.commit().await?;
    third.leave().await?;
    Ok(format!("250 records over two members and a successor, shared after {:.1} s", rebalance.as_secs_f64()))
}

/// Produces to a topic that nobody has created, and reads it back.
pub async fn unannounced<C: Client>(client: &C, topic: &str) -> anyhow::Result<()> {
    client.produce(topic, 0..50, Codec::Gzip).await?;
    let mut member = client.join(topic, topic).await?;
    fill(&mut member, 0..50).await?;
    member.leave().await
}

/// Both at once: a member may have to wait for what the other does while it receives.
async fn both<M: Member>(first: &mut M, second: &mut M, ledger: &mut Ledger) -> anyhow::Result<()> {
    let (mine, yours) = tokio::join!(first.receive(TURN), second.receive(TURN));
    for record in mine?.into_iter().chain(yours?) {
        ledger.note(record)?;
    }
    Ok(())
}
