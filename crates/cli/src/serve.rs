//! `keyway serve`: the broker.

mod environment;
mod given;
mod indirection;
mod listeners;
mod node;
mod properties;

use crate::{
    audit_file::{AuditFile, ROTATION},
    failure::{Failure, note},
    log::Log,
    memory_limit::{Shares, give_memory_back},
    stop_signal::StopSignals,
};
use clap::Args;
use given::Given;
use keyway_broker::{AuditSink, Broker, BrokerSetting, Config, KafkaListener, check_listener};
use keyway_log::LogStore;
use keyway_runtime::World;
use keyway_segment_log::{DurableBy, OnDamage, Options, SegmentStore};
use listeners::Listeners;
pub(crate) use node::{Front, Node};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

const AFTER_HELP: &str = "\
What was acknowledged (Kafka acks=all, Danube reliable) is on disk: neither
kill -9 nor a power cut loses it, unless --durability os gives up the latter.
SIGTERM and Ctrl-C finish what is under way and stop within 10 s; a
second one stops at once.

Kafka's settings can come from a file like Kafka's server.properties and from
variables named as in Apache's container image (KAFKA_NUM_PARTITIONS for
num.partitions). An option goes before a variable, a variable before the
file. What does nothing here is told when the broker starts.

listener.security.protocol.map says what clients of a listener do first:
PLAINTEXT nothing, SSL a TLS handshake, SASL_SSL a login inside of TLS. The
other ports are called GRPC, DANUBE_ADMIN and HTTP there, as in GRPC:SASL_SSL;
each call then carries authorization: Basic, Bearer NAME:PASSWORD, or Bearer
TOKEN where OAUTHBEARER is enabled.

Examples:
  keyway serve
  keyway serve --config server.properties --check-config
  keyway serve --kafka 127.0.0.1:9192 --grpc 127.0.0.1:6750 --data /var/lib/keyway";

