//! Kafka's `listeners` and `advertised.listeners`: where Kafka clients are served, and what they have to do first.

use super::given::{Given, Value};
use crate::failure::Failure;
use keyway_broker::{KafkaListener, SecurityProtocol};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";

/// Where Kafka listens by default.
const DEFAULT_ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9092);

/// What the settings say about where Kafka clients are served.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Listeners {
    /// One at least.
    pub(super) all: Vec<KafkaListener>,
    /// What to tell about the first.
    pub(super) note: Option<String>,
}

/// One `NAME://host:port`.
struct Endpoint<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

/// Reads the settings. `open` says whether other machines may reach the broker, whoever they are.
pub(super) fn read(given: &Given, open: bool) -> Result<Listeners, Failure> {
    let advertised = given.get(ADVERTISED);
    let Some(value) = given.get(LISTENERS) else {
        let own = advertised.map(|value| of_clients(given, value)).transpose()?.unwrap_or_default();
        let plaintext = KafkaListener::plaintext(DEFAULT_ADDRESS);
        if let (Some(other), Some(value)) = (own.iter().find(|one| one.name != plaintext.name), advertised) {
            return Err(refused(
                value,
                &format!("has {}, which is not in {LISTENERS}; add it there", other.name),
            ));
        }
        let advertised = own.first().map(|endpoint| (endpoint.host.to_owned(), endpoint.port));
        return Ok(Listeners { all: vec![KafkaListener { advertised, ..plaintext }], note: None });
    };
    let endpoints = of_clients(given, value)?;
    if endpoints.is_empty() {
        return Err(refused(
            value,
            "names no listener for clients; add one, such as PLAINTEXT://127.0.0.1:9092",
        ));
    }
    let (mut all, mut notes): (Vec<KafkaListener>, Vec<Option<String>>) = (Vec::new(), Vec::new());
    for endpoint in &endpoints {
        if all.iter().any(|other| other.name == endpoint.name) {
            return Err(refused(
                value,
                &format!("names {} twice; give each listener its own name", endpoint.name),
            ));
        }
        let (listener, note) = listener(given, value, endpoint, open)?;
        all.push(listener);
        notes.push(note);
    }
    Ok(Listeners { all, note: notes.swap_remove(0) })
}

/// One listener, and what to tell about it.
fn listener(
    given: &Given,
    value: &Value,
    endpoint: &Endpoint<'_>,
    open: bool,
) -> Result<(KafkaListener, Option<String>), Failure> {
    let protocol = protocol(given, value, endpoint.name)?;
    let name = endpoint.name.to_owned();
    let advertised = match given.get(ADVERTISED) {
        None => None,
        Some(value) => {
            let same = all(value)?.into_iter().find(|other| other.name == name);
            let missing = || refused(value, &format!("has no {name}, which {LISTENERS} names; add it"));
            let same = same.ok_or_else(missing)?;
            if same.host.is_empty() {
                return Err(refused(value, "names no host that clients can connect to; add one"));
            }
            Some((same.host.to_owned(), same.port))
        }
    };
    let open = open || authenticates(given, &name, protocol);
    let (ip, note) = match endpoint.host {
        // Kafka listens on every interface then. Where clients are told of this machine only, nobody misses the others.
        "" if open => (Ipv4Addr::UNSPECIFIED.into(), None),
        "" if advertised.as_ref().is_none_or(|(host, _)| is_loopback(host)) => {
            let note = format!(
                "listening on 127.0.0.1:{} only, because clients do not have to prove who they are; \
                 --insecure-bind-anyway listens on every interface",
                endpoint.port
            );
            (Ipv4Addr::LOCALHOST.into(), Some(note))
        }
        "" => (Ipv4Addr::UNSPECIFIED.into(), None),
        host => (resolve(value, host)?, None),
    };
    let address = SocketAddr::new(ip, endpoint.port);
    Ok((KafkaListener { name, protocol, address, advertised }, note))
}

/// Where the port of this name listens, and how it is secured.
pub(super) struct Front {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) protocol: SecurityProtocol,
}

/// Whether every client of a listener has to prove who it is.
pub(super) fn authenticates(given: &Given, listener: &str, protocol: SecurityProtocol) -> bool {
    let required = || {
        let own = given.get(&format!("listener.name.{}.ssl.client.auth", listener.to_lowercase()));
        own.or(given.get("ssl.client.auth")).is_some_and(|value| value.text == "required")
    };
    protocol.has_sasl() || (protocol.has_tls() && required())
}

/// How the front of this name is secured, `GRPC`, `DANUBE_ADMIN` or `HTTP`: as the map says, or not at all.
pub(super) fn front(given: &Given, name: &str) -> Result<SecurityProtocol, Failure> {
    match given.get(PROTOCOLS).filter(|map| mapped(map, name).is_some()) {
        Some(map) => protocol(given, map, name),
        None => Ok(SecurityProtocol::Plaintext),
    }
}

/// What a map of listeners says of one.
fn mapped<'a>(map: &'a Value, name: &str) -> Option<&'a str> {
    let mut pairs = map.text.split(',').filter_map(|pair| pair.trim().split_once(':'));
    pairs.find(|(listener, _)| listener.trim() == name).map(|(_, protocol)| protocol.trim())
}

/// The listeners for clients, which are those that are not the controller's.
fn of_clients<'a>(given: &Given, value: &'a Value) -> Result<Vec<Endpoint<'a>>, Failure> {
    let controllers = given.get("controller.listener.names").map_or("", |value| value.text.as_str());
    let is_controller = |name: &str| controllers.split(',').any(|other| other.trim() == name);
    Ok(all(value)?.into_iter().filter(|endpoint| !is_controller(endpoint.name)).collect())
}

