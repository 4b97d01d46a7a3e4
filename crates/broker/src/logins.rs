//! Logins of a listener's clients: each is counted, and told to the audit log.

use crate::access::{AuditEvent, AuditLog, Caller};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a client's certificate is called among the mechanisms of SASL: as Kafka calls the protocol.
pub(crate) const CERTIFICATE: &str = "SSL";

/// Those of one listener since the broker started.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Logins {
    /// `caller` proved who it is.
    pub(crate) fn succeeded(&self, audit: &AuditLog, caller: &Caller, mechanism: &str) {
        self.succeeded.fetch_add(1, Relaxed);
        audit.note(caller, AuditEvent::LoggedIn { mechanism });
    }

    /// `caller` is who a client said it was, and did not prove.
    pub(crate) fn failed(&self, audit: &AuditLog, caller: &Caller, mechanism: &str, reason: &str) {
        self.failed.fetch_add(1, Relaxed);
        audit.note(caller, AuditEvent::LoginFailed { mechanism, reason });
    }

    /// How many succeeded, and how many failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.succeeded.load(Relaxed), self.failed.load(Relaxed))
    }
}
