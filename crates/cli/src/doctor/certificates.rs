//! The certificates that listeners would show: whether they can be served, from when until when they hold, and whether
//! they bear the name that clients are told.

use super::finding::Finding;
use crate::serve::{Front, Node};
use jiff::Timestamp;
use keyway_broker::{ShownCertificate, shown_certificate};

const CHECK: &str = "certificates";

/// A certificate that ends sooner than this should be renewed, seconds.
const SOON_S: i64 = 21 * 24 * 3_600;

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let now_s = Timestamp::now().as_second();
    let of_listener = |front: &Front| match shown_certificate(&front.name, front.protocol, &node.settings) {
        Ok(None) => Vec::new(),
        Ok(Some(certificate)) => judge(front, &certificate, now_s),
        Err(error) => vec![Finding::fail(
            CHECK,
            format!("{}: {error}", front.name),
            "a broker with these settings does not start",
        )],
    };
    node.fronts.iter().flat_map(of_listener).collect()
}

fn judge(front: &Front, certificate: &ShownCertificate, now_s: i64) -> Vec<Finding> {
    let name = &front.name;
    let ends =
        Timestamp::from_second(certificate.not_after_s).map_or("never".to_owned(), |end| end.to_string());
    let time = if now_s < certificate.not_before_s {
        let found = format!("{name}: the certificate does not hold yet");
        Finding::fail(CHECK, found, "set the clock, or use one that holds")
    } else if now_s >= certificate.not_after_s {
        Finding::fail(
            CHECK,
            format!("{name}: the certificate ended {ends}"),
            "renew it; a new file is taken up as it is",
        )
    } else if certificate.not_after_s - now_s < SOON_S {
        Finding::warn(
            CHECK,
            format!("{name}: the certificate ends {ends}"),
            "renew it; a new file is taken up as it is",
        )
    } else {
        Finding::ok(CHECK, format!("{name}: the certificate holds until {ends}"))
    };
    // Nobody connects to the address of all interfaces, and what clients use instead is not known.
    if front.advertised.is_none() && front.address.ip().is_unspecified() {
        return vec![time];
    }
    let host = front.advertised.clone().unwrap_or_else(|| front.address.ip().to_string());
    let hosts = certificate.hosts.join(", ");
    let bears = match certificate.hosts.iter().any(|pattern| is_for(pattern, &host)) {
        true => Finding::ok(CHECK, format!("{name}: the certificate is for {host}")),
        false => Finding::warn(
            CHECK,
            format!("{name}: clients connect to {host}, and the certificate is for {hosts}"),
            "clients that check names refuse it; change advertised.listeners or the certificate",
        ),
    };
    vec![time, bears]
}

/// Whether a name of a certificate, which may begin with `*.` for one label, is that of the host.
fn is_for(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};
    use keyway_broker::SecurityProtocol;

    #[test]
    fn certificates_that_do_not_hold_or_fit_are_told() {
        let front = Front {
            name: "A".to_owned(),
            address: ([127, 0, 0, 1], 9092).into(),
            protocol: SecurityProtocol::Ssl,
            speaks: "B",
            advertised: Some("db.example".to_owned()),
            authenticates: false,
        };
        let levels = |hosts: &[&str], not_before_s, not_after_s| {
            let hosts = hosts.iter().map(ToString::to_string).collect();
            let certificate = ShownCertificate { hosts, not_before_s, not_after_s };
            let findings = judge(&front, &certificate, 1_000);
            [findings[0].level, findings[1].level]
        };
        assert_eq!(levels(&["DB.example"], 0, 1_000 + SOON_S), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&["other", "*.example"], 0, 999 + SOON_S), [Level::Warn, Level::Ok]);
        assert_eq!(levels(&["*.db.example"], 0, 1_000), [Level::Fail, Level::Warn]);
        assert_eq!(levels(&[], 1_001, 1_002), [Level::Fail, Level::Warn]);
    }
}
