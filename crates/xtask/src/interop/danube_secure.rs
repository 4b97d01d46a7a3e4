//! The published Danube clients over TLS with a token.

use super::security::USERS;
use super::stage::Stage;
use crate::broker::Broker;
use crate::pem_files::PemFiles;
use anyhow::{Context, bail, ensure};
use danube_client::{DanubeClient, Producer, SubType};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

const TOPIC: &str = "/default/tls-token-rust";
const MESSAGES: usize = 50;

/// The token of the one user that there is.
const TOKEN: &str = "USER:PASSWORD";

/// Longest wait for an answer or a message.
const LIMIT: Duration = Duration::from_secs(15);

/// A broker whose gRPC and HTTP want TLS and logins, and the files that its clients need.
async fn start(stage: &Stage<'_>) -> anyhow::Result<(Broker, PemFiles)> {
    let files = PemFiles::make(stage.folder())?;
    let settings = format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GRPC:SASL_SSL,DANUBE_ADMIN:SASL_SSL,HTTP:SASL_SSL\n\
         {}\
         sasl.enabled.mechanisms=PLAIN\n\
         listener.name.grpc.plain.sasl.jaas.config={USERS}\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:USER\n",
        files.keystore()
    );
    let launch = stage.broker.launch().with(stage.folder(), &[], &settings)?;
    let broker = Broker::start(&launch, &stage.folder().join("secured"), stage.log()).await?;
    Ok((broker, files))
}

/// Danube's clients for Rust and Python send and receive with a token, and with a wrong one do not.
pub(crate) async fn tokens(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (mut broker, files) = start(stage).await?;
    let url = format!("https://localhost:{}", broker.grpc().port());
    for wrong in ["USER:wrong", "mallory:PASSWORD", "PASSWORD"] {
        ensure!(refused(&url, &files.authority, wrong).await?, "{wrong} is let in");
    }
    send_and_receive(&url, &files.authority).await?;
    let mut command = stage.python("danube/tls_token.py", &[])?;
    command.env("SECURE_DANUBE", &url).env("CA", &files.authority).env("TOKEN", TOKEN);
    let python = stage.run(&mut command).await?.summary();
    broker.check_alive()?;
    Ok(format!("Rust: {MESSAGES} messages over TLS, 3 wrong tokens refused; Python: {python}"))
}

async fn client(url: &str, authority: &Path, token: &str) -> anyhow::Result<DanubeClient> {
    let builder = DanubeClient::builder().service_url(url).with_tls(authority)?;
    Ok(builder.with_token(token).build().await?)
}

fn producer(client: &DanubeClient) -> anyhow::Result<Producer> {
    let builder = client.new_producer().with_topic(TOPIC).with_name("p").with_reliable_dispatch();
    Ok(builder.build()?)
}

/// Whether a producer is refused because of its token.
async fn refused(url: &str, authority: &Path, token: &str) -> anyhow::Result<bool> {
    let mut producer = producer(&client(url, authority, token).await?)?;
    match timeout(LIMIT, producer.create()).await? {
        Ok(_) => Ok(false),
        Err(error) if format!("{error:?}").contains("Unauthenticated") => Ok(true),
        Err(error) => bail!("{token} is refused by {error:?}"),
    }
}

async fn send_and_receive(url: &str, authority: &Path) -> anyhow::Result<()> {
    let client = client(url, authority, TOKEN).await?;
    let mut producer = producer(&client)?;
    producer.create().await?;
    let consumer = client.new_consumer().with_topic(TOPIC).with_consumer_name("c").with_subscription("s");
    let mut consumer = consumer.with_subscription_type(SubType::KeyShared).build()?;
    consumer.subscribe().await?;
    let mut messages = consumer.receive().await?;
    for number in 0..MESSAGES {
        producer.send_with_key(number.to_string().into_bytes(), None, "key").await?;
    }
    for number in 0..MESSAGES {
        let message = timeout(LIMIT, messages.recv()).await?.context("the stream ended")?;
        ensure!(message.payload == number.to_string().as_bytes(), "{message:?} came instead of {number}");
        consumer.ack(&message).await?;
    }
    consumer.close().await;
    Ok(())
}
