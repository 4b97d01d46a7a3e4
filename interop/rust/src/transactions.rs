//! Transactions: records are copied from topic to topic with the offsets they had, once in vain, then for good.

use anyhow::ensure;

use crate::ledger::fill;
use crate::{Client, Codec, End, Member, Transactor};

/// Runs the story, and says what was seen.
pub async fn transactions<C: Client>(client: &C, source: &str, target: &str) -> anyhow::Result<String> {
    client.create_topic(source).await?;
    client.create_topic(target).await?;
    client.produce(source, 0..60, Codec::Gzip).await?;
    let mut fenced = client.transactor("copier").await?;
    let mut transactor = client.transactor("copier").await?;

    // The first is fenced by the second, which has the same id.
    let mut member = client.join("copiers", source).await?;
    let numbers = fill(&mut member, 0..60).await?;
    let said = fenced.transact(target, &numbers, &mut member, End::Commit).await;
    ensure!(said.is_err(), "a fenced producer has committed a transaction");
    member.leave().await?;

    // In vain: the offsets are not committed, so another member reads the same again.
    copy(client, &mut transactor, source, target, End::Abort).await?;
    copy(client, &mut transactor, source, target, End::Commit).await?;

    // For good: nothing is left for the group, and the target has everything once.
    client.produce(source, 60..70, Codec::Lz4).await?;
    let mut left = client.join("copiers", source).await?;
    fill(&mut left, 60..70).await?;
    left.leave().await?;
    let mut reader = client.join("readers", target).await?;
    fill(&mut reader, 0..60).await?;
    reader.leave().await?;
    Ok("60 records copied in transactions, one fenced, one aborted, one committed, and seen once".to_string())
}

async fn copy<C: Client>(
    client: &C,
    transactor: &mut C::Transactor,
    source: &str,
    target: &str,
    end: End,
) -> anyhow::Result<()> {
    let mut member = client.join("copiers", source).await?;
    let numbers = fill(&mut member, 0..60).await?;
    transactor.transact(target, &numbers, &mut member, end).await?;
    member.leave().await
}
