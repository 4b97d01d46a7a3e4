//! Sockets to partitions: the Kafka and Danube fronts over one log store.
//!
//! [`Broker::start`] recovers what the store keeps, listens, and serves until [`Broker::shutdown`].

mod access;
mod admin;
mod cluster_id;
mod config;
mod connection;
mod danube;
mod fronts;
mod groups;
mod incoming;
mod internal_topic;
mod kafka;
mod limits;
mod listener;
mod listeners;
mod log_levels;
mod logins;
mod namespaces;
mod node;
mod partition;
mod producer_ids;
mod quotas;
mod sasl;
mod schemas;
mod settings;
mod stored;
mod subscription;
mod tls;
mod tokens;
mod topics;
mod traffic;
mod transactions;
mod users;
mod validate;

pub use access::{AuditSink, OfflineRules, OfflineRulesError};
pub use config::{Config, KafkaListener};
pub use keyway_access::SecurityProtocol;
pub use listeners::check_listener;
pub use log_levels::{LogFilter, LogLevels, ROOT as ROOT_LOG_LEVEL};
pub use node::{ShutdownError, StartError};
pub use sasl::SaslError;
pub use settings::{AuthorizerSettings, BrokerSetting, SettingError, check_settings, is_setting};
pub use tls::{PemError, ShownCertificate, TlsError, shown_certificate};
pub use tokens::{FetcherError, KeyError, KeySetError, SourceError, TokenSettingsError};
pub use users::{OfflineUsers, OfflineUsersError};

use keyway_log::LogStore;
use keyway_runtime::World;
use listeners::Listening;
use node::Node;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a shutdown waits for requests in flight before it goes on without them.
const DRAIN_MS: u64 = 5_000;

/// A running broker.
pub struct Broker {
    node: Arc<Node>,
    grpc_address: SocketAddr,
    danube_admin_address: SocketAddr,
    http_address: SocketAddr,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Recovers topics, groups and subscriptions from `store`, then listens on all ports. Needs a tokio runtime.
    pub async fn start(config: Config, world: World, store: Arc<dyn LogStore>) -> Result<Self, StartError> {
        let mut kafka = Vec::with_capacity(config.kafka.len());
        for listener in &config.kafka {
            kafka.push(listener::bind(&world, "Kafka", "--kafka or listeners", listener.address)?);
        }
        let grpc = listener::bind(&world, "gRPC", "--grpc", config.grpc)?;
        let admin = listener::bind(&world, "Danube's administration", "--danube-admin", config.danube_admin)?;
        let danube_admin_address = admin.address();
        let http = listener::bind(&world, "HTTP", "--http", config.http)?;
        let grpc_address = grpc.address();
        let http_address = http.address();
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        let of_kafka = config.kafka.iter().cloned().zip(kafka.iter().map(|listener| listener.address()));
        let listening = Listening {
            kafka: of_kafka.collect(),
            grpc: grpc_address,
            danube_admin: danube_admin_address,
            http: http_address,
        };
        let node = Node::recover(config, listening, world, store, stopping.clone(), tasks.clone()).await?;
        let watching = node.clone();
        tasks.spawn(async move { watching.groups.watch(&watching).await });
        let watching = node.clone();
        tasks.spawn(async move { watching.transactions.watch(&watching).await });
        for (endpoint, listener) in node.listeners.kafka().zip(kafka) {
            tasks.spawn(listener::serve_kafka(node.clone(), endpoint.clone(), listener));
        }
        tasks.spawn(tls::watch(node.clone()));
        tasks.spawn(access::watch_audit(node.clone()));
        tasks.spawn(tokens::watch(node.clone()));
        tasks.spawn(node.fronts.track_future(danube::serve(node.clone(), grpc)));
        tasks.spawn(danube::admin::serve(node.clone(), admin, grpc_address));
        tasks.spawn(admin::serve(node.clone(), http));
        Ok(Self { node, grpc_address, danube_admin_address, http_address, stopping, tasks })
    }

    /// Where the Kafka protocol is served, by the first listener.
    #[must_use]
    pub fn kafka_address(&self) -> SocketAddr {
        let first = self.node.listeners.kafka().next();
        first.expect("a broker has a listener").address
    }

    /// Every listener of the Kafka protocol: its name, and where it listens.
    pub fn kafka_listeners(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.node.listeners.kafka().map(|listener| (listener.name.as_str(), listener.address))
    }

    /// Where the Danube protocol is served.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where Danube's administration is served.
    #[must_use]
    pub fn danube_admin_address(&self) -> SocketAddr {
        self.danube_admin_address
    }

    /// Where health, metrics and administration are served.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Stops accepting, lets requests in flight finish for at most 5 s, then makes everything durable.
    pub async fn shutdown(self) -> Result<(), ShutdownError> {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_millis(DRAIN_MS), self.tasks.wait()).await.is_err() {
            tracing::warn!("requests still in flight after {DRAIN_MS} ms are given up");
        }
        let store = self.node.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(|_| ShutdownError::Panicked)?.map_err(ShutdownError::Store)
    }
}
