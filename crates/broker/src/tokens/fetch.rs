//! Keys from their issuer, over HTTPS. Redirections are not followed: where keys come from is what the settings say.

use super::key_set::{KeySet, KeySetError, Origin, SET_BYTES_MAX};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use keyway_runtime::{Network, Stream};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject},
};
use std::{error::Error, io, path::Path, sync::Arc, time::Duration};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// How long a fetch may take, from the name's look-up to the last byte.
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// One address that keys are fetched from.
pub(super) struct Fetcher {
    uri: Uri,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

/// Why keys cannot be fetched from an address at all.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// It is no address.
    #[error("{url:?} is no address of HTTPS: {reason}")]
    Url {
        /// What it is.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The file of those who may sign the server's certificate cannot be read.
    #[error(
        "ssl.truststore.location of oauthbearer.sasl.jaas.config, {path}, cannot be read as PEM: {reason}"
    )]
    Trust {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The machine trusts nobody.
    #[error(
        "this machine has no certificates of authorities; install ca-certificates, or name a PEM file as \
         ssl.truststore.location in oauthbearer.sasl.jaas.config"
    )]
    NoTrust,
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it took longer than {FETCH_TIME_MAX:?}")]
    Slow,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer's status is {0}, and not 200")]
    Status(StatusCode),
    #[error("the answer broke off, or has more than {SET_BYTES_MAX} bytes: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

impl Fetcher {
    /// From this URL, of a server whose certificate `trusted`, a PEM file, or else the machine vouches for.
    pub(super) fn new(url: &str, trusted: Option<&Path>) -> Result<Self, FetcherError> {
        let wrong = |reason: String| FetcherError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| wrong(error.to_string()))?;
        let host = uri.host().ok_or_else(|| wrong("it names no host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it has a user".to_owned()));
        }
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|error: InvalidDnsNameError| wrong(error.to_string()))?;
        let roots = match trusted {
            Some(path) => of_file(path)?,
            None => of_machine()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has TLS 1.2 and 1.3");
        let tls = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let port = uri.port_u16().unwrap_or(443);
        Ok(Self { uri, host, port, name, tls })
    }

    /// The address, for people.
    pub(super) fn url(&self) -> &Uri {
        &self.uri
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self, network: &dyn Network) -> Result<KeySet, FetchError> {
        let fetched = tokio::time::timeout(FETCH_TIME_MAX, self.unhurried(network)).await;
        fetched.unwrap_or(Err(FetchError::Slow))
    }

    async fn unhurried(&self, network: &dyn Network) -> Result<KeySet, FetchError> {
        let stream = self.connect(network).await.map_err(FetchError::Connect)?;
        let tls = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), stream).await;
        let tls = tls.map_err(FetchError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        // Ends with the fetch, whatever the server does.
        let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
        let authority = self.uri.authority().expect("it has a host").as_str();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .body(Empty::<Bytes>::new())
            .expect("the parts of a URL fit into a request");
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body =
            Limited::new(answer.into_body(), SET_BYTES_MAX).collect().await.map_err(FetchError::Body)?;
        Ok(KeySet::read(&body.to_bytes(), Origin::Url)?)
    }

    /// A connection to the first of the host's addresses that takes one.
    async fn connect(&self, network: &dyn Network) -> io::Result<Box<dyn Stream>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            match network.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, FetcherError> {
    let wrong = |reason: String| FetcherError::Trust { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(format!("{error:?}")))? {
        let certificate = certificate.map_err(|error| wrong(format!("{error:?}")))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it has no certificate".to_owned()));
    }
    Ok(roots)
}

fn of_machine() -> Result<RootCertStore, FetcherError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(FetcherError::NoTrust) } else { Ok(roots) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use keyway_runtime::RealNetwork;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use std::{fs, net::SocketAddr, path::PathBuf};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    /// A server on this machine that gives these answers, one to each connection; and the file that vouches for it.
    pub(in crate::tokens) async fn server(folder: &Path, answers: Vec<String>) -> (SocketAddr, PathBuf) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let trusted = folder.join("issuer.pem");
        fs::write(&trusted, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(builder.with_single_cert(vec![cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = TlsAcceptor::from(config.clone()).accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let request = str::from_utf8(&request[..read]).unwrap();
                assert!(request.starts_with("GET /keys?v=1 HTTP/1.1\r\nhost: localhost:"), "{request}");
                // A client that has enough closes.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (address, trusted)
    }

    pub(in crate::tokens) fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: /keys\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn keys_come_over_https_and_nothing_else_does() {
        let point = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let ec = format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"{point}\",\"y\":\"{point}\"}}");
        let secret = format!("{{\"kty\":\"oct\",\"k\":\"{point}\"}}");
        let folder = tempfile::tempdir().unwrap();
        let answers = vec![
            answer("200 OK", &format!("{{\"keys\":[{ec},{secret}]}}")),
            answer("302 Found", &format!("{{\"keys\":[{ec}]}}")),
            answer("500 Oops", ""),
            answer("200 OK", &" ".repeat(SET_BYTES_MAX + 1)),
            answer("200 OK", "<html>"),
            answer("200 OK", &format!("{{\"keys\":[{secret}]}}")),
            answer("200 OK", "cut off").replace("Length: 7", "Length: 70"),
            "SSH-2.0-no\r\n".to_owned(),
            String::new(),
        ];
        let (address, trusted) = server(folder.path(), answers).await;
        let url = format!("https://localhost:{}/keys?v=1", address.port());
        let fetcher = Fetcher::new(&url, Some(&trusted)).unwrap();
        let set = fetcher.fetch(&RealNetwork).await.unwrap();
        assert_eq!((set.keys.len(), set.ignored.len()), (1, 1), "{:?}", set.ignored);
        for words in ["302", "500", "262144 bytes", "no JWKS", "from a file only", "broke off", "HTTP failed"]
        {
            let error = fetcher.fetch(&RealNetwork).await.err().unwrap().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        let (_, somebody_else) = server(tempfile::tempdir().unwrap().path(), Vec::new()).await;
        assert!(Fetcher::new(&url, Some(&somebody_else)).is_err(), "its file is gone");
        let (_, stranger) = server(folder.path(), Vec::new()).await;
        let fetcher = Fetcher::new(&url, Some(&stranger)).unwrap();
        let error = fetcher.fetch(&RealNetwork).await.err().unwrap().to_string();
        assert!(error.contains("cannot connect: invalid peer certificate"), "{error}");
    }
}