/// Run the broker
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Serve {
    /// Kafka's settings, in a file like its server.properties
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Say what the settings come to, and leave; exit code 2 if one is wrong
    #[arg(long)]
    check_config: bool,

    /// Address of the (first) Kafka listener; port 0 takes a free one [default: that of the setting listeners, or
    /// 127.0.0.1:9092]
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    kafka: Option<SocketAddr>,

    /// Address of the Danube protocol (gRPC); port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:6650", value_parser = address)]
    grpc: SocketAddr,

    /// Address of Danube's administration (gRPC), for danube-admin; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50051", value_parser = address)]
    danube_admin: SocketAddr,

    /// Address of HTTP: health, metrics, administration; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    http: SocketAddr,

    /// Folder of everything that is stored; created if missing, used by one broker at a time [default: that of the
    /// setting log.dirs, or ./keyway-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Host and port that clients of the (first) Kafka listener are told to connect to; the default is that of the
    /// setting advertised.listeners, or the address of --kafka
    #[arg(long, value_name = "HOST[:PORT]", value_parser = advertised)]
    advertise: Option<(String, Option<u16>)>,

    /// What acknowledged means: on the disk, or with the operating system, from where a power cut may take it
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    durability: Durability,

    /// If the write-ahead log is damaged, end it there: acknowledged records are lost, the damaged files are kept beside
    #[arg(long)]
    cut_damaged_log: bool,

    /// Append the audit log (logins, denials, administrative changes; a JSON object per line) to this file, which is put
    /// aside at 64 MiB, the newest eight as FILE.1 to FILE.8; without it these lines go to the log as keyway::audit,
    /// unless everybody may do everything
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// Allow PLAIN on addresses that other machines reach without TLS, although everybody on the way can read passwords
    #[arg(long)]
    plain_without_tls: bool,

    /// Allow addresses that other machines reach where no client has to prove who it is
    #[arg(long)]
    insecure_bind_anyway: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Durability {
    /// A power cut takes nothing that was acknowledged
    Fsync,
    /// A power cut takes the newest records, acknowledged or not; kill -9 takes nothing
    Os,
}

/// What the options, the variables and the file come to.
struct Plan {
    kafka: Vec<KafkaListener>,
    data: PathBuf,
    settings: BTreeMap<String, String>,
    memory: Shares,
    /// What to tell about the listeners.
    note: Option<String>,
}

impl Serve {
    /// Serves until a signal or a failed disk ends it.
    pub(crate) fn run(self, log: Log) -> Result<(), Failure> {
        let started = Instant::now();
        if let Err(error) = give_memory_back() {
            note(&format!("the allocator keeps memory that is little here: {error}"));
        }
        let given = self.given()?;
        let plan = self.plan(&given)?;
        self.check_addresses(&given, &plan.kafka)?;
        if self.check_config {
            self.check_listeners(&given, &plan)?;
        }
        for line in given.report() {
            note(&format!("settings of {} {line}", given.sources()));
        }
        plan.note.iter().for_each(|line| note(line));
        if self.check_config {
            note("the settings are good");
            return Ok(());
        }
        raise_open_files_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        let outcome = runtime.block_on(self.serve(plan, log, started));
        // What still runs after a failed disk or a second signal must not hold up the end.
        runtime.shutdown_background();
        outcome
    }

    /// The file's settings and those of the environment.
    fn given(&self) -> Result<Given, Failure> {
        let variables = std::env::vars_os();
        let variables =
            variables.filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        Given::read(self.config.as_deref(), variables)
    }

    /// Checks everything that was given, but for who may reach it.
    fn plan(&self, given: &Given) -> Result<Plan, Failure> {
        let mut settings = given.checked()?;
        let Listeners { all: mut kafka, note: line } = listeners::read(given, self.insecure_bind_anyway)?;
        let first = &mut kafka[0];
        first.address = self.kafka.unwrap_or(first.address);
        if let Some((host, port)) = &self.advertise {
            first.advertised = Some((host.clone(), port.unwrap_or(first.address.port())));
        }
        let data = self.data_folder(given)?;
        // What Kafka's tools are told of the log is what is done.
        settings.insert("log.dirs".to_owned(), data.display().to_string());
        if self.durability == Durability::Fsync {
            settings.insert("log.flush.interval.messages".to_owned(), "1".to_owned());
        }
        let memory = Shares::of_process();
        let (queued, requests) = ("queued.max.request.bytes", memory.requests.to_string());
        if BrokerSetting::of_any(queued).and_then(BrokerSetting::default_value) != Some(&requests) {
            settings.entry(queued.to_owned()).or_insert(requests);
        }
        Ok(Plan { kafka, data, settings, memory, note: line.filter(|_| self.kafka.is_none()) })
    }

    /// Where everything is stored: Kafka's `log.dirs` goes before its `log.dir`, and both before the default.
    fn data_folder(&self, given: &Given) -> Result<PathBuf, Failure> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let Some(value) =
            given.get("log.dirs").or(given.get("log.dir")).filter(|value| !value.text.is_empty())
        else {
            return Ok("./keyway-data".into());
        };
        if value.text.contains(',') {
            let line =
                format!("{}: {} are several folders; leave one, or add --data DIR", value.origin, value.text);
            return Err(Failure::Usage(line));
        }
        let folder = Path::new(&value.text);
        // The file that Kafka puts into each of its own folders.
        if folder.join("meta.properties").exists() {
            return Err(Failure::Usage(format!(
                "{}: {} has the data of an Apache Kafka, which has another form; add --data DIR with another folder",
                value.origin, value.text
            )));
        }
        Ok(folder.to_owned())
    }

    async fn serve(&self, plan: Plan, log: Log, started: Instant) -> Result<(), Failure> {
        // First, so that a signal during a long recovery is not lost.
        let mut stop = StopSignals::listen()?;
        match self.durability {
            Durability::Fsync => tracing::info!("durability fsync: acknowledged records are on the disk"),
            Durability::Os => tracing::warn!(
                "durability os: acknowledged records are with the operating system; a power cut takes the newest"
            ),
        }
        let world = World::real();
        let store = SegmentStore::open(&world, plan.data.clone(), self.log_options(&plan))
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let disk_failed = store.failed();
        let store: Arc<dyn LogStore> = Arc::new(store);
        let audit = self.audit_log.as_deref().map(|path| AuditFile::open(path, ROTATION)).transpose()?;
        let config = Config {
            kafka: plan.kafka,
            grpc: self.grpc,
            danube_admin: self.danube_admin,
            http: self.http,
            plain_without_tls: self.plain_without_tls,
            settings: plan.settings,
            log_filter: Some(Arc::new(log)),
            audit: audit.clone().map(|file| file as Arc<dyn AuditSink>),
            subscription_bytes_max: plan.memory.subscriptions,
            ..Config::default()
        };
        let broker = Broker::start(config, world, Arc::clone(&store))
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let _ = writeln!(
            io::stderr(),
            "keyway {} ready in {} ms: Kafka {}, gRPC {}, data {}, admin {}, HTTP {}",
            env!("CARGO_PKG_VERSION"),
            started.elapsed().as_millis(),
            listening(&broker),
            broker.grpc_address(),
            plan.data.display(),
            broker.danube_admin_address(),
            broker.http_address()
        );
        tokio::select! {
            biased;
            cause = disk_failed => {
                // Nothing more can be made durable, so nothing may be finished either.
                return Err(Failure::Disk(format!("stopped, because the disk failed: {cause}")));
            }
            _ = stop.next() => {}
        }
        let outcome = tokio::select! {
            biased;
            _ = stop.next() => Err(Failure::Failed("stopped at once on the second signal".into())),
            outcome = broker.shutdown() => outcome.map_err(|error| Failure::Failed(error.to_string())),
        };
        if let Some(audit) = audit {
            audit.finish();
        }
        outcome
    }

    fn log_options(&self, plan: &Plan) -> Options {
        let on_damage = if self.cut_damaged_log { OnDamage::Cut } else { OnDamage::Refuse };
        let durable_by = match self.durability {
            Durability::Fsync => DurableBy::Fsync,
            Durability::Os => DurableBy::Os,
        };
        let Shares { log: arena_bytes_max, indexes: index_bytes_max, .. } = plan.memory;
        let options =
            Options { on_damage, durable_by, arena_bytes_max, index_bytes_max, ..Options::default() };
        let expiration = plan.settings.get("producer.id.expiration.ms").and_then(|value| value.parse().ok());
        Options { producer_expiration_ms: expiration.unwrap_or(options.producer_expiration_ms), ..options }
    }

    /// The ports that do not speak Kafka's protocol.
    fn fronts(&self, given: &Given) -> Result<[listeners::Front; 3], Failure> {
        let front =
            |name, address| Ok(listeners::Front { name, address, protocol: listeners::front(given, name)? });
        Ok([front("GRPC", self.grpc)?, front("DANUBE_ADMIN", self.danube_admin)?, front("HTTP", self.http)?])
    }

    /// Refuses listeners that a broker cannot serve, as its start would.
    fn check_listeners(&self, given: &Given, plan: &Plan) -> Result<(), Failure> {
        let of_kafka = plan.kafka.iter().map(|one| (&*one.name, one.protocol, one.address));
        let fronts = self.fronts(given)?;
        let fronts = fronts.iter().map(|one| (one.name, one.protocol, one.address));
        for (name, protocol, address) in of_kafka.chain(fronts) {
            check_listener(name, protocol, address, &plan.settings, self.plain_without_tls)
                .map_err(|error| Failure::Usage(error.to_string()))?;
        }
        Ok(())
    }

    /// Refuses what other machines reach although nobody has to prove who they are, and what clients cannot be told.
    fn check_addresses(&self, given: &Given, kafka: &[KafkaListener]) -> Result<(), Failure> {
        let of_kafka = |listener: &KafkaListener| {
            let authenticates = listeners::authenticates(given, &listener.name, listener.protocol);
            (!authenticates).then_some((listener.name.clone(), listener.address))
        };
        let of_front = |front: listeners::Front| {
            let authenticates = listeners::authenticates(given, front.name, front.protocol);
            (!authenticates).then_some((front.name.to_owned(), front.address))
        };
        let fronts = self.fronts(given)?;
        let open = kafka.iter().filter_map(of_kafka).chain(fronts.into_iter().filter_map(of_front));
        let open = open.into_iter().find(|(_, address)| !address.ip().is_loopback());
        if let Some((name, address)) = open.filter(|_| !self.insecure_bind_anyway) {
            return Err(Failure::Usage(format!(
                "{address} is reachable from other machines and no client has to prove who it is; use 127.0.0.1, add \
                 {name}:SASL_SSL to listener.security.protocol.map, or add --insecure-bind-anyway on a network that you \
                 trust"
            )));
        }
        // A Kafka client connects to where the broker says it is, and nobody is at 0.0.0.0.
        let nowhere = kafka.iter().find(|one| one.address.ip().is_unspecified() && one.advertised.is_none());
        match nowhere {
            Some(listener) if self.kafka == Some(listener.address) => Err(Failure::Usage(format!(
                "--kafka {} names no host that clients can connect to; add --advertise HOST",
                listener.address
            ))),
            Some(KafkaListener { name, address, .. }) => Err(Failure::Usage(format!(
                "the listener {name} on {address} names no host that clients can connect to; add \
                 {name}://HOST:{} to advertised.listeners, or --advertise HOST for the first listener",
                address.port()
            ))),
            None => Ok(()),
        }
    }
}

