//! Produce: batches go to the log as they came. Every append is done when [`handle`] returns; what follows is one wait
//! for the last of them, however many partitions there are.

use super::{
    Head, Reply,
    call::Call,
    lookup::{self, TopicRef},
    throttle::Account,
    topic_error,
};
use crate::{
    node::Node,
    partition::Partition,
    topics::Topic,
    transactions::WriteError,
    validate::{self, InvalidBatch, RefusedRecord, Rules},
};
use futures_util::FutureExt;
use keyway_access::{Operation, Resource};
use keyway_groups::{TransactionalId, transaction::Version};
use keyway_kafka_wire::{
    Decoder,
    produce::{
        BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
        ProduceResponse, TopicProduceResponse,
    },
    response_frame,
};
use keyway_log::{AppendError, Appended, Durability, Ticket};
use keyway_record::{ErrorCode, Offset, PartitionId, RecordBatch, Timestamp};
use std::sync::Arc;

/// First version in which zstd is allowed.
const ZSTD_FROM: i16 = 7;

/// First version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;

/// First version in which a write adds its partition to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 12;

pub(super) async fn handle(call: &Call<'_>, mut body: Decoder) -> Reply {
    let head = call.head;
    let request = match ProduceRequest::decode(&mut body, head.version) {
        Ok(request) => request,
        Err(error) => return head.malformed(error),
    };
    let acks = Acks::of(request.acks);
    let mut newest = None;
    let of_request = check_transaction(call, &request).err();
    let of_request = of_request.or(acks.is_none().then_some(ErrorCode::InvalidRequiredAcks));
    let transactional_id = request.transactional_id.as_deref().map(TransactionalId::from);
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for asked in request.topic_data {
        let named = TopicRef::of(head.version >= 13, &asked.name, asked.topic_id);
        let topic =
            lookup::permitted(call, named, Operation::Write).map_err(|error| refused_topic(named, error));
        let mut partition_responses = Vec::with_capacity(asked.partition_data.len());
        for data in asked.partition_data {
            let index = data.index;
            let appended = match (of_request, &topic) {
                (Some(error), _) | (None, &Err(error)) => Err(Refusal::of(error)),
                (None, Ok(topic)) => append(call, topic, transactional_id.as_ref(), data).await,
            };
            if let Ok(placed) = &appended {
                newest = newest.max(Some(placed.appended.ticket));
            } else if acks == Some(Acks::None) {
                return Reply::Close("a batch sent with acks=0 was refused".to_owned());
            }
            partition_responses.push(answer(index, appended));
        }
        responses.push(TopicProduceResponse {
            name: asked.name,
            topic_id: asked.topic_id,
            partition_responses,
        });
    }
    let is_answered = acks != Some(Acks::None);
    let account = Account::of(call);
    let throttle_time_ms = account.map_or(0, |account| account.produced(call.request_bytes, is_answered));
    reply(call.node, head, acks, newest, ProduceResponse { responses, throttle_time_ms })
}

/// Refuses all of a request that writes in a transaction which is not the client's to write in.
fn check_transaction(call: &Call<'_>, request: &ProduceRequest) -> Result<(), ErrorCode> {
    let Some(id) = request.transactional_id.as_deref() else { return Ok(()) };
    if !call.node.access.is_enforced() {
        return Ok(());
    }
    let mut partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional = |data: &PartitionProduceData| {
        let first = data.records.as_ref().and_then(|records| RecordBatch::parse_first(records).ok());
        first.is_some_and(|batch| batch.is_transactional())
    };
    if !partitions.any(is_transactional) {
        return Ok(());
    }
    call.check(Operation::Write, Resource::transactional_id(id))
}

/// When a producer wants its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acks {
    None,
    Written,
    Durable,
}

impl Acks {
    fn of(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Written),
            -1 => Some(Self::Durable),
            _ => None,
        }
    }
}

/// Why a batch was not taken.
#[derive(Debug)]
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
    records: Vec<RefusedRecord>,
    /// Where the log starts that did not take it; clients tell by it what they have lost.
    log_start: Option<Offset>,
}

impl Refusal {
    fn of(error: ErrorCode) -> Self {
        Self { error, message: None, records: Vec::new(), log_start: None }
    }

    fn of_batch(invalid: InvalidBatch, partition: &Partition) -> Self {
        let log_start = (!invalid.is_of_form()).then(|| partition.log.bounds().start);
        let (error, message) = (invalid.error_code(), Some(invalid.to_string()));
        let records = match invalid {
            InvalidBatch::Refused(records) => records.first,
            _ => Vec::new(),
        };
        Self { error, message, records, log_start }
    }

    fn of_append(refused: &AppendError, partition: &Partition) -> Self {
        let error = topic_error::of_append(refused);
        let is_of_log = matches!(error, ErrorCode::KafkaStorageError | ErrorCode::UnknownTopicOrPartition);
        let log_start = (!is_of_log).then(|| partition.log.bounds().start);
        Self { message: Some(refused.to_string()), log_start, ..Self::of(error) }
    }
}

