//! Runs a broker whose log is memory until Ctrl-C: for trying clients by hand.
//!
//! `cargo run -p keyway-broker --example serve -- 127.0.0.1:9092 127.0.0.1:6650 127.0.0.1:8080`

use keyway_broker::{Broker, Config, KafkaListener};
use keyway_log::MemoryStore;
use keyway_runtime::World;
use std::{net::SocketAddr, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let mut config = Config::default();
    let mut addresses = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    if let Some(kafka) = addresses.next().transpose()? {
        config.kafka = vec![KafkaListener::plaintext(kafka)];
    }
    config.grpc = addresses.next().transpose()?.unwrap_or(config.grpc);
    config.http = addresses.next().transpose()?.unwrap_or(config.http);
    let broker = Broker::start(config, World::real(), Arc::new(MemoryStore::new())).await?;
    let (kafka, grpc, http) = (broker.kafka_address(), broker.grpc_address(), broker.http_address());
    println!("Kafka on {kafka}, gRPC on {grpc}, HTTP on {http}");
    tokio::signal::ctrl_c().await?;
    Ok(broker.shutdown().await?)
}
