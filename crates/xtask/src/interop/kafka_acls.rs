//! Access rules as Kafka's own tool makes them, and what they do to a Java client that logs in.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::stage::Stage;
use super::tool_shell::ToolShell;
use crate::broker::{Broker, free_address};

const ACLS: &str = "org.apache.kafka.tools.AclCommand";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PERF: &str = "org.apache.kafka.tools.ProducerPerformance";

/// How long a change may take until it is listed.
const FOLLOW_LIMIT: Duration = Duration::from_secs(5);

/// Settings that this broker and Apache Kafka take alike. Who does not log in is on the machine, and may do everything.
const SETTINGS: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"secret\";
";

const ALICE: &str = "\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"secret\";
enable.idempotence=false
";

/// What the tool is told to add, and for each operation the entry it then lists: resource, name, pattern, principal, host,
/// operation, permission.
const RULES: &[(&[&str], &[[&str; 7]])] = &[
    (
        &[
            "--allow-principal",
            "User:alice",
            "--operation",
            "Write",
            "--operation",
            "Describe",
            "--topic",
            "orders",
        ],
        &[
            ["TOPIC", "orders", "LITERAL", "User:alice", "*", "WRITE", "ALLOW"],
            ["TOPIC", "orders", "LITERAL", "User:alice", "*", "DESCRIBE", "ALLOW"],
        ],
    ),
    (
        &[
            "--allow-principal",
            "User:alice",
            "--operation",
            "Read",
            "--topic",
            "own-",
            "--resource-pattern-type",
            "prefixed",
        ],
        &[["TOPIC", "own-", "PREFIXED", "User:alice", "*", "READ", "ALLOW"]],
    ),
    (
        &["--deny-principal", "User:bob", "--deny-host", "10.0.0.9", "--operation", "All", "--topic", "*"],
        &[["TOPIC", "*", "LITERAL", "User:bob", "10.0.0.9", "ALL", "DENY"]],
    ),
    (
        &["--allow-principal", "User:*", "--operation", "Read", "--group", "readers"],
        &[["GROUP", "readers", "LITERAL", "User:*", "*", "READ", "ALLOW"]],
    ),
    (
        &["--allow-principal", "User:carol", "--operation", "AlterConfigs", "--cluster"],
        &[["CLUSTER", "kafka-cluster", "LITERAL", "User:carol", "*", "ALTER_CONFIGS", "ALLOW"]],
    ),
    (
        &[
            "--allow-principal",
            "User:carol",
            "--operation",
            "Write",
            "--transactional-id",
            "tx-",
            "--resource-pattern-type",
            "prefixed",
        ],
        &[["TRANSACTIONAL_ID", "tx-", "PREFIXED", "User:carol", "*", "WRITE", "ALLOW"]],
    ),
];

type Listing = BTreeSet<[String; 7]>;

/// Adds, lists and removes rules, and lets a client in by them that was not let in before.
pub(crate) async fn acls(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (mut broker, sasl) = start(stage).await?;
    let alice = stage.folder().join("alice.properties");
    fs::write(&alice, ALICE)?;
    let alice = alice.display().to_string();
    let mut shell = ToolShell::start(stage)?;
    let plain = broker.kafka().to_string();
    let as_alice = ["--bootstrap-server", &sasl.to_string(), "--command-config", &alice].map(str::to_owned);
    let create = ["--bootstrap-server", &plain, "--create", "--topic", "orders", "--partitions", "1"];
    told(&mut shell, TOPICS, &create).await?;

    let before = produced(&mut shell, sasl, &alice).await?;
    ensure!(before.contains("TopicAuthorizationException"), "without a rule alice was told {before:?}");
    let refused = shell
        .run_bare(ACLS, &[&as_alice.each_ref().map(String::as_str)[..], &["--list"]].concat())
        .await?
        .text;
    ensure!(refused.contains("ClusterAuthorizationException"), "alice lists rules: {refused:?}");

    for (words, _) in RULES {
        told(&mut shell, ACLS, &[&["--bootstrap-server", &plain, "--add"][..], words].concat()).await?;
    }
    let mut expected: Listing =
        RULES.iter().flat_map(|(_, rules)| *rules).map(|rule| rule.map(str::to_owned)).collect();
    let all = ["--bootstrap-server", plain.as_str(), "--list"];
    lists(&mut shell, &all, &expected).await?;
    let matching = [&all[..], &["--topic", "own-a", "--resource-pattern-type", "match"]].concat();
    let about: Listing =
        expected.iter().filter(|rule| ["own-", "*"].contains(&rule[1].as_str())).cloned().collect();
    lists(&mut shell, &matching, &about).await?;
    compare_with_keyway(&broker, &expected).await?;

    let after = produced(&mut shell, sasl, &alice).await?;
    ensure!(
        !after.contains("Exception") && after.contains("1 records sent"),
        "with a rule alice was told {after:?}"
    );

    let removed = [
        "--bootstrap-server",
        &plain,
        "--remove",
        "--force",
        "--allow-principal",
        "User:alice",
        "--topic",
        "orders",
    ];
    told(&mut shell, ACLS, &[&removed[..], &["--operation", "Write", "--operation", "Describe"]].concat())
        .await?;
    expected.retain(|rule| rule[1] != "orders");
    lists(&mut shell, &all, &expected).await?;
    let again = produced(&mut shell, sasl, &alice).await?;
    ensure!(again.contains("TopicAuthorizationException"), "without its rule alice was told {again:?}");
    broker.check_alive()?;
    Ok(format!(
        "{} rules added and listed, 2 removed; a client denied, let in and denied",
        expected.len() + 2
    ))
}

