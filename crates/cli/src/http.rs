//! The broker's HTTP port, as the commands that look after subscriptions and dead letters use it.
//!
//! One connection per request, no pool, no redirects: hyper's own connection is all it takes.

use crate::{
    failure::Failure,
    identity::{Credentials, Identity},
};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use keyway_runtime::Stream;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use std::{fmt::Write, path::Path, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer, bytes; pages of dead letters are the largest.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the broker's HTTP port is, and how long to wait for it.
#[derive(Args, Clone)]
pub(crate) struct Http {
    /// HTTP port of the broker
    #[arg(long = "http", value_name = "HOST:PORT", env = "KEYWAY_HTTP", default_value = "127.0.0.1:8080")]
    address: String,

    /// Longest wait for the broker's answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    #[command(flatten)]
    login: Credentials,
}

impl Http {
    /// Asks for what `path` shows.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// Sends a change.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(method, path, Some(body)).await
    }

    /// Deletes what `path` shows.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (authorization, tls) = (self.authorization()?, self.tls()?);
        let asked = tokio::time::timeout(
            Duration::from_secs(self.timeout),
            self.exchange(method, path, body, authorization, tls),
        );
        let (status, answer) = match asked.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(cause)) => return Err(self.no_answer(&cause)),
            Err(_) => return Err(self.no_answer(&format!("nothing within {} s", self.timeout))),
        };
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let answer: Option<Value> = serde_json::from_slice(&answer).ok();
        match answer {
            Some(value) if status.is_success() => Ok(value),
            Some(value) if value["error"]["code"].is_string() => Err(refused(status, &value["error"])),
            _ => Err(Failure::Failed(format!(
                "{} answers {status}, and not as a broker does; name another address with --http",
                self.address
            ))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        authorization: Option<HeaderValue>,
        tls: Option<TlsConnector>,
    ) -> Result<(StatusCode, Bytes), String> {
        let stream = self.connect(tls).await?;
        let (mut requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(bytes)).map_err(|error| error.to_string())?;
        let answer = requests.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        connection.abort();
        Ok((status, bytes.map_err(|error| error.to_string())?.to_bytes()))
    }

    async fn connect(&self, tls: Option<TlsConnector>) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let Some(tls) = tls else { return Ok(Box::new(stream)) };
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        Ok(Box::new(stream))
    }

    /// How the command logs in: a password is sent as Danube's clients send theirs.
    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let token = match self.login.identity()? {
            Identity::None => return Ok(None),
            Identity::User { name, password } => format!("{name}:{password}"),
            Identity::Token(token) => token,
        };
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| {
            Failure::Usage("the name, password or token has characters that no header may have".to_owned())
        })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// TLS that trusts the file of `--tls-ca`.
    fn tls(&self) -> Result<Option<TlsConnector>, Failure> {
        self.login.tls_ca.as_deref().map(connector).transpose()
    }

    fn no_answer(&self, cause: &str) -> Failure {
        Failure::Unavailable(format!(
            "no answer from {} ({cause}); start a broker with `keyway serve`, name another with --http, or add \
             --tls-ca FILE for one with TLS",
            self.address
        ))
    }
}

/// TLS that trusts the certificates of a PEM file.
fn connector(file: &Path) -> Result<TlsConnector, Failure> {
    let unusable = |cause: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "{} cannot be trusted: {cause}; name a PEM file with certificates",
            file.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it has no certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(&error))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sorts a refusal by what the user can do about it.
fn refused(status: StatusCode, error: &Value) -> Failure {
    let text = |field: &str| error[field].as_str().unwrap_or_default().replace('\n', " ");
    let line = format!("{}; {}", text("message"), text("next_step"));
    match status {
        StatusCode::NOT_FOUND => Failure::NotFound(line),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Failure::Usage(line),
        StatusCode::SERVICE_UNAVAILABLE => Failure::Unavailable(line),
        _ => Failure::Failed(line),
    }
}

/// A name as part of a path or query.
pub(crate) fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes all text");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths() {
        assert_eq!(encoded("orders.v1_eu-west~"), "orders.v1_eu-west~");
        assert_eq!(encoded("a/b ?&=%ü"), "a%2Fb%20%3F%26%3D%25%C3%BC");
    }
}
