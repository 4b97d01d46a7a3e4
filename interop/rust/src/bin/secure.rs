//! Clients that log in over TLS: the connection block of the producer's document, SCRAM, and a client's certificate.
//!
//! The listener `SASL_SSL` speaks TLS 1.2 alone, as that document wants it, and `SSL` whatever the client prefers. `CA`,
//! `CLIENT` and `STRANGER` are PEM files; bob has a SCRAM password.

use std::env;

use anyhow::{Context, bail, ensure};
use krafka::auth::{AuthConfig, TlsConfig};
use rust_clients::{Client, Codec, Krafka, Librdkafka, Member, fill};

/// Records of each login.
const RECORDS: u32 = 20;

/// How a client says who it is.
#[derive(Clone, Copy, Debug)]
enum Login {
    Plain(&'static str, &'static str),
    ScramSha256(&'static str, &'static str),
    ScramSha512(&'static str, &'static str),
    /// By the file that an environment variable names.
    Certificate(&'static str),
    Nothing,
}
use Login::{Certificate, Nothing, Plain, ScramSha256, ScramSha512};

const TAKEN: [Login; 4] = [
    Plain("USER", "PASSWORD"),
    ScramSha256("bob", "bob=secret,"),
    ScramSha512("bob", "bob=secret,"),
    Certificate("CLIENT"),
];
const REFUSED: [Login; 5] = [
    Plain("USER", "WRONG"),
    ScramSha256("NOBODY", "x"),
    ScramSha512("bob", "WRONG"),
    Certificate("STRANGER"),
    Nothing,
];

impl Login {
    fn address(self) -> anyhow::Result<String> {
        Ok(env::var(if matches!(self, Certificate(_) | Nothing) { "SSL" } else { "SASL_SSL" })?)
    }

    fn librdkafka(self) -> anyhow::Result<Librdkafka> {
        let authority = env::var("CA")?;
        let sasl = |mechanism, user, password| {
            let login =
                [("sasl.mechanisms", mechanism), ("sasl.username", user), ("sasl.password", password)];
            [&[("security.protocol", "SASL_SSL")], &login[..]].concat()
        };
        let file;
        let own = match self {
            Plain(user, password) => sasl("PLAIN", user, password),
            ScramSha256(user, password) => sasl("SCRAM-SHA-256", user, password),
            ScramSha512(user, password) => sasl("SCRAM-SHA-512", user, password),
            Certificate(variable) => {
                file = env::var(variable)?;
                let identity = [("ssl.certificate.location", &*file), ("ssl.key.location", &*file)];
                [&[("security.protocol", "SSL")], &identity[..]].concat()
            }
            Nothing => vec![("security.protocol", "SSL")],
        };
        Ok(Librdkafka::classic(&self.address()?)
            .with(&[&[("ssl.ca.location", &*authority)], &own[..]].concat()))
    }

    fn krafka(self) -> anyhow::Result<Krafka> {
        let tls = TlsConfig::new().with_ca_cert(env::var("CA")?);
        let login = match self {
            Plain(user, password) => AuthConfig::sasl_plain(user, password).with_tls(tls),
            ScramSha256(user, password) => AuthConfig::sasl_scram_sha256(user, password).with_tls(tls),
            ScramSha512(user, password) => AuthConfig::sasl_scram_sha512(user, password).with_tls(tls),
            Certificate(variable) => {
                let file = env::var(variable)?;
                AuthConfig::ssl(tls.with_client_cert(file.clone(), file))
            }
            Nothing => AuthConfig::ssl(tls),
        };
        Ok(Krafka::classic(&self.address()?).with(login))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    for (number, login) in TAKEN.into_iter().enumerate() {
        round_trip(&login.librdkafka()?, &format!("rdkafka-{number}"))
            .await
            .with_context(|| format!("rdkafka by {login:?}"))?;
        round_trip(&login.krafka()?, &format!("krafka-{number}"))
            .await
            .with_context(|| format!("krafka by {login:?}"))?;
    }
    for login in REFUSED {
        let rdkafka = login.librdkafka()?.refusal().with_context(|| format!("rdkafka by {login:?}"))?;
        let Err(krafka) = login.krafka()?.create_topic("refused").await else {
            bail!("krafka is let in by {login:?}");
        };
        for complaint in [rdkafka, format!("{krafka:#}")] {
            ensure!(tells_why(&complaint), "{login:?} is refused with {complaint:?}");
        }
    }
    println!(
        "rdkafka and krafka by PLAIN, SCRAM-SHA-256 and -512 over TLS 1.2, and by a certificate: {} records; {} logins refused",
        2 * RECORDS * TAKEN.len() as u32,
        2 * REFUSED.len()
    );
    Ok(())
}

/// Whether it is the login that is complained of.
fn tells_why(complaint: &str) -> bool {
    // The last two are alerts of TLS in krafka's words.
    ["uthentication", "certificate", "handshake", "UnknownCA", "CertificateRequired"]
        .iter()
        .any(|word| complaint.contains(word))
}

/// Produces and reads back, as a member of a group.
async fn round_trip(client: &impl Client, topic: &str) -> anyhow::Result<()> {
    client.create_topic(topic).await?;
    client.produce(topic, 0..RECORDS, Codec::Lz4).await?;
    let mut member = client.join(topic, topic).await?;
    fill(&mut member, 0..RECORDS).await?;
    member.commit().await?;
    member.leave().await
}
