//! What all connections share: one broker's state behind one handle.

use crate::{
    access::{Access, AuditLog},
    admin::DeadLetters,
    cluster_id::ClusterId,
    config::{Config, KafkaListener},
    groups::Groups,
    internal_topic::InternalTopicError,
    limits::{Places, RequestMemory},
    listeners::{Listeners, Listening},
    log_levels::Loggers,
    namespaces::Namespaces,
    partition::Partition,
    producer_ids::ProducerIdSource,
    quotas::Quotas,
    sasl::SaslError,
    schemas::Schemas,
    settings::{Configs, RecoverError, SettingError, Settings},
    subscription::Subscriptions,
    tls::TlsError,
    topics::{Topic, TopicError, Topics},
    traffic::Traffic,
    transactions::Transactions,
    users::Users,
};
use keyway_access::UnknownProtocol;
use keyway_log::{AppendError, Appended, LogStore, StoreError};
use keyway_record::RecordBatch;
use keyway_runtime::World;
use std::{io, net::SocketAddr, sync::Arc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The number under which this broker appears in Kafka's metadata.
pub(crate) const NODE_ID: i32 = 1;

/// One broker's state.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) store: Arc<dyn LogStore>,
    /// Kafka's settings of the broker and of groups.
    pub(crate) settings: Arc<Settings>,
    /// What the process logs, if that can be changed.
    pub(crate) loggers: Option<Loggers>,
    /// Who did what, or was not let do it.
    pub(crate) audit: Arc<AuditLog>,
    /// Who may do what.
    pub(crate) access: Access,
    /// How much of it.
    pub(crate) quotas: Quotas,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) producer_ids: ProducerIdSource,
    pub(crate) transactions: Transactions,
    pub(crate) cluster_id: ClusterId,
    pub(crate) namespaces: Namespaces,
    pub(crate) schemas: Schemas,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) traffic: Traffic,
    /// Who can log in.
    pub(crate) users: Users,
    /// Where clients are served.
    pub(crate) listeners: Listeners,
    /// Places for connections, of all listeners that clients use.
    pub(crate) client_places: Arc<Places>,
    /// Bytes of requests that may be held in memory.
    pub(crate) request_memory: RequestMemory,
    /// Cancelled when the broker stops.
    pub(crate) stopping: CancellationToken,
    /// Tasks that a shutdown waits for.
    pub(crate) tasks: TaskTracker,
    /// Those of them from which answers to deliveries come.
    pub(crate) fronts: TaskTracker,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be listened on.
    #[error("cannot listen on {address} for {protocol}: {cause}; {next_step}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Which protocol was to be served there.
        protocol: &'static str,
        /// What the operating system said.
        cause: io::Error,
        /// What to do about it.
        next_step: String,
    },
    /// A setting is not one, or contradicts another.
    #[error("cannot start with these settings: {0}")]
    Settings(SettingError),
    /// A listener's TLS cannot be served.
    #[error("the listener {listener} cannot have TLS: {cause}")]
    Tls {
        /// The listener.
        listener: String,
        /// What is wrong.
        cause: TlsError,
    },
    /// Clients cannot log in to a listener.
    #[error("clients cannot log in to the listener {listener}: {cause}")]
    Sasl {
        /// The listener.
        listener: String,
        /// What is wrong.
        cause: SaslError,
    },
    /// What is to be done first on a port is not known.
    #[error("listener.security.protocol.map has {listener}: {cause}")]
    Protocol {
        /// The port's name.
        listener: String,
        /// What is wrong.
        cause: UnknownProtocol,
    },
    /// A listener has the name of another port.
    #[error("{listener} is the name of another port; call the listener for Kafka clients otherwise")]
    NameTaken {
        /// The name.
        listener: String,
    },
    /// There is nowhere to serve Kafka clients.
    #[error("there is no listener for Kafka clients; add one to listeners")]
    NoListener,
    /// The broker's own records in the store cannot be read.
    #[error("cannot recover the broker's state: {0}")]
    Recover(#[from] InternalTopicError),
}

/// Why a shutdown was not clean. What was acknowledged is safe all the same.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// The store could not be closed.
    #[error("cannot close the log: {0}")]
    Store(#[source] StoreError),
    /// The thread that closed the store panicked.
    #[error("closing the log panicked")]
    Panicked,
}

