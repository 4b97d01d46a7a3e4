//! `KAFKA_…` variables, as Apache's container image reads them.

const PREFIX: &str = "KAFKA_";

/// Variables that speak to Kafka's scripts and not to the broker.
const NOT_SETTINGS: [&str; 13] = [
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

/// The setting that a variable stands for: `_` is a dot, `__` an underscore, `___` a dash.
pub(super) fn setting(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    if name.is_empty() || NOT_SETTINGS.contains(&variable) {
        return None;
    }
    let dotted = name.to_lowercase().replace('_', ".");
    Some(dotted.replace("...", "-").replace("..", "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_apache_s_image() {
        for (variable, name) in [
            ("KAFKA_ADVERTISED_LISTENERS", Some("advertised.listeners")),
            ("KAFKA_LOG_RETENTION_MS", Some("log.retention.ms")),
            ("KAFKA_A__B", Some("a_b")),
            ("KAFKA_A___B", Some("a-b")),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_", None),
            ("PATH", None),
        ] {
            assert_eq!(setting(variable).as_deref(), name, "{variable}");
        }
    }
}
