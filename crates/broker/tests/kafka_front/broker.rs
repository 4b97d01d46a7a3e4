//! A broker in this process.

use keyway_broker::{Broker, Config, KafkaListener, SecurityProtocol};
use keyway_log::{LogStore, MemoryStore};
use keyway_runtime::World;
use std::{net::SocketAddr, ops::Deref, sync::Arc};

use crate::client::Client;

/// A broker on free ports.
pub(crate) struct TestBroker(Broker);

impl TestBroker {
    /// One whose log is memory.
    pub(crate) async fn start() -> Self {
        Self::on(Arc::new(MemoryStore::new()), Config::default()).await
    }

    pub(crate) async fn on(store: Arc<dyn LogStore>, config: Config) -> Self {
        Self::in_world(World::real(), store, config).await
    }

    pub(crate) async fn in_world(world: World, store: Arc<dyn LogStore>, config: Config) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let plaintext = KafkaListener::plaintext(any);
        let secured = config.kafka.into_iter().filter(|one| one.protocol != SecurityProtocol::Plaintext);
        let config = Config {
            kafka: std::iter::once(plaintext).chain(secured).collect(),
            grpc: any,
            danube_admin: any,
            http: any,
            ..config
        };
        Self(Broker::start(config, world, store).await.expect("a broker on free ports"))
    }

    /// Where the listener of this name is.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.0.kafka_listeners().find(|(other, _)| *other == name).expect("a listener of this name").1
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.0.kafka_address()).await
    }

    /// Address for clients of others.
    pub(crate) fn bootstrap(&self) -> String {
        self.0.kafka_address().to_string()
    }

    pub(crate) async fn shutdown(self) {
        self.0.shutdown().await.expect("a clean shutdown");
    }
}

impl Deref for TestBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.0
    }
}