impl Node {
    pub(crate) async fn recover(
        config: Config,
        listening: Listening,
        world: World,
        store: Arc<dyn LogStore>,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<Arc<Self>, StartError> {
        let producer_ids = ProducerIdSource::recover(&world, &store)?;
        if listening.kafka.is_empty() {
            return Err(StartError::NoListener);
        }
        let start = started_with(&config, &listening.kafka);
        let settings = Settings::recover(start, producer_ids.records()).map_err(|error| match error {
            RecoverError::Setting(error) => StartError::Settings(error),
            RecoverError::Record(error) => StartError::Recover(error),
        })?;
        let settings = Arc::new(settings);
        let quotas = Quotas::recover(&settings.now(), &world.clock, producer_ids.records())?;
        let listeners = Listeners::new(&listening, &settings.now().layers, config.plain_without_tls)?;
        let users = Users::recover(&world, producer_ids.records())?;
        let topics = Topics::recover(&settings, config.partitions_per_topic_max, &world, &store)?;
        let groups = Groups::recover(&settings, &world, &store)?;
        let transactions = Transactions::recover(&world, &store)?;
        let is_secured = settings.now().authorizer.is_some() || listeners.is_any_secured();
        let audit = AuditLog::new(config.audit.clone(), is_secured, &world);
        let access = Access::recover(settings.now().authorizer.as_ref(), &audit, producer_ids.records())?;
        let cluster_id = ClusterId::recover(&world, producer_ids.records());
        let namespaces = Namespaces::recover(producer_ids.records())?;
        let schemas = Schemas::recover(&world, &store, &topics)?;
        let subscriptions = Subscriptions::recover(config.subscription_bytes_max, &world, &store)?;
        let traffic = Traffic::new(world.clock.now());
        let dead_letters = DeadLetters::recover(&world, &store, &topics)?;
        let client_places = Places::of_clients(&settings);
        let request_memory = RequestMemory::new(settings.now().request_bytes_in_flight_max);
        let loggers = config.log_filter.clone().map(Loggers::new);
        let node = Arc::new(Self {
            config,
            world,
            store,
            settings,
            loggers,
            audit,
            access,
            quotas,
            topics,
            groups,
            producer_ids,
            transactions,
            cluster_id,
            namespaces,
            schemas,
            subscriptions,
            dead_letters,
            traffic,
            users,
            listeners,
            client_places,
            request_memory,
            stopping,
            tasks,
            fronts: TaskTracker::new(),
        });
        node.subscriptions.resume(&node).await?;
        Ok(node)
    }

    /// Deletes a topic with all that is kept for it; durable when this returns.
    pub(crate) async fn delete_topic(self: &Arc<Self>, topic: &Topic) -> Result<(), TopicError> {
        self.topics.delete(&topic.name).await?;
        self.groups.topic_deleted(self, &topic.name).await;
        if let Err(error) = self.schemas.forget_topic(topic.id).await {
            tracing::warn!(topic = %topic.name, %error, "cannot forget the schema of a deleted topic");
        }
        Ok(())
    }

    /// Appends `batch`, waiting while the log's staging memory is full. Returns before the batch is safe.
    pub(crate) async fn append(
        &self,
        partition: &Partition,
        batch: &RecordBatch,
    ) -> Result<Appended, AppendError> {
        append(&self.store, partition, batch).await
    }
}

/// Kafka's settings as this broker was started with them, what it is itself included.
fn started_with(config: &Config, kafka: &[(KafkaListener, SocketAddr)]) -> Configs {
    let mut settings = config.settings.clone();
    let joined = |of: &dyn Fn(&KafkaListener, SocketAddr) -> String| {
        kafka.iter().map(|(listener, address)| of(listener, *address)).collect::<Vec<_>>().join(",")
    };
    let advertised = joined(&|listener, address| match &listener.advertised {
        Some((host, port)) if host.contains(':') => format!("{}://[{host}]:{port}", listener.name),
        Some((host, port)) => format!("{}://{host}:{port}", listener.name),
        None => format!("{}://{address}", listener.name),
    });
    for (name, value) in [
        ("advertised.listeners", advertised),
        ("broker.id", NODE_ID.to_string()),
        ("listeners", joined(&|listener, address| format!("{}://{address}", listener.name))),
        ("node.id", NODE_ID.to_string()),
        ("process.roles", "broker,controller".to_owned()),
    ] {
        settings.insert(name.to_owned(), value);
    }
    settings
}

/// [`Node::append`], for those who have no node yet.
pub(crate) async fn append(
    store: &Arc<dyn LogStore>,
    partition: &Partition,
    batch: &RecordBatch,
) -> Result<Appended, AppendError> {
    loop {
        match partition.append(batch) {
            Err(AppendError::Full) => store.room().await,
            done => return done,
        }
    }
}
