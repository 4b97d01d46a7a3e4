//! Clients that prove who they are, against a broker with TLS and logins.

use super::stage::Stage;
use crate::broker::{Broker, Launch, free_address};
use crate::workspace;
use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The user of the producer's document, in the settings as Kafka's PLAIN wants it.
const USERS: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required user_USER=\"PASSWORD\";";

/// A broker with three listeners, and the files that its clients need.
struct Secured {
    broker: Broker,
    sasl_ssl: SocketAddr,
    ssl: SocketAddr,
    files: Files,
}

/// PEM files.
struct Files {
    authority: PathBuf,
    client: PathBuf,
    /// Signed by somebody whom the broker does not trust.
    stranger: PathBuf,
    server: PathBuf,
}

impl Files {
    fn make(folder: &Path) -> anyhow::Result<Self> {
        let authority = authority("authority")?;
        let foreign = self::authority("foreign")?;
        let files = Self {
            authority: folder.join("authority.pem"),
            client: folder.join("client.pem"),
            stranger: folder.join("stranger.pem"),
            server: folder.join("server.pem"),
        };
        fs::write(&files.authority, authority.pem())?;
        identity(&authority, "server", &files.server)?;
        identity(&authority, "client", &files.client)?;
        identity(&foreign, "client", &files.stranger)?;
        Ok(files)
    }
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A key and its certificate in one file that only its owner can read.
fn identity(authority: &CertifiedIssuer<'_, KeyPair>, name: &str, path: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    fs::write(path, format!("{}{}", key.serialize_pem(), certificate.pem()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}

impl Secured {
    async fn start(stage: &Stage<'_>) -> anyhow::Result<Self> {
        let files = Files::make(stage.folder())?;
        let (sasl_ssl, ssl) = (free_address()?, free_address()?);
        let settings = stage.folder().join("server.properties");
        let text = format!(
            "listeners=PLAINTEXT://127.0.0.1:9092,SASL_SSL://{sasl_ssl},SSL://{ssl}\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={server}\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={authority}\n\
             listener.name.ssl.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config={USERS}\n",
            server = files.server.display(),
            authority = files.authority.display(),
        );
        fs::write(&settings, text)?;
        let binary = stage.broker.keyway().context("the broker is this project's")?.to_owned();
        let options = vec!["--config".to_owned(), settings.display().to_string()];
        let launch = Launch::Keyway { binary, options };
        let broker = Broker::start(&launch, &stage.folder().join("secured"), stage.log()).await?;
        Ok(Self { broker, sasl_ssl, ssl, files })
    }
}

/// The connection block of the producer's document, SCRAM and client certificates, with Apache Kafka's own client.
pub(crate) async fn java(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut secured = Secured::start(stage).await?;
    let source = workspace::programs().join("kafka/SecureClients.java");
    let mut command = stage.tools.apache_kafka()?.source(&source);
    let addresses =
        [secured.broker.kafka(), secured.sasl_ssl, secured.ssl].map(|address| address.to_string());
    let Files { authority, client, stranger, .. } = &secured.files;
    command.args(addresses).args([authority, client, stranger]);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}

/// The same with librdkafka and kafka-python.
pub(crate) async fn python(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut secured = Secured::start(stage).await?;
    let mut command = stage.python("kafka/secure_clients.py", &[])?;
    let Files { authority, client, stranger, .. } = &secured.files;
    command.env("KAFKA", secured.broker.kafka().to_string());
    command.env("SASL_SSL", secured.sasl_ssl.to_string()).env("SSL", secured.ssl.to_string());
    command.env("CA", authority).env("CLIENT", client).env("STRANGER", stranger);
    let detail = stage.run(&mut command).await?.summary();
    secured.broker.check_alive()?;
    Ok(detail)
}
