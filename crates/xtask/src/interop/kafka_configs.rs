//! Kafka's `kafka-configs` tool on topics, brokers and groups: what it sets is told with all its sources, in force at
//! once, and there after a kill -9.

use anyhow::{bail, ensure};

use super::stage::Stage;

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

const BROKER: &[&str] = &["--entity-type", "brokers", "--entity-name", "1"];
const ALL_BROKERS: &[&str] = &["--entity-type", "brokers", "--entity-default"];
const GROUP: &[&str] = &["--entity-type", "groups", "--entity-name", "workers"];
const TOPIC: &[&str] = &["--entity-type", "topics", "--entity-name", "orders"];

async fn add(stage: &Stage<'_>, entity: &[&str], configs: &str) -> anyhow::Result<()> {
    let args = [&["--alter", "--add-config", configs][..], entity].concat();
    stage.run_kafka_tool(CONFIGS, &args).await.map(drop)
}

async fn described(stage: &Stage<'_>, entity: &[&str], more: &[&str]) -> anyhow::Result<String> {
    let args = [&["--describe"][..], entity, more].concat();
    Ok(stage.run_kafka_tool(CONFIGS, &args).await?.stdout)
}

/// The line of one config must be this, to the last synonym.
fn expect(told: &str, name: &str, value: &str, synonyms: &[&str]) -> anyhow::Result<()> {
    let wanted = format!("{name}={value} sensitive=false synonyms={{{}}}", synonyms.join(", "));
    let line = told.lines().map(str::trim).find(|line| line.starts_with(&format!("{name}=")));
    ensure!(line == Some(wanted.as_str()), "{name} is told as {line:?}, not as {wanted:?}");
    Ok(())
}

/// Sets configs of every entity, loses the broker, and looks again.
pub(crate) async fn configs(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    // Three copies is what many tools ask for; one broker of Kafka's own refuses that.
    let factor = if stage.broker.is_kafka() { "1" } else { "3" };
    let create = ["--create", "--topic", "orders", "--partitions", "2", "--replication-factor", factor];
    stage.run_kafka_tool(TOPICS, &create).await?;

    add(stage, BROKER, "log.retention.ms=60000,log.cleanup.policy=[compact,delete]").await?;
    add(stage, ALL_BROKERS, "log.retention.ms=70000,background.threads=7").await?;
    add(stage, TOPIC, "retention.bytes=7").await?;
    add(stage, GROUP, "consumer.session.timeout.ms=50000").await?;
    for (entity, config) in [(BROKER, "num.partitions=3"), (BROKER, "log.segment.bytes=5")] {
        let Err(refused) = add(stage, entity, config).await else { bail!("{config} could be set") };
        ensure!(
            refused.to_string().contains("InvalidRequestException"),
            "{config} was refused by {refused:#}"
        );
    }
    let Err(refused) = add(stage, GROUP, "consumer.session.timeout.ms=5").await else {
        bail!("a session of 5 ms could be set")
    };
    ensure!(refused.to_string().contains("InvalidConfigurationException"), "refused by {refused:#}");

    stage.broker.kill().await?;
    stage.broker.start_again().await?;

    let chain = [
        "DYNAMIC_BROKER_CONFIG:log.retention.ms=60000",
        "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=70000",
        "DEFAULT_CONFIG:log.retention.hours=168",
    ];
    let topic = described(stage, TOPIC, &["--all"]).await?;
    expect(&topic, "retention.ms", "60000", &chain)?;
    let own = ["DYNAMIC_TOPIC_CONFIG:retention.bytes=7", "DEFAULT_CONFIG:log.retention.bytes=-1"];
    expect(&topic, "retention.bytes", "7", &own)?;
    let policy = [
        "DYNAMIC_BROKER_CONFIG:log.cleanup.policy=compact,delete",
        "DEFAULT_CONFIG:log.cleanup.policy=delete",
    ];
    expect(&topic, "cleanup.policy", "compact,delete", &policy)?;
    let broker = described(stage, BROKER, &["--all"]).await?;
    expect(&broker, "log.retention.ms", "60000", &chain)?;
    let threads =
        ["DYNAMIC_DEFAULT_BROKER_CONFIG:background.threads=7", "DEFAULT_CONFIG:background.threads=10"];
    expect(&broker, "background.threads", "7", &threads)?;
    let settings = broker.lines().filter(|line| line.starts_with("  ")).count();
    let group = described(stage, GROUP, &[]).await?;
    let session = [
        "DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000",
        "DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000",
    ];
    expect(&group, "consumer.session.timeout.ms", "50000", &session)?;

    let delete = [&["--alter", "--delete-config", "log.retention.ms"][..], BROKER].concat();
    stage.run_kafka_tool(CONFIGS, &delete).await?;
    expect(&described(stage, TOPIC, &["--all"]).await?, "retention.ms", "70000", &chain[1..])?;
    Ok(format!(
        "{settings} settings of the broker told; those of topic, broker, all brokers and group kept over kill -9"
    ))
}
