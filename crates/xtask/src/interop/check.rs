//! The table of checks.

use std::pin::Pin;
use std::time::Duration;

use super::kafka_admin;
use super::kafka_programs::{compaction, copier, verifiable};
use super::stage::Stage;
use super::{
    backlog, bad_input, bad_subscriptions, both_protocols, command_line, costs, crash, danube_admin,
    danube_secure, differential, failure_policy, faststream, go_franz, go_sarama, hostile_input, kafka_acls,
    kafka_clients, kafka_configs, kafka_groups, kafka_quotas, kafka_streams, kafka_tools, kafkajs,
    key_shared, producer_document, quotas_held, quotas_neighbour, rust_clients, security, tokens,
    transactions, truncation,
};
use crate::tools::Tool::{
    self, ApacheKafka, Go, Kafkajs, Kcat, LoopDisks, Python, RustPrograms, Strace, Valgrind,
};

/// What a check found, or why it failed.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

/// One line of the run.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Missing one of these, the check is skipped.
    pub(crate) needs: &'static [Tool],
    /// Whether it needs the gRPC port.
    pub(crate) speaks_danube: bool,
    limit_s: u64,
    pub(crate) run: for<'a> fn(&'a mut Stage<'_>) -> Run<'a>,
}

impl Check {
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }
}

macro_rules! check {
    ($name:literal, $protocols:ident, $limit_s:literal, $needs:expr, $run:path) => {
        Check {
            name: $name,
            needs: $needs,
            speaks_danube: check!($protocols),
            limit_s: $limit_s,
            run: |stage| Box::pin($run(stage)),
        }
    };
    (kafka) => {
        false
    };
    (danube) => {
        true
    };
}

