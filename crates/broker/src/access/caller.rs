//! Whom a request comes from.

use keyway_access::Principal;
use std::net::SocketAddr;

/// The client at the other end of a connection, on any front.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who it proved to be; [`Principal::anonymous`] where nobody has to prove anything.
    pub(crate) principal: Principal,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The name of the listener it came through, such as `PLAINTEXT`.
    pub(crate) listener: String,
}

impl Caller {
    /// Somebody at `address` who has not said who it is.
    pub(crate) fn anonymous(address: SocketAddr, listener: impl Into<String>) -> Self {
        Self { principal: Principal::anonymous(), address, listener: listener.into() }
    }
}
