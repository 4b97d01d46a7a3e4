//! Whether clients could log in where they have to.

use super::finding::Finding;
use crate::serve::{Front, Node};
use keyway_broker::{StartError, check_listener};

const CHECK: &str = "logins";

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let of_listener = |front: &Front| {
        let Front { name, protocol, address, .. } = front;
        match check_listener(name, *protocol, *address, &node.settings, node.plain_without_tls) {
            Ok(()) => Some(Finding::ok(CHECK, format!("{name}: clients can log in"))),
            // What is wrong with certificates is told by their own check.
            Err(StartError::Tls { .. }) => None,
            Err(error) => {
                Some(Finding::fail(CHECK, error.to_string(), "a broker with these settings does not start"))
            }
        }
    };
    node.fronts.iter().filter(|front| front.protocol.has_sasl()).filter_map(of_listener).collect()
}
