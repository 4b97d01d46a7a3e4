//! Kafka's settings: from its file, from variables named as in Apache's image, and what goes before what.

use crate::{
    keyway::{Run, Server, command, finish},
    serve::FREE,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;

/// A file like the one that Kafka comes with.
const SAMPLE: &str = include_str!("server.properties");

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.properties");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn check(path: &Path, variables: &[(&str, &str)]) -> Run {
    let mut command = command(["serve", "--check-config", "--config", path.to_str().unwrap()]);
    command.envs(variables.iter().copied());
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn kafka_s_own_file_is_taken_unchanged_and_what_is_ignored_is_told() {
    let (_folder, path) = file(SAMPLE);
    let run = check(&path, &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let line = |words: &str| {
        let found = run.stderr.lines().find(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("no line with {words}: {run:?}"))
    };
    let taken = line("taken: ");
    for name in ["listeners", "log.dirs", "num.partitions", "log.retention.hours", "log.segment.bytes"] {
        assert!(taken.contains(name), "{name}: {taken}");
    }
    assert!(line("controller quorum").contains("controller.quorum.bootstrap.servers"));
    assert!(line("number of threads").contains("num.network.threads"));
    assert!(line("one copy").contains("offsets.topic.replication.factor"));
    assert!(line("127.0.0.1:9092 only").contains("--insecure-bind-anyway"));
    assert!(!run.stderr.contains("no setting of this name"), "{run:?}");
    assert!(run.stderr.ends_with("the settings are good\n"), "{run:?}");
}

#[test]
fn a_bad_value_is_refused_by_name_and_line() {
    let (_folder, path) = file("# first\nnum.partitions=1\nlog.segment.bytes=12\n");
    check(&path, &[])
        .fails(2, &["server.properties line 3", "log.segment.bytes", "'12'", "1048576", "correct"]);
    check(&path, &[("KAFKA_LOG_SEGMENT_BYTES", "tiny")]).fails(2, &["KAFKA_LOG_SEGMENT_BYTES", "'tiny'"]);
    assert_eq!(check(&path, &[("KAFKA_LOG_SEGMENT_BYTES", "2097152")]).code, Some(0));
    check(Path::new("/no/such.properties"), &[]).fails(2, &["/no/such.properties"]);
    let (_folder, path) = file("group.min.session.timeout.ms=9\ngroup.max.session.timeout.ms=8\n");
    check(&path, &[]).fails(2, &["group.min.session.timeout.ms", "group.max.session.timeout.ms"]);
}

#[test]
fn listeners_that_are_not_there_are_refused() {
    let (_folder, path) = file("listeners=OUTSIDE://:9092\n");
    check(&path, &[]).fails(2, &["line 1", "OUTSIDE", "listener.security.protocol.map"]);
    let (_folder, path) = file("listeners=SSL://0.0.0.0:9092\n");
    check(&path, &[]).fails(2, &["0.0.0.0:9092", "--insecure-bind-anyway"]);
    let (_folder, path) = file("listeners=PLAINTEXT://0.0.0.0:9092\n");
    check(&path, &[]).fails(2, &["0.0.0.0:9092", "--insecure-bind-anyway"]);
}

#[test]
fn listeners_that_a_start_would_refuse_are_refused() {
    let map = "listener.security.protocol.map=GRPC:SASL_PLAINTEXT\n";
    let (_folder, path) = file(&format!("{map}sasl.enabled.mechanisms=SCRAM-SHA-512\n"));
    check(&path, &[]).fails(2, &["GRPC", "add PLAIN or OAUTHBEARER"]);
    assert_eq!(check(&path, &[("KAFKA_SASL_ENABLED_MECHANISMS", "SCRAM-SHA-512,PLAIN")]).code, Some(0));
    let (_folder, path) =
        file("listeners=SSL://127.0.0.1:9092\nssl.keystore.type=PEM\nssl.keystore.location=/no/such.pem\n");
    check(&path, &[]).fails(2, &["SSL", "/no/such.pem"]);
}

#[test]
fn a_folder_of_apache_kafka_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("meta.properties"), "version=1\n").unwrap();
    let (_folder, path) = file(&format!("log.dirs={}\n", folder.path().display()));
    check(&path, &[]).fails(2, &["Apache Kafka", "--data", "line 1"]);
}

#[test]
fn an_option_goes_before_a_variable_and_a_variable_before_the_file() {
    let (folder, path) =
        file("listeners=PLAINTEXT://127.0.0.1:9\nnum.partitions=3\nlog.retention.ms=60000\n");
    let data = folder.path().join("data");
    let mut serve = command(["serve", "--config", path.to_str().unwrap()].into_iter().chain(FREE));
    serve.env("KAFKA_NUM_PARTITIONS", "5").env("KAFKA_LOG_DIRS", &data);
    let server = Server::start_as(serve);
    assert!(!server.kafka.ends_with(":9"), "{}", server.kafka);
    assert!(data.is_dir(), "the variable names the folder");
    server.run_with_input(["produce", "orders"], b"a\n").good();
    let described = server.run(["topic", "describe", "orders", "-o", "json"]).good().json();
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 5, "the variable says five");
}
