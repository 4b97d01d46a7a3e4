//! Where Kafka clients are served: each listener with its name, its security, and the address that its clients are told.

use crate::{
    config::KafkaListener,
    node::StartError,
    sasl::{SaslError, SaslSettings},
    settings::Layers,
    tls::{Tls, TlsSettings},
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

/// All of them, in the order of the settings.
pub(crate) struct Listeners {
    kafka: Vec<Arc<Endpoint>>,
}

impl Listeners {
    /// Reads what each listener needs; `listening` are those that are listened on, with their addresses.
    pub(crate) fn new(
        listening: &[(KafkaListener, SocketAddr)],
        layers: &Layers,
        plain_without_tls: bool,
    ) -> Result<Self, StartError> {
        let endpoint = |(listener, address): &(KafkaListener, SocketAddr)| {
            let KafkaListener { name, protocol, advertised, .. } = listener.clone();
            let advertised = advertised.unwrap_or_else(|| (address.ip().to_string(), address.port()));
            let tls = protocol.has_tls().then(|| tls(layers, &name)).transpose()?;
            let sasl = protocol.has_sasl().then(|| sasl(layers, &name)).transpose()?;
            let shows_passwords = sasl.as_ref().is_some_and(SaslSettings::has_plain)
                && !protocol.has_tls()
                && !address.ip().is_loopback();
            if shows_passwords && !plain_without_tls {
                let cause = SaslError::PlainWithoutTls { address: *address };
                return Err(StartError::Sasl { listener: name, cause });
            }
            Ok(Arc::new(Endpoint { name, protocol, address: *address, advertised, tls, sasl }))
        };
        Ok(Self { kafka: listening.iter().map(endpoint).collect::<Result<_, StartError>>()? })
    }

    /// Every listener.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.kafka.iter()
    }

    /// Where clients that came through this listener are told to connect.
    pub(crate) fn advertised(&self, listener: &str) -> (String, u16) {
        let named = self.kafka.iter().find(|endpoint| endpoint.name == listener);
        named.expect("callers come through listeners that there are").advertised.clone()
    }
}

fn sasl(layers: &Layers, listener: &str) -> Result<SaslSettings, StartError> {
    let settings = SaslSettings::read_from(|name| layers.of_listener(listener, name));
    settings.map_err(|cause| StartError::Sasl { listener: listener.to_owned(), cause })
}

fn tls(layers: &Layers, listener: &str) -> Result<Arc<Tls>, StartError> {
    let settings = TlsSettings::read_from(|name| layers.of_listener(listener, name));
    let tls = settings.and_then(Tls::new);
    let tls = tls.map_err(|cause| StartError::Tls { listener: listener.to_owned(), cause })?;
    Ok(Arc::new(tls))
}
