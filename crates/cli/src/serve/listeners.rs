//! Kafka's `listeners` and `advertised.listeners`, for a broker that has one listener for Kafka clients.

use super::given::{Given, Value};
use crate::failure::Failure;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";

/// What the settings say about where Kafka clients are served.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct KafkaListener {
    /// Where to listen.
    pub(super) address: Option<SocketAddr>,
    /// Where clients are told to connect.
    pub(super) advertised: Option<(String, u16)>,
    /// What to tell about it.
    pub(super) note: Option<String>,
}

/// One `NAME://host:port`.
struct Endpoint<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

/// Reads both settings. `open` says whether other machines may reach the broker.
pub(super) fn read(given: &Given, open: bool) -> Result<KafkaListener, Failure> {
    let Some(value) = given.get(LISTENERS) else {
        let advertised = given.get(ADVERTISED).map(|value| only(given, value)).transpose()?.flatten();
        let advertised = advertised.map(|endpoint| (endpoint.host.to_owned(), endpoint.port));
        return Ok(KafkaListener { advertised, ..KafkaListener::default() });
    };
    let Some(endpoint) = only(given, value)? else {
        return Err(refused(
            value,
            "names no listener for clients; add one, such as PLAINTEXT://127.0.0.1:9092",
        ));
    };
    let advertised = match given.get(ADVERTISED) {
        None => None,
        Some(value) => {
            let same = all(value)?.into_iter().find(|other| other.name == endpoint.name);
            let missing =
                || refused(value, &format!("has no {}, which {LISTENERS} names; add it", endpoint.name));
            let same = same.ok_or_else(missing)?;
            if same.host.is_empty() {
                return Err(refused(value, "names no host that clients can connect to; add one"));
            }
            Some((same.host.to_owned(), same.port))
        }
    };
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
    let address = Some(SocketAddr::new(ip, endpoint.port));
    Ok(KafkaListener { address, advertised, note })
}

/// The one listener for clients, of those that are not the controller's.
fn only<'a>(given: &Given, value: &'a Value) -> Result<Option<Endpoint<'a>>, Failure> {
    let controllers = given.get("controller.listener.names").map_or("", |value| value.text.as_str());
    let is_controller = |name: &str| controllers.split(',').any(|other| other.trim() == name);
    let mut clients: Vec<Endpoint<'_>> =
        all(value)?.into_iter().filter(|endpoint| !is_controller(endpoint.name)).collect();
    for endpoint in &clients {
        let protocol = protocol(given, endpoint.name);
        if protocol != "PLAINTEXT" {
            let reason = format!(
                "{} is {protocol}, and this broker speaks PLAINTEXT only for now; use PLAINTEXT on a network you trust",
                endpoint.name
            );
            return Err(refused(value, &reason));
        }
    }
    if clients.len() > 1 {
        let names: Vec<_> = clients.iter().map(|endpoint| endpoint.name).collect();
        let reason =
            format!("names {} listeners for clients, {}; leave one of them", names.len(), names.join(", "));
        return Err(refused(value, &reason));
    }
    Ok(clients.pop())
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
fn protocol<'a>(given: &'a Given, name: &'a str) -> &'a str {
    let map = given.get("listener.security.protocol.map").map_or("", |value| value.text.as_str());
    let mapped = map.split(',').filter_map(|pair| pair.trim().split_once(':'));
    mapped.into_iter().find(|(listener, _)| *listener == name).map_or(name, |(_, protocol)| protocol)
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

    fn address(listener: &KafkaListener) -> String {
        listener.address.unwrap().to_string()
    }

    #[test]
    fn kafka_s_own_file_is_served_on_this_machine() {
        let settings = given(&[
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ]);
        let listener = read(&settings, false).unwrap();
        assert_eq!(address(&listener), "127.0.0.1:9092");
        assert_eq!(listener.advertised, Some(("localhost".to_owned(), 9092)));
        assert!(listener.note.is_some());
        let open = read(&settings, true).unwrap();
        assert_eq!((address(&open).as_str(), open.note), ("0.0.0.0:9092", None));
    }

    #[test]
    fn names_are_mapped_to_protocols_and_hosts_to_addresses() {
        let settings = given(&[
            ("listeners", "INSIDE://[::1]:9192"),
            ("advertised.listeners", "INSIDE://db.example:9292"),
            ("listener.security.protocol.map", "INSIDE:PLAINTEXT"),
        ]);
        let listener = read(&settings, false).unwrap();
        assert_eq!(address(&listener), "[::1]:9192");
        assert_eq!(listener.advertised, Some(("db.example".to_owned(), 9292)));
        assert_eq!(read(&given(&[]), false).unwrap(), KafkaListener::default());
        let advertised_only = read(&given(&[("advertised.listeners", "PLAINTEXT://a:1")]), false).unwrap();
        assert_eq!(advertised_only.advertised, Some(("a".to_owned(), 1)));
    }

    #[test]
    fn what_this_broker_does_not_have_is_refused() {
        for (settings, words) in [
            (&[("listeners", "SASL_SSL://:9094")][..], "PLAINTEXT only"),
            (&[("listeners", "A://:1"), ("listener.security.protocol.map", "A:SSL")], "A is SSL"),
            (
                &[("listeners", "PLAINTEXT://:1,B://:2"), ("listener.security.protocol.map", "B:PLAINTEXT")],
                "leave one",
            ),
            (&[("listeners", "CONTROLLER://:1"), ("controller.listener.names", "CONTROLLER")], "no listener"),
            (&[("listeners", "9092")], "NAME://HOST:PORT"),
            (&[("listeners", "PLAINTEXT://:many")], "NAME://HOST:PORT"),
            (&[("listeners", "PLAINTEXT://:1"), ("advertised.listeners", "OTHER://a:1")], "PLAINTEXT"),
            (&[("listeners", "PLAINTEXT://:1"), ("advertised.listeners", "PLAINTEXT://:1")], "no host"),
        ] {
            let Err(Failure::Usage(line)) = read(&given(settings), false) else {
                panic!("{settings:?} was taken")
            };
            assert!(line.contains(words) && line.starts_with("TEST: "), "{line}");
        }
    }
}