fn refused_topic(topic: TopicRef<'_>, error: ErrorCode) -> ErrorCode {
    match (topic, error) {
        // Retrying will not help, which is what the other code would make a client do.
        (TopicRef::Name(name), ErrorCode::UnknownTopicOrPartition) if name.starts_with("__") => {
            ErrorCode::InvalidTopicException
        }
        (_, error) => error,
    }
}

/// Where a batch came to lie.
struct Placed {
    appended: Appended,
    /// The time that the topic gave its records, if it does.
    append_time: Timestamp,
    log_start: Offset,
}

async fn append(
    call: &Call<'_>,
    topic: &Topic,
    transactional_id: Option<&TransactionalId>,
    data: PartitionProduceData,
) -> Result<Placed, Refusal> {
    let (node, version) = (call.node, call.version());
    let partition = topic.partition(PartitionId(data.index));
    let partition = partition.ok_or_else(|| Refusal::of(ErrorCode::UnknownTopicOrPartition))?;
    let now = Timestamp(node.world.clock.wall_ms());
    let batch_bytes_max = topic.rules.batch_bytes_max;
    let rules = Rules { topic: &topic.rules, batch_bytes_max, now, zstd: version >= ZSTD_FROM };
    let batch = validate::produced_batch(data.records.unwrap_or_default(), rules)
        .map_err(|invalid| Refusal::of_batch(invalid, partition))?;
    let appended = match (batch.is_transactional(), transactional_id) {
        (false, _) => {
            let appended = node.append(partition, &batch).await;
            appended.map_err(|refused| Refusal::of_append(&refused, partition))?
        }
        // Kafka's code: whoever names no transactional id cannot be allowed to use it.
        (true, None) => return Err(Refusal::of(ErrorCode::TransactionalIdAuthorizationFailed)),
        (true, Some(id)) => {
            let rules = if version >= IMPLICIT_FROM { Version::V2 } else { Version::V1 };
            let appended = node.transactions.append(node, id, partition, &batch, rules).await;
            appended.map_err(|error| refused_by_transaction(error, partition, rules, version))?
        }
    };
    let append_time = if batch.is_log_append_time() { batch.max_timestamp() } else { Timestamp::NONE };
    Ok(Placed { appended, append_time, log_start: partition.log.bounds().start })
}

/// What producers of either generation know how to go on from.
fn refused_by_transaction(error: WriteError, partition: &Partition, rules: Version, version: i16) -> Refusal {
    match error {
        WriteError::Append(error) => Refusal::of_append(&error, partition),
        WriteError::Transaction(error) => {
            let busy = ErrorCode::NotEnoughReplicas;
            Refusal::of(topic_error::of_transactional_write(error, rules, busy, version >= ABORTABLE_FROM))
        }
    }
}

fn answer(index: i32, placed: Result<Placed, Refusal>) -> PartitionProduceResponse {
    match placed {
        Ok(placed) => PartitionProduceResponse {
            index,
            base_offset: placed.appended.base_offset.0,
            log_append_time_ms: placed.append_time.0,
            log_start_offset: placed.log_start.0,
            ..Default::default()
        },
        Err(refusal) => refused(index, refusal),
    }
}

fn refused(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    let record_error = |record: RefusedRecord| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(record.index()).expect("records are counted in 31 bits"),
        batch_index_error_message: Some(record.to_string()),
    };
    PartitionProduceResponse {
        index,
        error_code: refusal.error.code(),
        base_offset: -1,
        log_start_offset: refusal.log_start.map_or(-1, |start| start.0),
        record_errors: refusal.records.into_iter().map(record_error).collect(),
        error_message: refusal.message,
        ..Default::default()
    }
}

fn reply(
    node: &Arc<Node>,
    head: Head,
    acks: Option<Acks>,
    newest: Option<Ticket>,
    response: ProduceResponse,
) -> Reply {
    let durability = match acks {
        Some(Acks::None) => return Reply::Nothing,
        Some(Acks::Written) | None => Durability::Written,
        Some(Acks::Durable) => Durability::Durable,
    };
    let Some(newest) = newest else {
        return match frame(head, &response) {
            Some(frame) => Reply::Now(frame),
            None => Reply::Close("a Produce response cannot be written".to_owned()),
        };
    };
    let waited = node.store.wait(newest, durability);
    let later = async move {
        match waited.await {
            Ok(()) => frame(head, &response),
            Err(error) => {
                tracing::error!(%error, "the log stopped before batches were safe");
                frame(head, &unacknowledged(response))
            }
        }
    };
    Reply::Later(later.boxed())
}

fn frame(head: Head, response: &ProduceResponse) -> Option<Vec<bytes::Bytes>> {
    let encoded =
        response_frame(head.api, head.version, head.correlation_id, |out| response.encode(out, head.version));
    encoded
        .map(|frame| vec![frame])
        .map_err(|error| tracing::error!("a Produce response cannot be written: {error}"))
        .ok()
}

/// Nobody knows whether the batches are safe, so none of them is acknowledged.
fn unacknowledged(mut response: ProduceResponse) -> ProduceResponse {
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        if partition.error_code == ErrorCode::None.code() {
            *partition = refused(partition.index, Refusal::of(ErrorCode::KafkaStorageError));
        }
    }
    response
}