/// A broker that follows rules, with a listener for clients that log in.
async fn start(stage: &Stage<'_>) -> anyhow::Result<(Broker, SocketAddr)> {
    let sasl = free_address()?;
    let listeners = [format!("SASL_PLAINTEXT://{sasl}")];
    let launch = stage.broker.launch().with(stage.folder(), &listeners, SETTINGS)?;
    let broker = Broker::start(&launch, &stage.folder().join("with-rules"), stage.log()).await?;
    Ok((broker, sasl))
}

async fn told(shell: &mut ToolShell, class: &str, args: &[&str]) -> anyhow::Result<String> {
    let said = shell.run_bare(class, args).await?;
    ensure!(said.succeeded(), "{class} {}: {}", args.join(" "), said.text);
    Ok(said.text)
}

/// Has the tool list rules until these are all; Apache Kafka's broker follows its controller a little later.
async fn lists(shell: &mut ToolShell, args: &[&str], expected: &Listing) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match same(&listed(&told(shell, ACLS, args).await?)?, expected) {
            Err(_) if started.elapsed() < FOLLOW_LIMIT => {}
            outcome => return outcome,
        }
    }
}

/// What the Java producer says of one record of alice's.
async fn produced(shell: &mut ToolShell, sasl: SocketAddr, alice: &str) -> anyhow::Result<String> {
    let args = ["--topic", "orders", "--num-records", "1", "--record-size", "10", "--throughput", "-1"];
    let sasl = sasl.to_string();
    let login = ["--bootstrap-server", &sasl, "--command-config", alice];
    Ok(shell.run_bare(PERF, &[&args[..], &login].concat()).await?.text)
}

/// The entries of the tool's listing, each with its resource.
fn listed(text: &str) -> anyhow::Result<Listing> {
    let field = |text: &str, name: &str| -> anyhow::Result<String> {
        let rest =
            text.split(&format!("{name}=")).nth(1).with_context(|| format!("{name} is not in {text:?}"))?;
        Ok(rest.split([',', ')']).next().unwrap_or_default().to_owned())
    };
    let (mut found, mut resource) = (Listing::new(), None);
    for line in text.lines() {
        if line.contains("ResourcePattern(") {
            resource =
                Some([field(line, "resourceType")?, field(line, "name")?, field(line, "patternType")?]);
        } else if line.contains("principal=") {
            let [kind, name, pattern] = resource.clone().context("an entry without a resource")?;
            let entry = [kind, name, pattern, field(line, "principal")?, field(line, "host")?];
            let [kind, name, pattern, principal, host] = entry;
            let new = found.insert([
                kind,
                name,
                pattern,
                principal,
                host,
                field(line, "operation")?,
                field(line, "permissionType")?,
            ]);
            ensure!(new, "listed twice: {line}");
        }
    }
    Ok(found)
}

fn same(found: &Listing, expected: &Listing) -> anyhow::Result<()> {
    let (missing, more): (Vec<_>, Vec<_>) =
        (expected.difference(found).collect(), found.difference(expected).collect());
    ensure!(missing.is_empty() && more.is_empty(), "not listed: {missing:?}; listed besides: {more:?}");
    Ok(())
}

/// Our own command lists the same rules, and says why alice may write.
async fn compare_with_keyway(broker: &Broker, expected: &Listing) -> anyhow::Result<()> {
    let Some(keyway) = broker.keyway() else { return Ok(()) };
    let ours = async |args: &[&str]| -> anyhow::Result<String> {
        let out = Command::new(keyway)
            .arg("acl")
            .args(args)
            .arg("--brokers")
            .arg(broker.kafka().to_string())
            .output()
            .await?;
        ensure!(
            out.status.success(),
            "keyway acl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(String::from_utf8(out.stdout)?)
    };
    let mut found = Listing::new();
    for line in ours(&["list", "--output", "json"]).await?.lines() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let cell = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let word = |name: &str| cell(name).to_uppercase().replace('-', "_");
        let new = found.insert([
            word("resource_type"),
            cell("resource"),
            word("resource_pattern_type"),
            cell("principal"),
            cell("host"),
            cell("operation"),
            word("permission"),
        ]);
        ensure!(new, "keyway acl list has {line} twice");
    }
    same(&found, expected)?;
    let asked = ["explain", "--principal", "User:alice", "--operation", "WRITE", "--topic", "orders"];
    let why = ours(&asked).await?;
    ensure!(why.contains("allowed by the rule: User:alice may Write Topic orders"), "explained as {why:?}");
    Ok(())
}
