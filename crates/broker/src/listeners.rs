//! Where clients are served: each listener with its name, its security, and the address that its clients are told.

use crate::{
    config::KafkaListener,
    fronts,
    limits::Seldom,
    logins::Logins,
    node::StartError,
    sasl::{SaslError, SaslSettings},
    settings::Layers,
    tls::{Tls, TlsSettings},
    tokens::Tokens,
};
use keyway_access::SecurityProtocol;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

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
    pub(crate) logins: Logins,
    /// Connections that ended because of what their clients sent.
    pub(crate) faults: Seldom,
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
        let read = |name: &str, protocol, address: SocketAddr, advertised: Option<(String, u16)>| {
            let advertised = advertised.unwrap_or_else(|| (address.ip().to_string(), address.port()));
            Endpoint::read(layers, name, protocol, address, advertised, plain_without_tls).map(Arc::new)
        };
        let of_kafka = |(listener, address): &(KafkaListener, SocketAddr)| {
            let KafkaListener { name, protocol, advertised, .. } = listener;
            if fronts::speaks(name).is_some() {
                return Err(StartError::NameTaken { listener: name.clone() });
            }
            read(name, *protocol, *address, advertised.clone())
        };
        let of_front = |name: &str, address| {
            let protocol = layers
                .protocol(name)
                .map_err(|cause| StartError::Protocol { listener: name.to_owned(), cause })?;
            read(name, protocol, address, None)
        };
        Ok(Self {
            kafka: listening.kafka.iter().map(of_kafka).collect::<Result<_, StartError>>()?,
            grpc: of_front(fronts::GRPC, listening.grpc)?,
            danube_admin: of_front(fronts::DANUBE_ADMIN, listening.danube_admin)?,
            http: of_front(fronts::HTTP, listening.http)?,
        })
    }

    /// Every listener.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.kafka.iter().chain([&self.grpc, &self.danube_admin, &self.http])
    }

    /// TLS of all listeners that have it.
    pub(crate) fn tls(&self) -> impl Iterator<Item = &Arc<Tls>> {
        self.all().filter_map(|endpoint| endpoint.tls.as_ref())
    }

    /// Who checks tokens, of all listeners that take them.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Arc<Tokens>> {
        self.all().filter_map(|endpoint| endpoint.sasl.as_ref()?.tokens())
    }

    /// Whether clients of any listener prove who they are, or hide what they say.
    pub(crate) fn is_any_secured(&self) -> bool {
        self.all().any(|endpoint| endpoint.protocol != SecurityProtocol::Plaintext)
    }

    /// Every listener for Kafka clients.
    pub(crate) fn kafka(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.kafka.iter()
    }

    /// Where clients that came through this listener are told to connect.
    pub(crate) fn advertised(&self, listener: &str) -> (String, u16) {
        let named = self.kafka.iter().find(|endpoint| endpoint.name == listener);
        named.expect("callers come through listeners that there are").advertised.clone()
    }
}

/// Whether a broker that is started with these settings can serve the listener: what it shows and how clients log in there.
/// Nothing is listened on.
pub fn check_listener(
    name: &str,
    protocol: SecurityProtocol,
    address: SocketAddr,
    settings: &BTreeMap<String, String>,
    plain_without_tls: bool,
) -> Result<(), StartError> {
    let layers = Layers { start: settings.clone(), ..Layers::default() };
    let advertised = (address.ip().to_string(), address.port());
    Endpoint::read(&layers, name, protocol, address, advertised, plain_without_tls).map(drop)
}

impl Endpoint {
    /// Reads what the listener needs.
    fn read(
        layers: &Layers,
        name: &str,
        protocol: SecurityProtocol,
        address: SocketAddr,
        advertised: (String, u16),
        plain_without_tls: bool,
    ) -> Result<Self, StartError> {
        let speaks = fronts::speaks(name);
        let tls = protocol.has_tls().then(|| tls(layers, name, speaks)).transpose()?;
        let refused = |cause| StartError::Sasl { listener: name.to_owned(), cause };
        let sasl = protocol.has_sasl().then(|| sasl(layers, name)).transpose().map_err(refused)?;
        let endpoint = Self {
            name: name.to_owned(),
            protocol,
            address,
            advertised,
            tls,
            sasl,
            logins: Logins::default(),
            faults: Seldom::default(),
        };
        match endpoint.shown().filter(|_| !plain_without_tls) {
            None => Ok(endpoint),
            Some((mechanism, secrets)) => {
                Err(refused(SaslError::PlainWithoutTls { mechanism, secrets, address }))
            }
        }
    }

    /// The mechanism, and what everybody on the way to it could read of it; `None` if nobody could.
    fn shown(&self) -> Option<(&'static str, &'static str)> {
        let hidden = self.protocol.has_tls() || self.address.ip().is_loopback();
        self.sasl.as_ref().filter(|_| !hidden)?.shown()
    }
}

fn sasl(layers: &Layers, listener: &str) -> Result<SaslSettings, SaslError> {
    let settings = SaslSettings::read_from(|name| layers.of_listener(listener, name))?;
    if fronts::speaks(listener).is_some() { settings.of_front() } else { Ok(settings) }
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
