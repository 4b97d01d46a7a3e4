//! Where clients are served: each listener with its name, its security, and the address that its clients are told.

use crate::{
    config::KafkaListener,
    fronts,
    node::StartError,
    sasl::{SaslError, SaslSettings},
    settings::Layers,
    tls::{Tls, TlsSettings},
    tokens::Tokens,
};
use keyway_access::SecurityProtocol;
use std::{net::SocketAddr, sync::Arc};

/// One listener of a running broker.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) protocol: SecurityProtocol,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where its clients are told to connect.
    pub(crate) advertised: (String, u16),
    pub(crate) tls: Option<Arc<Tls>>,
    /// How clients log in, if they have to.
    pub(crate) sasl: Option<SaslSettings>,
}

/// What is listened on.
pub(crate) struct Listening {
    /// In the order of the settings.
    pub(crate) kafka: Vec<(KafkaListener, SocketAddr)>,
    pub(crate) grpc: SocketAddr,
    pub(crate) danube_admin: SocketAddr,
    pub(crate) http: SocketAddr,
}

#[cfg(test)]
impl Listening {
    /// As if every port of `config` were listened on.
    pub(crate) fn planned(config: &crate::Config) -> Self {
        let kafka = config.kafka.iter().map(|listener| (listener.clone(), listener.address));
        let &crate::Config { grpc, danube_admin, http, .. } = config;
        Self { kafka: kafka.collect(), grpc, danube_admin, http }
    }
}

/// All of them, those of Kafka in the order of the settings.
pub(crate) struct Listeners {
    kafka: Vec<Arc<Endpoint>>,
    pub(crate) grpc: Arc<Endpoint>,
    pub(crate) danube_admin: Arc<Endpoint>,
    pub(crate) http: Arc<Endpoint>,
}

impl Listeners {
    /// Reads what each listener needs.
    pub(crate) fn new(
        listening: &Listening,
        layers: &Layers,
        plain_without_tls: bool,
    ) -> Result<Self, StartError> {
        let of_kafka = |(listener, address): &(KafkaListener, SocketAddr)| {
            let KafkaListener { name, protocol, advertised, .. } = listener.clone();
            if [fronts::GRPC, fronts::DANUBE_ADMIN, fronts::HTTP].contains(&name.as_str()) {
                return Err(StartError::NameTaken { listener: name });
            }
            let advertised = advertised.unwrap_or_else(|| (address.ip().to_string(), address.port()));
            let tls = protocol.has_tls().then(|| tls(layers, &name, None)).transpose()?;
            let sasl = protocol.has_sasl().then(|| sasl(layers, &name)).transpose()?;
            Ok(Endpoint { name, protocol, address: *address, advertised, tls, sasl })
        };
        let of_front = |name: &str, address: SocketAddr, alpn: &[u8]| {
            let protocol = layers
                .protocol(name)
                .map_err(|cause| StartError::Protocol { listener: name.to_owned(), cause })?;
            let tls = protocol.has_tls().then(|| tls(layers, name, Some(alpn))).transpose()?;
            let sasl = protocol.has_sasl().then(|| sasl(layers, name)).transpose()?;
            let sasl = sasl.map(SaslSettings::of_front).transpose();
            let sasl = sasl.map_err(|cause| StartError::Sasl { listener: name.to_owned(), cause })?;
            let advertised = (address.ip().to_string(), address.port());
            Ok(Endpoint { name: name.to_owned(), protocol, address, advertised, tls, sasl })
        };
        let hidden = |endpoint: Endpoint| match endpoint.shown().filter(|_| !plain_without_tls) {
            None => Ok(Arc::new(endpoint)),
            Some((mechanism, secrets)) => {
                let cause = SaslError::PlainWithoutTls { mechanism, secrets, address: endpoint.address };
                Err(StartError::Sasl { listener: endpoint.name, cause })
            }
        };
        let kafka = listening.kafka.iter().map(|one| of_kafka(one).and_then(hidden));
        Ok(Self {
            kafka: kafka.collect::<Result<_, StartError>>()?,
            grpc: of_front(fronts::GRPC, listening.grpc, b"h2").and_then(hidden)?,
            danube_admin: of_front(fronts::DANUBE_ADMIN, listening.danube_admin, b"h2").and_then(hidden)?,
            http: of_front(fronts::HTTP, listening.http, b"http/1.1").and_then(hidden)?,
        })
    }

    /// TLS of all listeners that have it.
    pub(crate) fn tls(&self) -> impl Iterator<Item = &Arc<Tls>> {
        let fronts = [&self.grpc, &self.danube_admin, &self.http];
        self.kafka.iter().chain(fronts).filter_map(|endpoint| endpoint.tls.as_ref())
    }

    /// Who checks tokens, of all listeners that take them.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Arc<Tokens>> {
        let fronts = [&self.grpc, &self.danube_admin, &self.http];
        self.kafka.iter().chain(fronts).filter_map(|endpoint| endpoint.sasl.as_ref()?.tokens())
    }

    /// Whether clients of any listener prove who they are, or hide what they say.
    pub(crate) fn is_any_secured(&self) -> bool {
        let fronts = [&self.grpc, &self.danube_admin, &self.http];
        self.kafka.iter().chain(fronts).any(|endpoint| endpoint.protocol != SecurityProtocol::Plaintext)
    }

    /// Every listener for Kafka clients.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.kafka.iter()
    }

    /// Where clients that came through this listener are told to connect.
    pub(crate) fn advertised(&self, listener: &str) -> (String, u16) {
        let named = self.kafka.iter().find(|endpoint| endpoint.name == listener);
        named.expect("callers come through listeners that there are").advertised.clone()
    }
}

impl Endpoint {
    /// The mechanism, and what everybody on the way to it could read of it; `None` if nobody could.
    fn shown(&self) -> Option<(&'static str, &'static str)> {
        let hidden = self.protocol.has_tls() || self.address.ip().is_loopback();
        self.sasl.as_ref().filter(|_| !hidden)?.shown()
    }
}

fn sasl(layers: &Layers, listener: &str) -> Result<SaslSettings, StartError> {
    let settings = SaslSettings::read_from(|name| layers.of_listener(listener, name));
    settings.map_err(|cause| StartError::Sasl { listener: listener.to_owned(), cause })
}

/// TLS of a listener, inside of which `alpn` is spoken.
fn tls(layers: &Layers, listener: &str, alpn: Option<&[u8]>) -> Result<Arc<Tls>, StartError> {
    let settings = TlsSettings::read_from(|name| layers.of_listener(listener, name));
    let speaking = |settings: TlsSettings| match alpn {
        None => settings,
        Some(alpn) => settings.speaking(alpn),
    };
    let tls = settings.map(speaking).and_then(Tls::new);
    let tls = tls.map_err(|cause| StartError::Tls { listener: listener.to_owned(), cause })?;
    Ok(Arc::new(tls))
}
