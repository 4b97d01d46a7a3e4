//! What settings do, in a line each, for tools that show it beside a value. A setting that does nothing here says why.

use super::BrokerSetting;
use std::borrow::Cow;

/// Settings that act, by name. Topics and groups have names of their own for some, and the same words.
const WORDS: &[(&str, &str)] = &[
    ("advertised.listeners", "Addresses that clients are told to connect to."),
    ("authorizer.class.name", "Who decides what a client may do; empty lets everyone do everything."),
    ("auto.create.topics.enable", "Makes a topic when a client first asks for it."),
    ("compression.type", "Codec that batches are stored in; 'producer' keeps the one they came in."),
    ("connection.failed.authentication.delay.ms", "How long a failed login waits for its answer, ms."),
    ("connections.max.idle.ms", "How long a connection may be silent before it is closed, ms."),
    (
        "connections.max.reauth.ms",
        "How long a login counts before the client has to log in again, ms; 0 is for ever.",
    ),
    ("default.replication.factor", "Replication factor that a topic is recorded with if none is asked for."),
    ("group.consumer.assignment.interval.ms", "Least time between two assignments of a large group, ms."),
    (
        "group.consumer.heartbeat.interval.ms",
        "How often consumers of a settled group are to be heard of, ms.",
    ),
    ("group.consumer.max.assignment.interval.ms", "Largest assignment interval that a group may set, ms."),
    ("group.consumer.max.heartbeat.interval.ms", "Largest heartbeat interval that a group may set, ms."),
    ("group.consumer.max.session.timeout.ms", "Largest session timeout that a group may set, ms."),
    ("group.consumer.min.assignment.interval.ms", "Smallest assignment interval that a group may set, ms."),
    ("group.consumer.min.heartbeat.interval.ms", "Smallest heartbeat interval that a group may set, ms."),
    ("group.consumer.min.session.timeout.ms", "Smallest session timeout that a group may set, ms."),
    ("group.consumer.session.timeout.ms", "How long a consumer may be silent before it is taken out, ms."),
    ("group.initial.rebalance.delay.ms", "How long an empty classic group waits for more members, ms."),
    ("group.max.session.timeout.ms", "Largest session timeout that a classic member may ask for, ms."),
    ("group.max.size", "Most members of a group."),
    ("group.min.session.timeout.ms", "Smallest session timeout that a classic member may ask for, ms."),
    (
        "listener.security.protocol.map",
        "What clients of each listener do first: TLS, a login, both or nothing.",
    ),
    ("listeners", "Addresses that the broker listens at."),
    ("log.cleaner.backoff.ms", "How often logs are looked at for something to compact, ms."),
    ("log.cleaner.delete.retention.ms", "How long compaction keeps the record that deletes a key, ms."),
    ("log.cleaner.enable", "Whether compacted topics are compacted."),
    ("log.cleaner.io.max.bytes.per.second", "Most bytes that compaction reads and writes in a second."),
    ("log.cleaner.max.compaction.lag.ms", "Longest time that a superseded record is kept, ms."),
    ("log.cleaner.min.cleanable.ratio", "Share of a log that must be new before it is compacted again."),
    ("log.cleaner.min.compaction.lag.ms", "Shortest time that a superseded record is kept, ms."),
    (
        "log.cleanup.policy",
        "What is removed: 'delete' the oldest records, 'compact' all but the newest of each key.",
    ),
    ("log.dir", "Folder of the data, unless log.dirs names it."),
    ("log.dirs", "Folder of the data; there is one."),
    (
        "log.message.timestamp.after.max.ms",
        "How far ahead of the broker's clock a record's time may lie, ms.",
    ),
    ("log.message.timestamp.before.max.ms", "How far behind the broker's clock a record's time may lie, ms."),
    ("log.message.timestamp.type", "Whose clock gives a record its time: the producer's or the broker's."),
    (
        "log.retention.bytes",
        "Size of a partition from which on its oldest records are deleted; -1 is no limit.",
    ),
    ("log.retention.check.interval.ms", "How often logs are looked at for something to delete, ms."),
    (
        "log.retention.hours",
        "Age of records from which on they are deleted, unless it is set in minutes or ms.",
    ),
    ("log.retention.minutes", "Age of records from which on they are deleted, unless it is set in ms."),
    ("log.retention.ms", "Age of records from which on they are deleted, ms; -1 is no limit."),
    ("log.roll.hours", "Age of a segment from which on the next one begins, unless it is set in ms."),
    ("log.roll.ms", "Age of a segment from which on the next one begins, ms."),
    ("log.segment.bytes", "Size of a segment from which on the next one begins."),
    ("max.connection.creation.rate", "Most connections a second that are taken, all clients together."),
    (
        "max.connections",
        "Most connections of clients at a time, by Kafka and gRPC together; a listener may have its own.",
    ),
    (
        "max.connections.per.ip",
        "Most connections of one address at a time; those of this machine do not count.",
    ),
    ("max.connections.per.ip.overrides", "Addresses with another limit, as ADDRESS:CONNECTIONS."),
    ("max.decompressed.message.bytes", "Most bytes that a batch may decompress to when it is produced."),
    ("message.max.bytes", "Largest batch that is taken, as it was compressed."),
    ("num.partitions", "Partitions of a topic if none are asked for."),
    ("offset.metadata.max.bytes", "Longest text that may be committed with an offset, bytes."),
    (
        "offsets.retention.minutes",
        "How long committed offsets outlive the last member of their group, minutes.",
    ),
    ("producer.id.expiration.ms", "How long a silent idempotent producer is remembered, ms."),
    ("queued.max.request.bytes", "Most bytes of requests that are read and not answered yet."),
    ("quota.window.num", "Windows over which the rate of a quota is measured."),
    ("quota.window.size.seconds", "Length of a quota's window, s."),
    ("sasl.enabled.mechanisms", "Ways to log in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER."),
    ("sasl.jaas.config", "Users of a listener's PLAIN, as options user_NAME; other users are stored."),
    (
        "sasl.oauthbearer.clock.skew.seconds",
        "How far the clock of whoever issues tokens may be from this one.",
    ),
    (
        "sasl.oauthbearer.expected.audience",
        "For whom tokens are; a token has to name one of these, or nobody if empty.",
    ),
    ("sasl.oauthbearer.expected.issuer", "Who issues tokens, if it matters."),
    ("sasl.oauthbearer.jwks.endpoint.refresh.ms", "How often the keys of a URL are fetched."),
    (
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        "Longest wait after a fetch of keys that failed.",
    ),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "Wait after the first fetch of keys that failed."),
    (
        "sasl.oauthbearer.jwks.endpoint.url",
        "Where the keys are that tokens are checked by: file:///PATH or https://…",
    ),
    ("sasl.oauthbearer.scope.claim.name", "The claim with a token's scopes, which decide nothing."),
    ("sasl.oauthbearer.sub.claim.name", "The claim with the name of a token's bearer."),
    ("sasl.server.max.receive.size", "Longest request of a client that has not logged in, bytes."),
    ("socket.request.max.bytes", "Longest request, bytes."),
    ("ssl.cipher.suites", "Cipher suites that TLS may use; empty for all there are."),
    ("ssl.client.auth", "Whether clients have a certificate: 'required', 'requested' or 'none'."),
    ("ssl.enabled.protocols", "Versions of TLS: TLSv1.2, TLSv1.3."),
    ("ssl.key.password", "A key with a password is refused; protect the file by its mode."),
    ("ssl.keystore.certificate.chain", "The server's certificates as PEM, instead of a file."),
    ("ssl.keystore.key", "The server's private key as PEM, instead of a file."),
    (
        "ssl.keystore.location",
        "PEM file with the server's private key and certificates; taken up when it changes.",
    ),
    ("ssl.keystore.password", "A keystore with a password is refused; protect the file by its mode."),
    ("ssl.keystore.type", "Form of the keystore; PEM is the one that is read."),
    ("ssl.principal.mapping.rules", "Which user a client's certificate stands for."),
    ("ssl.truststore.certificates", "Who may sign clients' certificates, as PEM, instead of a file."),
    (
        "ssl.truststore.location",
        "PEM file of those who may sign clients' certificates; taken up when it changes.",
    ),
    ("ssl.truststore.password", "A truststore with a password is refused."),
    ("ssl.truststore.type", "Form of the truststore; PEM is the one that is read."),
    ("transaction.max.timeout.ms", "Longest transaction timeout that a producer may ask for, ms."),
];

/// What the broker's setting of this name does; `None` if nobody wrote it down.
pub(crate) fn of(name: &str) -> Option<Cow<'static, str>> {
    if let Ok(index) = WORDS.binary_search_by_key(&name, |(name, _)| name) {
        return Some(WORDS[index].1.into());
    }
    let reason = BrokerSetting::named(name)?.idle_reason()?;
    Some(format!("Does nothing here: {reason}.").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_about_settings_that_act() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
        for (name, _) in WORDS {
            let setting = BrokerSetting::named(name).unwrap_or_else(|| panic!("there is no {name}"));
            assert_eq!(setting.idle_reason(), None, "{name}");
        }
        for setting in BrokerSetting::all() {
            assert!(of(setting.name).is_some(), "{} has no words", setting.name);
        }
        assert_eq!(
            of("log.flush.interval.ms").unwrap(),
            "Does nothing here: the log has files of its own kind; see --durability."
        );
        assert_eq!(of("no.such.setting"), None);
    }
}