fn all(value: &Value) -> Result<Vec<Endpoint<'_>>, Failure> {
    let parts = value.text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let wrong = || refused(value, &format!("'{part}' is not of the form NAME://HOST:PORT"));
            let (name, rest) = part.split_once("://").ok_or_else(wrong)?;
            let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok(Endpoint { name, host, port: port.parse().map_err(|_| wrong())? })
        })
        .collect()
}

/// The security protocol of a listener: by the map, or else its name is the protocol's.
fn protocol(given: &Given, listeners: &Value, name: &str) -> Result<SecurityProtocol, Failure> {
    let map = given.get(PROTOCOLS);
    let found = map.and_then(|map| Some((mapped(map, name)?, map)));
    let (text, place) = found.unwrap_or((name, listeners));
    text.parse().map_err(|error| {
        refused(place, &format!("does not say what {name} is: {error}; add {name}:PROTOCOL to {PROTOCOLS}"))
    })
}

fn resolve(value: &Value, host: &str) -> Result<IpAddr, Failure> {
    let unknown = |cause: &dyn std::fmt::Display| {
        refused(
            value,
            &format!("the host {host} has no address here: {cause}; write an address of this machine"),
        )
    };
    let mut found = (host, 0).to_socket_addrs().map_err(|error| unknown(&error))?;
    found.next().map(|address| address.ip()).ok_or_else(|| unknown(&"none was found"))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn refused(value: &Value, reason: &str) -> Failure {
    Failure::Usage(format!("{}: {} {reason}", value.origin, value.text))
}

#[cfg(test)]
mod tests {
    use super::{super::given::tests::given, *};

    fn only(listeners: &Listeners) -> &KafkaListener {
        assert_eq!(listeners.all.len(), 1);
        &listeners.all[0]
    }

    #[test]
    fn kafka_s_own_file_is_served_on_this_machine() {
        let settings = given(&[
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ]);
        let listeners = read(&settings, false).unwrap();
        assert_eq!(only(&listeners).address.to_string(), "127.0.0.1:9092");
        assert_eq!(only(&listeners).advertised, Some(("localhost".to_owned(), 9092)));
        assert!(listeners.note.is_some());
        let open = read(&settings, true).unwrap();
        assert_eq!((only(&open).address.to_string().as_str(), &open.note), ("0.0.0.0:9092", &None));
    }

    #[test]
    fn names_are_mapped_to_protocols_and_hosts_to_addresses() {
        let settings = given(&[
            ("listeners", "INSIDE://[::1]:9192"),
            ("advertised.listeners", "INSIDE://db.example:9292"),
            ("listener.security.protocol.map", "INSIDE:PLAINTEXT"),
        ]);
        let listeners = read(&settings, false).unwrap();
        assert_eq!(only(&listeners).address.to_string(), "[::1]:9192");
        assert_eq!(only(&listeners).advertised, Some(("db.example".to_owned(), 9292)));
        let none = read(&given(&[]), false).unwrap();
        assert_eq!(*only(&none), KafkaListener::plaintext(DEFAULT_ADDRESS));
        let advertised_only = read(&given(&[("advertised.listeners", "PLAINTEXT://a:1")]), false).unwrap();
        assert_eq!(only(&advertised_only).advertised, Some(("a".to_owned(), 1)));
    }

    #[test]
    fn listeners_where_clients_prove_who_they_are_are_on_every_interface() {
        let settings = given(&[
            ("listeners", "SASL_SSL://:9094,INSIDE://127.0.0.1:9092,CERTIFIED://:9095"),
            ("listener.security.protocol.map", "INSIDE:PLAINTEXT, CERTIFIED:SSL,SASL_SSL:SASL_SSL"),
            ("advertised.listeners", "SASL_SSL://a:1,INSIDE://b:2,CERTIFIED://c:3"),
            ("listener.name.certified.ssl.client.auth", "required"),
        ]);
        let listeners = read(&settings, false).unwrap();
        let read: Vec<_> = listeners.all.iter().map(|one| (one.protocol, one.address.to_string())).collect();
        use SecurityProtocol::{Plaintext, SaslSsl, Ssl};
        let expected = [(SaslSsl, "0.0.0.0:9094"), (Plaintext, "127.0.0.1:9092"), (Ssl, "0.0.0.0:9095")];
        assert_eq!(read, expected.map(|(protocol, address)| (protocol, address.to_owned())));
        assert_eq!(listeners.all[2].advertised, Some(("c".to_owned(), 3)));
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        for (settings, words) in [
            (&[("listeners", "OUTSIDE://:9094")][..], "add OUTSIDE:PROTOCOL"),
            (&[("listeners", "A://:1"), ("listener.security.protocol.map", "A:TLS")], "TLS is no security"),
            (&[("listeners", "PLAINTEXT://:1,PLAINTEXT://:2")], "twice"),
            (&[("listeners", "CONTROLLER://:1"), ("controller.listener.names", "CONTROLLER")], "no listener"),
            (&[("listeners", "9092")], "NAME://HOST:PORT"),
            (&[("listeners", "PLAINTEXT://:many")], "NAME://HOST:PORT"),
            (&[("listeners", "PLAINTEXT://:1"), ("advertised.listeners", "OTHER://a:1")], "PLAINTEXT"),
            (&[("listeners", "PLAINTEXT://:1"), ("advertised.listeners", "PLAINTEXT://:1")], "no host"),
            (&[("advertised.listeners", "SSL://a:1")], "not in listeners"),
        ] {
            let Err(Failure::Usage(line)) = read(&given(settings), false) else {
                panic!("{settings:?} was taken")
            };
            assert!(line.contains(words) && line.starts_with("TEST: "), "{line}");
        }
    }
}
