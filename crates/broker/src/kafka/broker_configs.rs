//! What this broker was told, in Kafka's words.

use crate::{
    config::Config,
    node::Node,
    topics::configs::{Kind, TopicConfig},
};
use std::collections::BTreeMap;

/// One broker config as it is described.
pub(super) struct BrokerConfig {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
    pub(super) default: Option<String>,
    pub(super) kind: Kind,
}

/// What this broker was told, in Kafka's words, by name.
pub(super) fn of_broker(node: &Node) -> BTreeMap<&'static str, BrokerConfig> {
    let (config, default) = (&node.config, Config::default());
    let mut all = BTreeMap::new();
    let mut add = |name, kind, value: Option<String>, default: Option<String>| {
        all.insert(name, BrokerConfig { name, value, default, kind });
    };
    for topic in TopicConfig::all() {
        if let Some(name) = topic.broker_name {
            add(name, topic.kind, Some(topic.broker_value(config)), Some(topic.default_value().to_owned()));
        }
    }
    let listener = format!("PLAINTEXT://{}", config.kafka);
    let (host, port) = &node.advertised_kafka;
    let text = Kind::String(&[]);
    add("advertised.listeners", text, Some(format!("PLAINTEXT://{host}:{port}")), None);
    add(
        "auto.create.topics.enable",
        Kind::Boolean,
        some(config.auto_create_topics),
        some(default.auto_create_topics),
    );
    add("broker.id", Kind::Int(-1), some(crate::node::NODE_ID), some(-1));
    add(
        "default.replication.factor",
        Kind::Int(1),
        some(config.default_replication_factor),
        some(default.default_replication_factor),
    );
    add("delete.topic.enable", Kind::Boolean, some(true), some(true));
    let delays = [config, &default].map(|config| some(config.group_initial_rebalance_delay_ms));
    let [delay, default_delay] = delays;
    add("group.initial.rebalance.delay.ms", Kind::Int(0), delay, default_delay);
    add("group.coordinator.rebalance.protocols", Kind::List(&[]), Some("classic,consumer".to_owned()), None);
    let [session, default_session] =
        [config, &default].map(|config| some(config.group_consumer_session_timeout_ms));
    add("group.consumer.session.timeout.ms", Kind::Int(1), session, default_session);
    let [interval, default_interval] =
        [config, &default].map(|config| some(config.group_consumer_heartbeat_interval_ms));
    add("group.consumer.heartbeat.interval.ms", Kind::Int(1), interval, default_interval);
    add("listeners", text, Some(listener), None);
    let [connections, default_connections] = [config, &default].map(|config| some(config.connections_max));
    add("max.connections", Kind::Int(0), connections, default_connections);
    add("node.id", Kind::Int(0), some(crate::node::NODE_ID), None);
    add("num.partitions", Kind::Int(1), some(config.num_partitions), some(default.num_partitions));
    add("offsets.topic.replication.factor", Kind::Int(1), some(1), some(1));
    add("process.roles", Kind::List(&[]), Some("broker,controller".to_owned()), None);
    add("transaction.state.log.replication.factor", Kind::Int(1), some(1), some(1));
    all
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}
