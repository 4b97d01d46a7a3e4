//! A Kafka Streams application with exactly-once: every word's counts are one, two, three and so on, though an instance
//! and the broker are killed. Afterwards Kafka's tool resets the application.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::kafka_programs::{PATIENCE, POLL, Program, verifiable_producer};
use super::stage::Stage;
use super::tool_shell::ToolShell;
use crate::kafka_client::Connection;
use crate::workspace;

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const RESET: &str = "org.apache.kafka.tools.StreamsResetter";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

const APPLICATION: &str = "word-count";
const INPUT: &str = "numbers";
const OUTPUT: &str = "counts";
const REPARTITION: &str = "word-count-words-repartition";
const CHANGELOG: &str = "word-count-counters-changelog";
const PARTITIONS: i32 = 3;
const NUMBERS: u64 = 6_000;
const NUMBERS_PER_SECOND: u64 = 300;

pub(crate) async fn exactly_once(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut connection = Connection::open(stage.broker.kafka()).await?;
    connection.create_topic(INPUT, PARTITIONS).await?;
    connection.create_topic(OUTPUT, PARTITIONS).await?;
    let mut instances = vec![instance(stage, "one")?, instance(stage, "two")?];
    let mut tools = ToolShell::start(stage)?;
    for instance in &mut instances {
        instance.reach("RUNNING", 1).await?;
    }
    let (count, rate) = (NUMBERS.to_string(), NUMBERS_PER_SECOND.to_string());
    let args = ["--max-messages", &count, "--throughput", &rate, "--repeating-keys", "30"];
    let mut producer = verifiable_producer(stage, INPUT, &args)?;
    producer.more("producer_send_success", NUMBERS as usize / 8).await?;
    // The other one takes over what it was counting, and gives it back.
    instances.remove(0).kill().await?;
    producer.more("producer_send_success", NUMBERS as usize / 8).await?;
    instances.push(instance(stage, "one")?);
    producer.more("producer_send_success", NUMBERS as usize / 8).await?;
    stage.broker.kill().await?;
    stage.broker.start_again().await?;
    producer.finish().await?;

    let expected = expected();
    let records = expected.values().sum::<u64>();
    // First all that has to come, then what should not.
    counts(&mut tools, &["--max-messages", &records.to_string(), "--timeout-ms", "50000"]).await?;
    let counts = counts(&mut tools, &["--timeout-ms", "3000"]).await?;
    for (word, last) in &expected {
        let counted = counts.get(word).map_or(&[][..], Vec::as_slice);
        let broken = counted.iter().zip(1..).find(|(count, wanted)| *count != wanted);
        ensure!(
            broken.is_none(),
            "{word} was counted {:?} instead of {:?}",
            broken.map(|(count, _)| count),
            broken.map(|(_, wanted)| wanted)
        );
        ensure!(counted.len() as u64 == *last, "{word} was counted to {} instead of {last}", counted.len());
    }
    ensure!(counts.len() == expected.len(), "{} words instead of {}", counts.len(), expected.len());

    let purged = purged(&mut tools).await?;
    for instance in instances {
        instance.terminate().await?;
    }
    reset(&mut tools).await?;
    Ok(format!(
        "{NUMBERS} numbers gave {records} counts, each once and in order, an instance and the broker killed; \
         {purged} records purged from the repartition topic; the application reset"
    ))
}

fn instance(stage: &Stage<'_>, name: &str) -> anyhow::Result<Program> {
    let mut command = stage.tools.apache_kafka()?.source(&workspace::programs().join("kafka/WordCount.java"));
    command.arg(stage.broker.kafka().to_string()).arg(stage.folder().join(name));
    Program::start(stage, format!("instance {name}"), &mut command)
}

/// To what every word is counted; what the words of a number are, WordCount.java says.
fn expected() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for number in 0..NUMBERS {
        for word in ["all".to_string(), format!("last-{}", number % 10), format!("of-97-{}", number % 97)] {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

/// Every word's committed counts in their order.
async fn counts(tools: &mut ToolShell, until: &[&str]) -> anyhow::Result<BTreeMap<String, Vec<u64>>> {
    let args = ["--topic", OUTPUT, "--from-beginning", "--isolation-level", "read_committed"];
    let shown = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
    let text = tools.succeed(CONSOLE_CONSUMER, &[&args[..], &shown, until].concat()).await?;
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        // Among the records is what the consumer says about itself.
        let Some((word, count)) = line.split_once(':') else { continue };
        let Ok(count) = count.parse() else { continue };
        counts.entry(word.to_string()).or_default().push(count);
    }
    Ok(counts)
}

/// How many records the application has deleted from its repartition topic, having counted them.
async fn purged(tools: &mut ToolShell) -> anyhow::Result<u64> {
    let began = Instant::now();
    loop {
        let text = tools.succeed(GET_OFFSETS, &["--topic", REPARTITION, "--time", "earliest"]).await?;
        let offsets = text.lines().filter_map(|line| line.rsplit_once(':')?.1.parse::<u64>().ok());
        let purged = offsets.sum();
        if purged > NUMBERS {
            return Ok(purged);
        }
        ensure!(began.elapsed() < PATIENCE, "nothing was deleted of what was counted: {text}");
        sleep(POLL).await;
    }
}

/// The tool deletes the internal topics and sets the group back to the beginning of the input.
async fn reset(tools: &mut ToolShell) -> anyhow::Result<()> {
    let topics = tools.succeed(TOPICS, &["--list"]).await?;
    for internal in [REPARTITION, CHANGELOG] {
        ensure!(topics.lines().any(|topic| topic == internal), "there is no {internal}: {topics}");
    }
    tools.succeed(RESET, &["--application-id", APPLICATION, "--input-topics", INPUT, "--force"]).await?;
    let topics = tools.succeed(TOPICS, &["--list"]).await?;
    ensure!(!topics.contains(APPLICATION), "internal topics are left: {topics}");
    let described = tools.succeed(GROUPS, &["--describe", "--group", APPLICATION, "--offsets"]).await?;
    let rows: Vec<Vec<&str>> = described
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|row: &Vec<&str>| row.get(1) == Some(&INPUT))
        .collect();
    ensure!(rows.len() == PARTITIONS as usize, "described as {described}");
    for row in rows {
        let offset = row.get(3).context("no offset")?;
        ensure!(*offset == "0", "the group is at {offset} and not at the beginning: {described}");
    }
    Ok(())
}
