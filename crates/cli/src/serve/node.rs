//! What a broker with these options would be like, for those who look before it runs.

use super::{Plan, Serve, listeners};
use crate::failure::Failure;
use keyway_broker::{BrokerSetting, KafkaListener};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A broker that does not run.
pub(crate) struct Node {
    /// Everything that would be listened on.
    pub(crate) fronts: Vec<Front>,
    /// Those of them that speak the Kafka protocol.
    pub(crate) kafka: Vec<KafkaListener>,
    /// The folder of everything that is stored.
    pub(crate) data: PathBuf,
    /// Kafka's settings by their names.
    pub(crate) settings: BTreeMap<String, String>,
    config: Option<PathBuf>,
}

/// One port.
pub(crate) struct Front {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// What is spoken there.
    pub(crate) protocol: &'static str,
    /// Every client has to prove who it is.
    pub(crate) authenticates: bool,
    /// Nobody on the way can read.
    pub(crate) encrypts: bool,
}

impl Serve {
    /// Reads and checks the options as a start would, but for who may reach the ports: that is to be told, not refused.
    pub(crate) fn node(self) -> Result<Node, Failure> {
        let given = self.given()?;
        let Plan { kafka, data, settings, .. } = self.plan(&given)?;
        let of_kafka = |listener: &KafkaListener| Front {
            name: listener.name.clone(),
            address: listener.address,
            protocol: listener.protocol.name(),
            authenticates: listeners::authenticates(&given, &listener.name, listener.protocol),
            encrypts: listener.protocol.has_tls(),
        };
        let open = |name: &str, address: SocketAddr, protocol: &'static str| Front {
            name: name.to_owned(),
            address,
            protocol,
            authenticates: false,
            encrypts: false,
        };
        let others = [
            open("gRPC", self.grpc, "Danube"),
            open("danube-admin", self.danube_admin, "Danube's administration"),
            open("HTTP", self.http, "metrics and administration"),
        ];
        let fronts = kafka.iter().map(of_kafka).chain(others).collect();
        Ok(Node { fronts, kafka, data, settings, config: self.config })
    }
}

impl Node {
    /// Most connections of one port.
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
