//! The address under which a client reached this broker, for the URLs it is told to use.
//!
//! The address listened on may be one that no other machine can use; the one that the client itself used is known to work.

use crate::listeners::Endpoint;
use std::{
    net::SocketAddr,
    task::{Context, Poll},
};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

/// `scheme://host:port` of this broker, as the client of one request knows it.
#[derive(Clone, Debug)]
pub(super) struct BrokerUrl(pub(super) String);

/// Puts a [`BrokerUrl`] beside every request of a service.
#[derive(Clone, Debug)]
pub(super) struct WithBrokerUrl<S> {
    service: S,
    listening: SocketAddr,
    scheme: Scheme,
}

/// How URLs of this port begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl<S> WithBrokerUrl<S> {
    pub(super) fn new(service: S, endpoint: &Endpoint) -> Self {
        let scheme = if endpoint.tls.is_some() { Scheme::Https } else { Scheme::Http };
        Self { service, listening: endpoint.address, scheme }
    }
}

impl<S: NamedService> NamedService for WithBrokerUrl<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for WithBrokerUrl<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let url = broker_url(&request, self.scheme, self.listening);
        request.extensions_mut().insert(url);
        self.service.call(request)
    }
}

fn broker_url<B>(request: &http::Request<B>, scheme: Scheme, listening: SocketAddr) -> BrokerUrl {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let from_host = || host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let authority = request.uri().authority().cloned().or_else(from_host);
    let authority = authority.filter(|authority| !authority.host().is_empty());
    let name = scheme.name();
    BrokerUrl(match authority {
        Some(authority) => {
            let port = authority.port_u16().unwrap_or(scheme.default_port());
            format!("{name}://{}:{port}", authority.host())
        }
        None => format!("{name}://{listening}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(uri: &str, host: Option<&str>) -> String {
        url_of(Scheme::Http, uri, host)
    }

    fn url_of(scheme: Scheme, uri: &str, host: Option<&str>) -> String {
        let mut request = http::Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        broker_url(&request.body(()).unwrap(), scheme, "127.0.0.1:6650".parse().unwrap()).0
    }

    #[test]
    fn the_url_is_the_one_that_the_client_used() {
        assert_eq!(
            url("http://broker.lan:6650/danube.Discovery/TopicLookup", None),
            "http://broker.lan:6650"
        );
        assert_eq!(url("http://user@[::1]:7000/x", None), "http://[::1]:7000");
        assert_eq!(url("/x", Some("10.0.0.7:6650")), "http://10.0.0.7:6650");
        assert_eq!(url("http://broker.lan/x", None), "http://broker.lan:80");
        assert_eq!(url("/x", None), "http://127.0.0.1:6650");
        assert_eq!(url_of(Scheme::Https, "/x", Some("broker.lan")), "https://broker.lan:443");
        assert_eq!(url_of(Scheme::Https, "/x", None), "https://127.0.0.1:6650");
    }
}
