//! What security costs: the same load without any, and over TLS after a login, with rules and quotas that are looked up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::kafka::{
    consumer_perf_test, megabytes_per_second, order, producer_perf_test, records, records_per_second, run,
};
use super::table::{Sample, Table};
use crate::broker::{Broker, Launch, free_address};
use crate::pem_files::PemFiles;
use crate::process;
use crate::tools::Tools;

const SIZE: usize = 1024;
/// Rules about topics of others, beside the one that lets the client in.
const RULES: usize = 1_000;
const TOOL_LIMIT: Duration = Duration::from_secs(120);

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
    tools: &Tools,
    systems: &[Launch],
    rounds: usize,
    percent: u32,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    let data = TempDir::new_in(folder)?;
    let mut secured = Vec::new();
    for launch in systems {
        let (home, log) =
            (data.path().join(launch.name()), folder.join(format!("secured-{}.log", launch.name())));
        std::fs::create_dir_all(&home)?;
        let one = Secured::start(launch, &home, &log).await?;
        restrict(&one.broker, tools, &log).await?;
        secured.push(one);
    }
    let records = records(SIZE, percent as usize);
    for round in 0..=rounds {
        for way in [Way::Plaintext, Way::Secure] {
            for system in order(secured.len(), round) {
                let topic = format!("own-{}-{round}", way.name());
                let (produced, read) =
                    secured[system].round_trip(tools, way, &topic, records, folder).await?;
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
    for mut one in secured {
        one.broker.check_alive()?;
        one.broker.kill().await?;
    }
    Ok(())
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

impl Secured {
    async fn start(launch: &Launch, home: &Path, log: &Path) -> anyhow::Result<Self> {
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
                 {}",
                files.truststore()
            ),
        )?;
        let settings = format!(
            "{}\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_bench=\"secret\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n",
            files.keystore()
        );
        let launch = launch.with(home, &[format!("SASL_SSL://{secure}")], &settings)?;
        let broker = Broker::start(&launch, &home.join("data"), log).await?;
        Ok(Secured { broker, secure, client })
    }

    /// Producing to a topic and reading it back.
    async fn round_trip(
        &self,
        tools: &Tools,
        way: Way,
        topic: &str,
        count: usize,
        folder: &Path,
    ) -> anyhow::Result<(Sample, Sample)> {
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

/// Rules about topics of others, one about the client's own, and quotas that it does not reach.
async fn restrict(broker: &Broker, tools: &Tools, log: &Path) -> anyhow::Result<()> {
    let address = broker.kafka().to_string();
    let kafka = tools.apache_kafka()?;
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
