//! `danube.ProducerService`: producers and what they send.

use super::{
    ids::producer_id,
    permits::Permits,
    request_memory::Held,
    schema_registry,
    target::{self, Target},
    throttle::Account,
};
use crate::{
    access::AuditEvent,
    node::Node,
    partition::Partition,
    schemas::{SchemaError, ValidationPolicy, Violation},
    topics::{DispatchStrategy, Topic, TopicError, TopicSettings},
    validate::{self, Rules},
};
use keyway_access::{Operation, Resource, quota::QuotaKind};
use keyway_danube_wire::{
    TopicRef, message,
    proto::{
        MessageResponse, ProducerRequest, ProducerResponse, SchemaReference, StreamMessage,
        producer_service_server::ProducerService, schema_reference::VersionRef,
    },
};
use keyway_log::{AppendError, Durability};
use keyway_record::{PartitionId, Timestamp, batch::BatchBuilder, limits};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tonic::{Request, Response, Status};

/// How often a topic that others change at the same time is looked at again.
const RACES_MAX: usize = 100;

/// Least time between two warnings of messages that do not follow their schema.
const WARN_EVERY_MS: u64 = 10_000;

/// The service.
pub(super) struct Producers {
    node: Arc<Node>,
    /// When a message was last warned of, ms of the broker's clock.
    warned_at: AtomicU64,
}

#[tonic::async_trait]
impl ProducerService for Producers {
    async fn create_producer(
        &self,
        request: Request<ProducerRequest>,
    ) -> Result<Response<ProducerResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        target::check_name("producer", &request.producer_name)?;
        let name = target::topic_ref(&request.topic_name)?;
        let strategy = target::strategy(request.dispatch_strategy)?;
        permits.topic(Operation::Write, name.topic().as_str())?;
        if let Some(schema) = &request.schema_ref {
            self.check_schema(schema)?;
        }
        let target = self.find_or_create(&permits, name, strategy).await?;
        if let Some(schema) = request.schema_ref {
            let fixed =
                schema_registry::fix_subject(&self.node, &permits, &target.topic, &schema.subject).await;
            fixed.map_err(|error| schema_status(&error))?;
        }
        Ok(Response::new(ProducerResponse {
            request_id: request.request_id,
            producer_id: producer_id(&target.topic.name, &request.producer_name),
            producer_name: request.producer_name,
        }))
    }

    async fn send_message(
        &self,
        request: Request<StreamMessage>,
    ) -> Result<Response<MessageResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let (_, extensions, message) = request.into_parts();
        let request_id = message.request_id;
        let id =
            message.msg_id.as_ref().ok_or_else(|| Status::invalid_argument("the message has no msg_id"))?;
        let name = target::topic_ref(&id.topic_name)?;
        permits.topic(Operation::Write, name.topic().as_str())?;
        // Clients answer UNAVAILABLE by asking for the topic and creating the producer again, which is what is needed.
        let target = Target::find(&self.node, name)
            .ok_or_else(|| Status::unavailable(format!("topic {} does not exist", id.topic_name)))?;
        if id.producer_id != producer_id(&target.topic.name, &message.producer_name) {
            return Err(Status::unavailable(format!("producer {} is not known", id.producer_id)));
        }
        let bytes = check_size(&message)?;
        let name = &message.producer_name;
        let account = Account::of(&self.node, QuotaKind::ProducerByteRate, &extensions, name);
        account.as_ref().map_or(Ok(()), Account::admit)?;
        self.check_message(&target.topic, &message)?;
        let partition = choose_partition(&target, &message).clone();
        self.store(&target.topic, &partition, message).await?;
        if let Some(account) = account {
            account.pay(bytes, extensions.get::<Held>()).await;
        }
        Ok(Response::new(MessageResponse { request_id }))
    }
}