/// The settings in a file, for those who do not start a broker with them.
pub(crate) fn settings_in(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    Given::read(Some(path), std::iter::empty())?.checked()
}

/// Where Kafka clients are served, with names where there are several places.
fn listening(broker: &Broker) -> String {
    let all: Vec<_> = broker.kafka_listeners().collect();
    match all.as_slice() {
        [(_, address)] => address.to_string(),
        several => several.iter().map(|(name, at)| format!("{name}://{at}")).collect::<Vec<_>>().join(","),
    }
}

/// Each connection and segment is an open file, and the usual soft limit of 1,024 is there for older programs.
fn raise_open_files_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let parsed = numeric.as_deref().unwrap_or(text).parse();
    parsed.map_err(|_| "write it as IP:PORT, such as 127.0.0.1:9092".into())
}

fn advertised(text: &str) -> Result<(String, Option<u16>), String> {
    // The last colon, and only if what precedes it has none or is in brackets: an IPv6 address has colons of its own.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.map(str::parse).transpose().map_err(|_| "the port is a number from 0 to 65535")?;
    if host.is_empty() { Err("write it as HOST or HOST:PORT".into()) } else { Ok((host.into(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numeric_or_localhost() {
        assert_eq!(address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address("[::1]:9092").unwrap().to_string(), "[::1]:9092");
        assert!(address("9092").is_err() && address("example.org:9092").is_err());
    }

    #[test]
    fn an_advertised_host_may_lack_a_port_or_be_ipv6() {
        assert_eq!(advertised("db.example"), Ok(("db.example".into(), None)));
        assert_eq!(advertised("db.example:9192"), Ok(("db.example".into(), Some(9192))));
        assert_eq!(advertised("::1"), Ok(("::1".into(), None)));
        assert_eq!(advertised("[::1]:9192"), Ok(("::1".into(), Some(9192))));
        assert!(advertised("").is_err() && advertised("host:port").is_err() && advertised(":1").is_err());
    }
}