/// Every check, in the order of the promises: the documents, the two protocols, the tools, the bad days.
pub(crate) static ALL: &[Check] = &[
    check!("faststream-partition-key", kafka, 120, &[Python], faststream::partition_key),
    check!("faststream-batch", kafka, 120, &[Python], faststream::publish_batch),
    check!("examples-partition-key", kafka, 60, &[RustPrograms], rust_clients::partition_key_example),
    check!("examples-batches", kafka, 60, &[RustPrograms], rust_clients::batches_example),
    check!("examples-key-shared", danube, 60, &[RustPrograms], rust_clients::key_shared_example),
    check!("examples-producer", kafka, 60, &[RustPrograms], rust_clients::producer_example),
    check!("key-shared-rust-distribution", danube, 60, &[], key_shared::distribution),
    check!("key-shared-rust-filters", danube, 60, &[], key_shared::filters),
    check!("key-shared-rust-one-in-flight", danube, 60, &[], key_shared::one_in_flight),
    check!("key-shared-rust-nack", danube, 60, &[], key_shared::nack),
    check!("key-shared-rust-producer-name", danube, 60, &[], key_shared::producer_name_key),
    check!("key-shared-rust-worker-loss", danube, 60, &[], key_shared::worker_loss),
    check!("key-shared-backlog", danube, 120, &[], backlog::backlog),
    check!("key-shared-head-of-line", danube, 120, &[], backlog::head_of_line),
    check!("key-shared-stalled-reader", danube, 180, &[], backlog::stalled_reader),
    check!("key-shared-python-distribution", danube, 60, &[Python], key_shared::python_distribution),
    check!("key-shared-python-filters", danube, 60, &[Python], key_shared::python_filters),
    check!("key-shared-python-one-in-flight", danube, 60, &[Python], key_shared::python_one_in_flight),
    check!("key-shared-python-nack", danube, 60, &[Python], key_shared::python_nack),
    check!("key-shared-python-producer-name", danube, 60, &[Python], key_shared::python_producer_name_key),
    check!("failure-policy-dead-letter", danube, 60, &[], failure_policy::dead_letter),
    check!("failure-policy-block-and-drop", danube, 60, &[], failure_policy::block_and_drop),
    check!("failure-policy-crashes", danube, 120, &[], failure_policy::dead_letters_in_crashes),
    check!("failure-policy-danube-admin", danube, 60, &[], danube_admin::topics),
    check!("failure-policy-python", danube, 60, &[Python], failure_policy::python_dead_letter),
    check!("command-line-subscription", danube, 60, &[], command_line::subscription),
    check!("start-position", danube, 60, &[], failure_policy::start_position),
    check!("confluent-to-key-shared", danube, 60, &[Python], both_protocols::confluent_to_workers),
    check!("kcat-to-key-shared", danube, 60, &[Kcat], both_protocols::kcat_to_workers),
    check!("danube-to-kafka-consumer", danube, 60, &[Python], both_protocols::danube_to_kafka),
    check!("confluent-codecs", kafka, 60, &[Python], kafka_clients::confluent_codecs),
    check!("confluent-group", kafka, 90, &[Python], kafka_clients::confluent_group),
    check!("kafka-python", kafka, 60, &[Python], kafka_clients::kafka_python),
    check!("aiokafka", kafka, 60, &[Python], kafka_clients::aiokafka),
    check!("confluent-rust", kafka, 90, &[RustPrograms], rust_clients::confluent),
    check!("krafka", kafka, 90, &[RustPrograms], rust_clients::krafka),
    check!("rdkafka", kafka, 90, &[RustPrograms], rust_clients::rdkafka),
    check!("ruststream", kafka, 120, &[RustPrograms], rust_clients::ruststream),
    check!("kcat", kafka, 60, &[Kcat], kafka_clients::kcat),
    check!("kafka-producer-perf-test", kafka, 120, &[ApacheKafka], kafka_tools::producer_perf_test),
    check!("kafka-codecs", kafka, 180, &[ApacheKafka], kafka_tools::codecs),
    check!("kafka-console", kafka, 90, &[ApacheKafka], kafka_tools::console),
    check!("kafka-topics", kafka, 90, &[ApacheKafka], kafka_tools::topics),
    check!("kafka-configs", kafka, 300, &[ApacheKafka], kafka_configs::configs),
    check!("kafka-acls", kafka, 120, &[ApacheKafka], kafka_acls::acls),
    check!("kafka-quotas", kafka, 120, &[ApacheKafka], kafka_quotas::quotas),
    check!("quotas-held", danube, 90, &[Python], quotas_held::held),
    check!("quotas-neighbour", kafka, 60, &[], quotas_neighbour::neighbour),
    check!("kafka-consumer-groups", kafka, 90, &[ApacheKafka], kafka_tools::consumer_groups),
    check!("kafka-admin-topics", kafka, 120, &[ApacheKafka], kafka_admin::topics::topics),
    check!("kafka-admin-groups", kafka, 120, &[ApacheKafka], kafka_admin::groups::groups),
    check!("kafka-admin-transactions", kafka, 120, &[ApacheKafka], kafka_admin::transactions::transactions),
    check!("kafka-admin-cluster", kafka, 60, &[ApacheKafka], kafka_admin::cluster::cluster),
    check!("kafka-admin-client", kafka, 90, &[ApacheKafka], kafka_admin::client::calls),
    check!("kafka-admin-performance", kafka, 90, &[ApacheKafka], kafka_admin::performance::performance),
    check!("group-java-classic", kafka, 240, &[ApacheKafka], kafka_groups::java_classic),
    check!("group-java-consumer", kafka, 300, &[ApacheKafka], kafka_groups::java_consumer),
    check!("group-confluent-consumer", kafka, 120, &[Python], kafka_groups::confluent_consumer),
    check!("group-confluent-upgrade", kafka, 120, &[Python], kafka_groups::confluent_upgrade),
    check!("kafka-verifiable-classic", kafka, 180, &[ApacheKafka], verifiable::classic),
    check!("kafka-verifiable-consumer", kafka, 180, &[ApacheKafka], verifiable::consumer),
    check!("kafka-copier", kafka, 180, &[ApacheKafka], copier::random_aborts),
    check!("kafka-log-compaction-tester", kafka, 120, &[ApacheKafka], compaction::tester),
    check!("kafka-streams", kafka, 240, &[ApacheKafka], kafka_streams::exactly_once),
    check!("transactions-python", kafka, 120, &[Python], transactions::python),
    check!("transactions-java", kafka, 120, &[ApacheKafka], transactions::java),
    check!("kafkajs-records", kafka, 60, &[Kafkajs], kafkajs::records),
    check!("kafkajs-group", kafka, 90, &[Kafkajs], kafkajs::group),
    check!("kafkajs-transactions", kafka, 90, &[Kafkajs], kafkajs::transactions),
    check!("kafkajs-admin", kafka, 60, &[Kafkajs], kafkajs::admin),
    check!("franz-go-records", kafka, 60, &[Go], go_franz::records),
    check!("franz-go-classic", kafka, 120, &[Go], go_franz::classic),
    check!("franz-go-cooperative", kafka, 90, &[Go], go_franz::cooperative),
    check!("franz-go-consumer", kafka, 150, &[Go], go_franz::consumer),
    check!("franz-go-upgrade", kafka, 120, &[Go], go_franz::upgrade),
    check!("franz-go-regex", kafka, 120, &[Go], go_franz::regex),
    check!("franz-go-static", kafka, 120, &[Go], go_franz::static_members),
    check!("franz-go-transactions", kafka, 120, &[Go], go_franz::transactions),
    check!("franz-go-admin", kafka, 60, &[Go], go_franz::admin),
    check!("sarama-records", kafka, 60, &[Go], go_sarama::records),
    check!("sarama-group", kafka, 120, &[Go], go_sarama::group),
    check!("sarama-static", kafka, 90, &[Go], go_sarama::static_members),
    check!("sarama-transactions", kafka, 90, &[Go], go_sarama::transactions),
    check!("sarama-admin", kafka, 60, &[Go], go_sarama::admin),
    check!("producer-document-java", kafka, 120, &[ApacheKafka], producer_document::java),
    check!("producer-document-python", kafka, 120, &[Python], producer_document::python),
    check!("producer-document-sasl-ssl", danube, 120, &[ApacheKafka], security::java),
    check!("danube-tls-token", danube, 60, &[Python], danube_secure::tokens),
    check!("secure-python", danube, 120, &[Python], security::python),
    check!("secure-rust", danube, 120, &[RustPrograms], security::rust),
    check!("secure-rotation", danube, 120, &[Python], security::rotation),
    check!("tokens", danube, 120, &[ApacheKafka, Python], tokens::clients),
    check!("differential", kafka, 240, &[ApacheKafka], differential::answers),
    check!("kill-9-kafka", kafka, 180, &[Python], crash::kafka_producers),
    check!("kill-9-go", kafka, 180, &[Go, Python], crash::go_producers),
    check!("kill-9-go-transactions", kafka, 180, &[Go], crash::go_copies),
    check!("kill-9-danube", danube, 180, &[Python], crash::danube_producers),
    check!("kill-9-key-shared", danube, 180, &[], crash::key_shared_workers),
    check!("kill-9-worker-stays-away", danube, 60, &[], crash::worker_stays_away),
    check!("kill-loop", danube, 120, &[Python, Kcat], crash::kill_loop),
    check!("power-cut", danube, 120, &[LoopDisks], crash::power_cut),
    check!("storm", danube, 240, &[], crash::storm),
    check!("truncation-librdkafka", danube, 120, &[Python], truncation::librdkafka),
    check!("truncation-java", danube, 120, &[ApacheKafka], truncation::java),
    check!("sigterm", danube, 60, &[Python], crash::sigterm),
    check!("costs", danube, 240, &[Strace, Valgrind], costs::of_requests),
    check!("bad-input-kafka-port", kafka, 60, &[], bad_input::kafka_port),
    check!("hostile-kafka-frames", danube, 90, &[Python, Kcat], hostile_input::kafka_frames),
    check!("hostile-http2-frames", danube, 90, &[], hostile_input::http2_frames),
    check!("hostile-bombs", danube, 60, &[], hostile_input::bombs),
    check!("hostile-slow", danube, 60, &[], hostile_input::slow),
    check!("bad-input-grpc-port", danube, 60, &[], bad_input::grpc_port),
    check!("bad-input-subscriptions", danube, 90, &[], bad_subscriptions::subscriptions),
    check!("bad-input-batches", danube, 60, &[], bad_input::batches),
];
