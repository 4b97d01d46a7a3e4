//! Whom a call on the gRPC and HTTP ports comes from. Each call says it itself, in its `authorization` header:
//!
//! | header | who it is | mechanism that has to be enabled |
//! |---|---|---|
//! | `Basic base64(NAME:PASSWORD)` | the user of this name | `PLAIN` |
//! | `Bearer NAME:PASSWORD` | the same: an API key of Danube's clients | `PLAIN` |
//! | `Bearer TOKEN`, a JSON web token | whom it is for | `OAUTHBEARER` |
//! | none, on a port that wants no login | whom the client's certificate stands for, or `User:ANONYMOUS` | – |
//!
//! A password takes milliseconds to check, so a connection remembers what was proved on it ([`peer`]), and for how long
//! that holds ([`proof`]). What goes on for long, such as a consumer's stream, asks again and again whether it still does.

mod credentials;
mod peer;
mod proof;

pub(crate) use credentials::Refused;
pub(crate) use peer::Peer;
pub(crate) use proof::Proof;

/// What the ports are called in `listener.security.protocol.map`, and in lower case in `listener.name.`
pub(crate) const GRPC: &str = "GRPC";
pub(crate) const DANUBE_ADMIN: &str = "DANUBE_ADMIN";
pub(crate) const HTTP: &str = "HTTP";

/// What is spoken inside of TLS on the port of this name, by its ALPN name; `None` for a listener of Kafka's.
pub(crate) fn speaks(port: &str) -> Option<&'static [u8]> {
    match port {
        GRPC | DANUBE_ADMIN => Some(b"h2"),
        HTTP => Some(b"http/1.1"),
        _ => None,
    }
}
