//! Who can reach the node, and what they have to prove.

use super::finding::Finding;
use crate::serve::{Front, Node};

const CHECK: &str = "listeners";

pub(super) fn look(node: &Node) -> Vec<Finding> {
    node.fronts.iter().map(judge).collect()
}

fn judge(front: &Front) -> Finding {
    let Front { name, address, protocol, speaks, .. } = front;
    let what = match name == protocol.name() {
        true => format!("{name} on {address} ({speaks})"),
        false => format!("{name} on {address} ({speaks}), {protocol}"),
    };
    if address.ip().is_loopback() {
        return Finding::ok(CHECK, format!("{what}: only this machine reaches it"));
    }
    match (front.authenticates, protocol.has_tls()) {
        (true, true) => Finding::ok(CHECK, format!("{what}: other machines reach it and prove who they are")),
        (true, false) => Finding::warn(
            CHECK,
            format!("{what}: other machines reach it and prove who they are, in clear text"),
            "use SASL_SSL: whoever is on the way reads and changes everything",
        ),
        (false, _) => Finding::fail(
            CHECK,
            format!("{what}: whoever reaches it may do everything"),
            "listen on 127.0.0.1, or use SASL_SSL, or SSL with ssl.client.auth=required, in \
             listener.security.protocol.map",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};
    use keyway_broker::SecurityProtocol;

    #[test]
    fn what_others_reach_without_a_proof_is_a_failure() {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        let level = |address: &str, protocol, authenticates| {
            let (name, address) = ("A".to_owned(), address.parse().unwrap());
            judge(&Front { name, address, protocol, speaks: "B", advertised: None, authenticates }).level
        };
        assert_eq!(level("127.0.0.1:1", Plaintext, false), Level::Ok);
        assert_eq!(level("[::1]:1", Plaintext, false), Level::Ok);
        assert_eq!(level("10.0.0.1:1", SaslSsl, true), Level::Ok);
        assert_eq!(level("10.0.0.1:1", SaslPlaintext, true), Level::Warn);
        assert_eq!(level("0.0.0.0:1", Ssl, false), Level::Fail);
    }
}
