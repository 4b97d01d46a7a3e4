//! What a broker with these options would be like, for those who look before it runs.

use super::{Plan, Serve, listeners};
use crate::failure::Failure;
use keyway_broker::{BrokerSetting, KafkaListener, SecurityProtocol};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A broker that does not run.
pub(crate) struct Node {
    /// Everything that would be listened on.
    pub(crate) fronts: Vec<Front>,
    /// The folder of everything that is stored.
    pub(crate) data: PathBuf,
    /// Kafka's settings by their names.
    pub(crate) settings: BTreeMap<String, String>,
    /// PLAIN may be used where everybody on the way can read passwords.
    pub(crate) plain_without_tls: bool,
    config: Option<PathBuf>,
}

/// One port.
pub(crate) struct Front {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// What clients do first.
    pub(crate) protocol: SecurityProtocol,
    /// What is spoken there.
    pub(crate) speaks: &'static str,
    /// The host that clients are told to connect to, if that is another one.
    pub(crate) advertised: Option<String>,
    /// Every client has to prove who it is.
    pub(crate) authenticates: bool,
}

impl Serve {
    /// Reads and checks the options as a start would, but for who may reach the ports: that is to be told, not refused.
    pub(crate) fn node(self) -> Result<Node, Failure> {
        let given = self.given()?;
        let Plan { kafka, data, settings, .. } = self.plan(&given)?;
        let of_kafka = |listener: &KafkaListener| Front {
            name: listener.name.clone(),
            address: listener.address,
            protocol: listener.protocol,
            speaks: "Kafka",
            advertised: listener.advertised.as_ref().map(|(host, _)| host.clone()),
            authenticates: listeners::authenticates(&given, &listener.name, listener.protocol),
        };
        let of_front = |listeners::Front { name, address, protocol }: listeners::Front| Front {
            name: name.to_owned(),
            address,
            protocol,
            speaks: match name {
                "GRPC" => "Danube",
                "DANUBE_ADMIN" => "Danube's administration",
                _ => "metrics and administration",
            },
            advertised: None,
            authenticates: listeners::authenticates(&given, name, protocol),
        };
        let fronts = kafka.iter().map(of_kafka).chain(self.fronts(&given)?.map(of_front)).collect();
        let Self { plain_without_tls, config, .. } = self;
        Ok(Node { fronts, data, settings, plain_without_tls, config })
    }
}

impl Node {
    /// Most connections of clients.
    pub(crate) fn connections_max(&self) -> u64 {
        let name = "max.connections";
        let own = self.settings.get(name).and_then(|value| value.parse().ok());
        let default = || BrokerSetting::named(name)?.default_value()?.parse().ok();
        own.or_else(default).expect("the setting has a number")
    }

    /// The file of settings, if one of them is a secret.
    pub(crate) fn config_with_secrets(&self) -> Option<&Path> {
        let is_secret = |name: &String| BrokerSetting::of_any(name).is_some_and(BrokerSetting::is_secret);
        self.settings.keys().any(is_secret).then_some(self.config.as_deref()).flatten()
    }
}
