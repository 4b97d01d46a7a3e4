//! krafka, written in Rust alone, under both group protocols.

use anyhow::Context;
use rust_clients::Krafka;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::var("KAFKA")?;
    let (classic, consumer) = (Krafka::classic(&address), Krafka::consumer(&address));
    let first = rust_clients::group(&classic, "classic").await.context("classic")?;
    println!("{first}");
    let second = rust_clients::group(&consumer, "consumer").await.context("consumer")?;
    println!("{second}");
    rust_clients::unannounced(&consumer, "unannounced").await?;
    let copied = rust_clients::transactions(&consumer, "originals", "copies").await?;
    println!("classic: {first}; consumer: {second}; {copied}");
    Ok(())
}
