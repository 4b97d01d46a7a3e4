//! What security costs: the same load without any, and over TLS after a login, with rules and quotas that are looked up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::kafka::{
    consumer_perf_test, megabytes_per_second, order, producer_perf_test, records, records_per_second, run,
};
use super::table::Table;
use crate::apache_kafka::ApacheKafka;
use crate::broker::{Broker, Launch, free_address};
use crate::pem_files::PemFiles;
use crate::process;
use crate::tools::Tools;

const SIZE: usize = 1024;
/// Rules about topics of others, beside the one that lets the client in.
const RULES: usize = 1_000;
const TOOL_LIMIT: Duration = Duration::from_secs(120);

/// What is measured, and with what.
pub(super) struct Candidates<'a> {
    pub(super) tools: &'a Tools,
    pub(super) keyway: &'a Path,
    pub(super) apache: Option<ApacheKafka>,
}

/// A broker with a listener as it comes and one that is secure.
struct Secured {
    broker: Broker,
    secure: SocketAddr,
    /// How a client gets in, as a file of properties.
    client: PathBuf,
}

/// How a run reaches its broker.
#[derive(Clone, Copy)]
enum Way {
    Plaintext,
    Secure,
}

/// Runs all rounds on brokers that live through all of them.
pub(super) async fn measure(
    candidates: &Candidates<'_>,
    rounds: usize,
    percent: u32,
    folder: &Path,
) -> anyhow::Result<Table> {
    let data = TempDir::new_in(folder)?;
    let mut systems = Vec::new();
    let with_apache = candidates.apache.is_some();
    for name in ["keyway", "kafka"].into_iter().take(1 + usize::from(with_apache)) {
        let home = data.path().join(name);
        std::fs::create_dir_all(&home)?;
        systems.push(candidates.start(name, &home, folder).await?);
    }
    let mut table = Table::new(["keyway", "kafka"].into_iter().take(systems.len()).collect());
    let records = records(SIZE, percent as usize);
    for round in 0..=rounds {
        for way in [Way::Plaintext, Way::Secure] {
            for system in order(systems.len(), round) {
                let topic = format!("own-{}-{round}", way.name());
                let secured = &systems[system];
                let (produced, read) =
                    secured.round_trip(candidates.tools, way, &topic, records, folder).await?;
                // The first round warms the JVM.
                if round == 0 {
                    continue;
                }
                let row = |what: &str| format!("{what}, Java, {SIZE} B, {}", way.describe());
                table.add(&row("produce, acks=all"), "records/s", system, produced);
                table.add(&row("catch-up read"), "MB/s", system, read);
            }
        }
    }
    for mut system in systems {
        system.broker.check_alive()?;
        system.broker.kill().await?;
    }
    Ok(table)
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Secure => "secure",
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Plaintext => "PLAINTEXT, super user".to_string(),
            Self::Secure => format!("SASL_SSL, {RULES} rules, quotas"),
        }
    }
}

impl Candidates<'_> {
    async fn start(&self, name: &str, home: &Path, folder: &Path) -> anyhow::Result<Secured> {
        let files = PemFiles::make(home)?;
        let secure = free_address()?;
        let client = home.join("client.properties");
        std::fs::write(
            &client,
            format!(
                "security.protocol=SASL_SSL\n\
                 sasl.mechanism=PLAIN\n\
                 sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
                 username=\"bench\" password=\"secret\";\n\
                 ssl.truststore.type=PEM\n\
                 ssl.truststore.location={}\n",
                files.authority.display()
            ),
        )?;
        let settings = format!(
            "ssl.keystore.type=PEM\n\
             ssl.keystore.location={server}\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_bench=\"secret\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n",
            server = files.server.display(),
        );
        let launch = match &self.apache {
            Some(apache) if name == "kafka" => {
                Launch::ApacheKafka(apache.clone().with(format!("SASL_SSL://{secure}"), &settings))
            }
            _ => {
                let file = home.join("keyway.properties");
                // The address of the first comes from the command line.
                let listeners = format!("listeners=PLAINTEXT://127.0.0.1:9092,SASL_SSL://{secure}\n");
                std::fs::write(&file, listeners + &settings)?;
                let options = vec!["--config".to_string(), file.display().to_string()];
                Launch::Keyway { binary: self.keyway.to_owned(), options }
            }
        };
        let log = folder.join(format!("secured-{name}.log"));
        let broker = Broker::start(&launch, &home.join("data"), &log).await?;
        self.restrict(&broker, &log).await?;
        Ok(Secured { broker, secure, client })
    }

    /// Rules about topics of others, one about the client's own, and quotas that it does not reach.
    async fn restrict(&self, broker: &Broker, log: &Path) -> anyhow::Result<()> {
        let address = broker.kafka().to_string();
        let kafka = self.tools.apache_kafka()?;
        let mut others = kafka.main_class("org.apache.kafka.tools.AclCommand");
        others.args(["--bootstrap-server", &address, "--add", "--allow-principal", "User:other"]);
        others.args(["--operation", "Write"]);
        for topic in 1..=RULES {
            others.arg("--topic").arg(format!("other-{topic}"));
        }
        let mut own = kafka.main_class("org.apache.kafka.tools.AclCommand");
        own.args(["--bootstrap-server", &address, "--add", "--allow-principal", "User:bench"]);
        own.args(["--operation", "All", "--resource-pattern-type", "prefixed"]);
        own.args(["--topic", "own-", "--group", "perf-consumer"]);
        let mut quotas = kafka.main_class("kafka.admin.ConfigCommand");
        quotas.args(["--bootstrap-server", &address, "--alter", "--entity-type", "users"]);
        quotas.args(["--entity-default", "--add-config"]);
        quotas.arg("producer_byte_rate=1e12,consumer_byte_rate=1e12,request_percentage=1e6");
        for command in [&mut others, &mut own, &mut quotas] {
            process::succeed(command, log, TOOL_LIMIT).await?;
        }
        Ok(())
    }
}

impl Secured {
    /// Producing to a topic and reading it back.
    async fn round_trip(
        &self,
        tools: &Tools,
        way: Way,
        topic: &str,
        count: usize,
        folder: &Path,
    ) -> anyhow::Result<(super::table::Sample, super::table::Sample)> {
        let address = match way {
            Way::Plaintext => self.broker.kafka(),
            Way::Secure => self.secure,
        };
        let mut produce = producer_perf_test(tools, address, topic, SIZE, count, None)?;
        produce.arg("acks=all");
        let mut consume = consumer_perf_test(tools, address, topic, count)?;
        if let Way::Secure = way {
            produce.arg("--producer.config").arg(&self.client);
            consume.arg("--consumer.config").arg(&self.client);
        }
        let (line, reading) = run(&self.broker, folder, &mut produce).await?;
        let produced = reading.sample(records_per_second(&line)?);
        let (line, reading) = run(&self.broker, folder, &mut consume).await?;
        Ok((produced, reading.sample(megabytes_per_second(&line)?)))
    }
}
