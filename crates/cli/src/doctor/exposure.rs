//! Who can reach the node, and what they have to prove.

use super::finding::Finding;
use crate::serve::{Front, Node};

const CHECK: &str = "listeners";

pub(super) fn look(node: &Node) -> Vec<Finding> {
    node.fronts.iter().map(judge).collect()
}

fn judge(front: &Front) -> Finding {
    let Front { name, address, protocol, .. } = front;
    let what = format!("{name} on {address}, {protocol}");
    if address.ip().is_loopback() {
        return Finding::ok(CHECK, format!("{what}: only this machine reaches it"));
    }
    match (front.authenticates, front.encrypts) {
        (true, true) => Finding::ok(CHECK, format!("{what}: other machines reach it and prove who they are")),
        (true, false) => Finding::warn(
            CHECK,
            format!("{what}: other machines reach it and prove who they are, in clear text"),
            "use SASL_SSL: whoever is on the way reads and changes everything",
        ),
        (false, _) => Finding::fail(
            CHECK,
            format!("{what}: whoever reaches it may do everything"),
            "listen on 127.0.0.1, or use SASL_SSL, or SSL with ssl.client.auth=required",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn what_others_reach_without_a_proof_is_a_failure() {
        let level = |address: &str, authenticates, encrypts| {
            let address = address.parse().unwrap();
            judge(&Front { name: "A".into(), address, protocol: "B", authenticates, encrypts }).level
        };
        assert_eq!(level("127.0.0.1:1", false, false), Level::Ok);
        assert_eq!(level("[::1]:1", false, false), Level::Ok);
        assert_eq!(level("10.0.0.1:1", true, true), Level::Ok);
        assert_eq!(level("10.0.0.1:1", true, false), Level::Warn);
        assert_eq!(level("0.0.0.0:1", false, true), Level::Fail);
    }
}
