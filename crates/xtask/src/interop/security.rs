//! Clients that prove who they are, against a broker with TLS and logins.

use super::stage::Stage;
use crate::broker::{Broker, free_address};
use crate::pem_files::PemFiles;
use crate::workspace;
use anyhow::Context;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::process::Command;

/// The user of the producer's document, in the settings as Kafka's PLAIN wants it.
pub(super) const USERS: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required user_USER=\"PASSWORD\";";

/// A broker with three listeners, and the files that its clients need.
pub(super) struct Secured {
    pub(super) broker: Broker,
    pub(super) sasl_ssl: SocketAddr,
    ssl: SocketAddr,
    pub(super) files: PemFiles,
}

impl Secured {
    /// The broker's folder.
    fn data(stage: &Stage<'_>) -> PathBuf {
        stage.folder().join("secured")
    }

    /// Starts one with `more` settings.
    pub(super) async fn start(stage: &Stage<'_>, more: &str) -> anyhow::Result<Self> {
        let files = PemFiles::make(stage.folder())?;
        let (sasl_ssl, ssl) = (free_address()?, free_address()?);
        let settings = format!(
            "{}{}\
             listener.name.ssl.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config={USERS}\n\
             {more}",
            files.keystore(),
            files.truststore()
        );
        let listeners = [format!("SASL_SSL://{sasl_ssl}"), format!("SSL://{ssl}")];
        let launch = stage.broker.launch().with(stage.folder(), &listeners, &settings)?;
        let broker = Broker::start(&launch, &Self::data(stage), stage.log()).await?;
        Ok(Self { broker, sasl_ssl, ssl, files })
    }
}

/// The connection block of the producer's document, SCRAM and client certificates, with Apache Kafka's own client.
pub(crate) async fn java(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut secured = Secured::start(stage, "").await?;
    let source = workspace::programs().join("kafka/SecureClients.java");
    let mut command = stage.tools.apache_kafka()?.source(&source);
    let addresses =
        [secured.broker.kafka(), secured.sasl_ssl, secured.ssl].map(|address| address.to_string());
    let PemFiles { authority, client, stranger, .. } = &secured.files;
    command.args(addresses).args([authority, client, stranger]);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}

/// The same with librdkafka and kafka-python.
pub(crate) async fn python(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut secured = Secured::start(stage, "").await?;
    let mut command = stage.python("kafka/secure_clients.py", &[])?;
    let PemFiles { authority, client, stranger, .. } = &secured.files;
    command.env("KAFKA", secured.broker.kafka().to_string());
    command.env("SASL_SSL", secured.sasl_ssl.to_string()).env("SSL", secured.ssl.to_string());
    command.env("CA", authority).env("CLIENT", client).env("STRANGER", stranger);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}

/// The same with clients for Rust, by TLS 1.2, which the document wants.
pub(crate) async fn rust(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (password, data) = (stage.folder().join("password"), Secured::data(stage));
    fs::write(&password, "bob=secret,")?;
    // The clients cannot make users.
    let mut add = Command::new(stage.broker.keyway().context("the broker is this project's")?);
    add.args(["user", "add", "bob"]).arg("--password-file").arg(&password).arg("--data").arg(&data);
    stage.run(&mut add).await?;
    let settings = "listener.name.sasl_ssl.ssl.enabled.protocols=TLSv1.2\n";
    let mut secured = Secured::start(stage, settings).await?;
    let mut command = stage.tools.rust_program("secure")?;
    let PemFiles { authority, client, stranger, .. } = &secured.files;
    command.env("RUST_BACKTRACE", "0");
    command.env("SASL_SSL", secured.sasl_ssl.to_string()).env("SSL", secured.ssl.to_string());
    command.env("CA", authority).env("CLIENT", client).env("STRANGER", stranger);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}

/// A certificate and a password that change while producers and a consumer run.
pub(crate) async fn rotation(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const SESSION_MS: u32 = 4_000;
    let settings = format!("listener.name.sasl_ssl.connections.max.reauth.ms={SESSION_MS}\n");
    let mut secured = Secured::start(stage, &settings).await?;
    let mut command = stage.python("kafka/rotation.py", &[])?;
    let PemFiles { authority, server, next, .. } = &secured.files;
    command.env("KAFKA", secured.broker.kafka().to_string());
    command.env("SASL_SSL", secured.sasl_ssl.to_string()).env("SESSION_MS", SESSION_MS.to_string());
    command.env("CA", authority).env("SERVER", server).env("NEXT", next);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}