impl Producers {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, warned_at: AtomicU64::new(0) }
    }

    /// The topic, made or given more partitions if that is what it takes. Clients create a partitioned topic by creating
    /// a producer for each of its partitions, in any order.
    async fn find_or_create(
        &self,
        permits: &Permits<'_>,
        name: TopicRef,
        strategy: DispatchStrategy,
    ) -> Result<Target, Status> {
        let partitions = match name.partition() {
            None => 1,
            Some(PartitionId(index)) => index.checked_add(1).ok_or_else(|| {
                Status::invalid_argument(format!("topic {name} names a partition that cannot be"))
            })?,
        };
        let topics = &self.node.topics;
        for _ in 0..RACES_MAX {
            let changed = match topics.named(name.topic().as_str()) {
                Some(topic) => {
                    check_strategy(&topic, strategy)?;
                    if topic.partitions.len() >= partitions as usize {
                        return Ok(Target { topic, name });
                    }
                    if !permits.shows(Operation::Alter, Resource::topic(name.topic().as_str())) {
                        permits.create(name.topic().as_str())?;
                    }
                    let (topic, partitions_now) = (name.topic().as_str(), partitions as usize);
                    let event = AuditEvent::PartitionsAdded { topic, partitions: partitions_now };
                    permits.tell(event, topics.grow(name.topic(), partitions)).await
                }
                None if !self.node.settings.now().auto_create_topics => {
                    return Err(Status::not_found(format!("topic {name} does not exist")));
                }
                None => {
                    permits.create(name.topic().as_str())?;
                    // Danube's answer: clients try again for a while, in case the namespace is on its way.
                    target::namespace(&self.node, &name).map_err(Status::unavailable)?;
                    let settings = TopicSettings { dispatch: Some(strategy), ..TopicSettings::default() };
                    let (topic, partitions_now) = (name.topic().as_str(), partitions as usize);
                    let event = AuditEvent::TopicCreated { topic, partitions: partitions_now };
                    permits.tell(event, topics.create(name.topic().clone(), partitions, settings)).await
                }
            };
            match changed {
                Ok(_) | Err(TopicError::Exists(_) | TopicError::NotMore { .. } | TopicError::Unknown(_)) => {}
                Err(error @ (TopicError::Internal | TopicError::Partitions { .. })) => {
                    return Err(Status::invalid_argument(error.to_string()));
                }
                Err(error) => return Err(Status::unavailable(error.to_string())),
            }
        }
        Err(Status::unavailable(format!("topic {name} changes too fast")))
    }

    /// A producer needs a schema that exists, in a version that exists.
    fn check_schema(&self, schema: &SchemaReference) -> Result<(), Status> {
        let subject = self.node.schemas.subject(&schema.subject).map_err(|error| schema_status(&error))?;
        let latest = subject.latest().map_or(0, |version| version.number);
        let exists = match schema.version_ref {
            None | Some(VersionRef::UseLatest(_)) => true,
            Some(VersionRef::PinnedVersion(version)) => subject.versions.contains_key(&version),
            Some(VersionRef::MinVersion(version)) => version <= latest,
        };
        if exists {
            return Ok(());
        }
        let text = format!("schema subject {:?} has no such version; its latest is {latest}", subject.name);
        Err(Status::failed_precondition(text))
    }

    /// Whether the message follows its topic's schema, as far as the topic's policy asks for it. What is refused stays
    /// refused, so the status is one that no client answers by trying again.
    fn check_message(&self, topic: &Topic, message: &StreamMessage) -> Result<(), Status> {
        let schemas = &self.node.schemas;
        let Some(schema) = schemas.of_topic(topic.id) else { return Ok(()) };
        if schema.policy == ValidationPolicy::None {
            return Ok(());
        }
        let (id, version) = (message.schema_id, message.schema_version);
        match schemas.check_message(&schema, id, version, &message.payload) {
            Ok(()) => Ok(()),
            Err(violation) if violation.refuses(schema.policy) => {
                Err(Status::invalid_argument(violation.to_string()))
            }
            Err(violation) => {
                self.warn(topic, &message.producer_name, &violation);
                Ok(())
            }
        }
    }

    /// One warning says enough about a producer that sends thousands of messages.
    fn warn(&self, topic: &Topic, producer: &str, violation: &Violation) {
        let now_ms = self.node.world.clock.now().0;
        let warned_ms = self.warned_at.load(Ordering::Relaxed);
        if now_ms >= warned_ms + WARN_EVERY_MS {
            self.warned_at.store(now_ms, Ordering::Relaxed);
            tracing::warn!(topic = %topic.name, producer, %violation, "a message does not follow its topic's schema");
        }
    }

    async fn store(
        &self,
        topic: &Topic,
        partition: &Partition,
        message: StreamMessage,
    ) -> Result<(), Status> {
        let (timestamp, record) =
            message::to_record(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let now = Timestamp(self.node.world.clock.wall_ms());
        let timestamp = if timestamp == Timestamp(0) { now } else { timestamp };
        let mut batch = BatchBuilder::new(timestamp);
        batch.push(timestamp, record);
        // Danube's clients know their own limit, which is larger than the one that a Kafka broker has by default.
        let batch_bytes_max = topic.rules.own_batch_bytes_max.unwrap_or(usize::MAX);
        let rules = Rules { topic: &topic.rules, batch_bytes_max, now, zstd: true };
        // What the topic's configs refuse stays refused, so the status is one that no client answers by trying again.
        let batch = validate::checked_batch(batch.build(), rules)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let appended = self.node.append(partition, &batch).await.map_err(append_status)?;
        if topic.settings.dispatch == Some(DispatchStrategy::NonReliable) {
            return Ok(());
        }
        let durable = self.node.store.wait(appended.ticket, Durability::Durable).await;
        durable.map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// A topic that a Kafka client made promises nothing yet and takes either.
fn check_strategy(topic: &Topic, wanted: DispatchStrategy) -> Result<(), Status> {
    match topic.settings.dispatch {
        Some(promised) if promised != wanted => {
            let text = format!("topic {} has dispatch strategy {promised:?}, not {wanted:?}", topic.name);
            Err(Status::failed_precondition(text))
        }
        _ => Ok(()),
    }
}

/// The message's bytes. All clients refuse to receive more than 4 MiB.
fn check_size(message: &StreamMessage) -> Result<usize, Status> {
    use prost::Message;
    let (given, max) = (message.encoded_len(), limits::DANUBE_SENT_BYTES_MAX);
    if given > max {
        return Err(Status::invalid_argument(format!("the message has {given} bytes; {max} are allowed")));
    }
    Ok(given)
}

/// Clients choose the partition themselves. For one that produces to a partitioned topic as a whole it is chosen as they
/// would by key, and without a key by producer, so that the order of either is kept.
fn choose_partition<'a>(target: &'a Target, message: &StreamMessage) -> &'a Arc<Partition> {
    let partitions = &target.topic.partitions;
    if let Some(partition) = target.partition() {
        return partition;
    }
    let key = message.routing_key.as_deref().unwrap_or(&message.producer_name);
    &partitions[(fnv1a(key.as_bytes()) % partitions.len() as u64) as usize]
}

/// FNV-1a, 64 bits: how Danube's clients place keys.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// No client tries again after these, except when the store asks for it.
fn schema_status(error: &SchemaError) -> Status {
    match error {
        SchemaError::Record(_) => Status::unavailable(error.to_string()),
        _ => Status::failed_precondition(error.to_string()),
    }
}

fn append_status(error: AppendError) -> Status {
    match error {
        AppendError::Deleted
        | AppendError::Closed
        | AppendError::Full
        | AppendError::NoSpace
        | AppendError::Offline { .. } => Status::unavailable(error.to_string()),
        AppendError::OutOfOrderSequence { .. }
        | AppendError::InvalidProducerEpoch { .. }
        | AppendError::InvalidProducer { .. } => Status::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_placed_as_the_clients_place_them() {
        let vectors = [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("payment", 0xc1f6_9fc9_824b_6931),
            ("shipping", 0x32dc_79fa_d303_b063),
            ("order-123", 0x1b96_f9c2_8b5d_5aba),
            ("user-1", 0xf84b_a2aa_754a_4bd4_u64),
        ];
        for (key, hash) in vectors {
            assert_eq!(fnv1a(key.as_bytes()), hash, "{key:?}");
        }
    }
}
