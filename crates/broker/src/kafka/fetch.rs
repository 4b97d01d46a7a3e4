//! Fetch: whole batches from the log to the socket, uncopied; waits for records if there are too few. There are no
//! fetch sessions: every answer is complete and says so with session id 0, as a broker's whose session cache is full.

use super::{
    Head, Reply,
    call::{Call, isolation},
    lookup::{self, TopicRef},
    throttle::Account,
    topic_error,
};
use crate::{node::Node, partition::Partition};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::{
    ByteStr, Decoder, EncodeError,
    fetch::{AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData},
    messages::{FetchRequest, fetch::FetchPartition},
};
use keyway_log::{Isolation, ReadError, ReadLimit, Slice, epochs::EpochEnd, transactions::Aborted};
use keyway_record::{ErrorCode, LeaderEpoch, Offset, TopicId};
use keyway_runtime::Millis;
use std::sync::Arc;

/// Most record bytes of one response; `fetch.max.bytes` of Kafka's brokers.
const FETCH_BYTES_MAX: usize = 55 * 1024 * 1024;

/// Longest wait for records.
const WAIT_MS_MAX: u64 = 30_000;

/// First version that names topics by id.
const IDS_FROM: i16 = 13;

pub(super) async fn handle(call: &Call<'_>, mut body: Decoder) -> Reply {
    let head = call.head;
    let request = match FetchRequest::decode(&mut body, head.version) {
        Ok(request) => request,
        Err(error) => return head.malformed(error),
    };
    // Epoch 0 asks for a session and -1 for none; both bring the full list of partitions.
    if request.session_epoch > 0 {
        return refused(head, ErrorCode::FetchSessionIdNotFound);
    }
    if request.session_epoch < -1 {
        return refused(head, ErrorCode::InvalidFetchSessionEpoch);
    }
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0).min(WAIT_MS_MAX);
    let account = Account::of(call);
    let mut fetch = Fetch::new(call, request);
    if let Some(bytes_max) = account.as_ref().and_then(Account::fetch_bytes_max) {
        fetch.bytes_max = fetch.bytes_max.min(bytes_max);
        fetch.bytes_min = fetch.bytes_min.min(fetch.bytes_max);
    }
    fetch.read_all();
    if wait_ms == 0 || fetch.wanted.is_empty() || fetch.is_enough() {
        return reply(charged(head, &fetch.into_response(), account));
    }
    let deadline = call.node.world.clock.now().plus(wait_ms);
    let node = call.node.clone();
    let later = async move {
        fetch.wait(&node, deadline).await;
        charged(head, &fetch.into_response(), account).map_err(|error| tracing::error!("{error}")).ok()
    };
    Reply::Poll(later.boxed())
}

/// The response, or an empty one if its client has to wait before it gets more.
fn charged(
    head: Head,
    response: &FetchResponse,
    account: Option<Account>,
) -> Result<Vec<Bytes>, EncodeError> {
    let pieces = response.frame(head.version, head.correlation_id)?;
    let Some(account) = account else { return Ok(pieces) };
    match account.fetched(pieces.iter().map(Bytes::len).sum()) {
        0 => Ok(pieces),
        throttle_time_ms => {
            FetchResponse { throttle_time_ms, ..Default::default() }.frame(head.version, head.correlation_id)
        }
    }
}

fn refused(head: Head, error: ErrorCode) -> Reply {
    let response = FetchResponse { error_code: error.code(), ..Default::default() };
    reply(response.frame(head.version, head.correlation_id))
}

fn reply(frame: Result<Vec<Bytes>, EncodeError>) -> Reply {
    match frame {
        Ok(pieces) => Reply::Now(pieces),
        Err(error) => Reply::Close(format!("a Fetch response cannot be written: {error}")),
    }
}

/// One fetch and what was read for it so far.
struct Fetch {
    topics: Vec<WantedTopic>,
    /// The partitions of all topics, in order.
    wanted: Vec<Wanted>,
    bytes_min: usize,
    bytes_max: usize,
    /// Bytes in the slices of all that is wanted.
    bytes: usize,
    /// A partition has something to say that does not wait for records.
    is_urgent: bool,
    isolation: Isolation,
}

struct WantedTopic {
    name: ByteStr,
    id: TopicId,
    /// How many of [`Fetch::wanted`] are its partitions.
    partitions: usize,
}

/// One partition and the batches read from it.
struct Wanted {
    index: i32,
    partition: Result<Arc<Partition>, Unreadable>,
    from: Offset,
    bytes_max: usize,
    slice: Slice,
}

/// Why nothing is read of a partition.
enum Unreadable {
    Error(ErrorCode),
    /// The reader read records that are gone, and gets none that follow them: its log and this one part here.
    Diverging(Arc<Partition>, EpochEnd),
}

impl Fetch {
    fn new(call: &Call<'_>, request: FetchRequest) -> Self {
        // Whoever says that it is a replica gets what only brokers may.
        let replica_id = request.replica_id.max(request.replica_state.replica_id);
        let may_replicate = replica_id < 0 || call.may(Operation::ClusterAction, Resource::CLUSTER);
        let topic = |named: TopicRef<'_>| match replica_id {
            _ if !may_replicate => Err(ErrorCode::TopicAuthorizationFailed),
            ..0 => lookup::permitted(call, named, Operation::Read),
            _ => lookup::topic(call.node, named).ok_or(named.unknown()),
        };
        let mut fetch = Self {
            topics: Vec::with_capacity(request.topics.len()),
            wanted: Vec::new(),
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0),
            bytes_max: usize::try_from(request.max_bytes).unwrap_or(0).min(FETCH_BYTES_MAX),
            bytes: 0,
            is_urgent: false,
            isolation: isolation(request.isolation_level),
        };
        for asked in request.topics {
            let named = TopicRef::of(call.version() >= IDS_FROM, &asked.topic, asked.topic_id);
            let topic = topic(named);
            for partition in &asked.partitions {
                let found = lookup::partition(&topic, partition.partition).and_then(|found| {
                    topic_error::check_epoch(found, partition.current_leader_epoch)?;
                    Ok(found.clone())
                });
                fetch.wanted.push(Wanted::new(found, partition));
            }
            let partitions = asked.partitions.len();
            fetch.topics.push(WantedTopic { name: asked.topic.into(), id: asked.topic_id, partitions });
        }
        fetch
    }

    fn is_enough(&self) -> bool {
        self.is_urgent || self.bytes >= self.bytes_min
    }

    fn read_all(&mut self) {
        for place in 0..self.wanted.len() {
            self.read(place);
        }
    }

    /// Reads one partition anew, within what the others leave of the response. The first bytes of a response may
    /// exceed its bounds, so that a large batch never stops a reader.
    fn read(&mut self, place: usize) {
        let wanted = &mut self.wanted[place];
        self.bytes -= wanted.slice.len();
        wanted.slice = Slice { next: wanted.from, ..Slice::default() };
        let Ok(partition) = &wanted.partition else {
            self.is_urgent = true;
            return;
        };
        let bytes_max = wanted.bytes_max.min(self.bytes_max.saturating_sub(self.bytes));
        if bytes_max == 0 && self.bytes > 0 {
            return;
        }
        match read(partition, wanted.from, ReadLimit { bytes_max, isolation: self.isolation }) {
            Ok(slice) if self.bytes > 0 && slice.len() > bytes_max => {}
            Ok(slice) => wanted.slice = slice,
            Err(error) => {
                wanted.partition = Err(Unreadable::Error(error));
                self.is_urgent = true;
            }
        }
        self.bytes += wanted.slice.len();
    }

    /// Returns when there is enough to answer, at the deadline, or when the broker stops.
    async fn wait(&mut self, node: &Node, deadline: Millis) {
        let mut readable: FuturesUnordered<BoxFuture<'static, usize>> = FuturesUnordered::new();
        for place in 0..self.wanted.len() {
            readable.extend(self.wanted[place].readable(place, self.isolation));
        }
        let mut timeout = node.world.clock.sleep_until(deadline);
        while !self.is_enough() {
            let place = tokio::select! {
                biased;
                Some(place) = readable.next() => place,
                () = &mut timeout => return,
                () = node.stopping.cancelled() => return,
            };
            let before = self.wanted[place].slice.next;
            self.read(place);
            // A log that was closed says so by waking us with nothing new; waiting for it again would spin.
            if self.wanted[place].slice.next > before {
                readable.extend(self.wanted[place].readable(place, self.isolation));
            }
        }
    }

    fn into_response(self) -> FetchResponse {
        let mut wanted = self.wanted.into_iter();
        let responses = self.topics.into_iter().map(|topic| FetchableTopicResponse {
            topic: topic.name,
            topic_id: topic.id,
            partitions: wanted
                .by_ref()
                .take(topic.partitions)
                .map(|one| one.into_data(self.isolation))
                .collect(),
        });
        FetchResponse { responses: responses.collect(), ..Default::default() }
    }
}

impl Wanted {
    fn new(partition: Result<Arc<Partition>, ErrorCode>, asked: &FetchPartition) -> Self {
        let from = Offset(asked.fetch_offset);
        let partition = partition.map_err(Unreadable::Error).and_then(|found| readable(found, asked));
        Self {
            index: asked.partition,
            partition,
            from,
            bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
            slice: Slice { next: from, ..Slice::default() },
        }
    }

    /// Resolves to `place` once there is a record that was not read yet.
    fn readable(&self, place: usize, isolation: Isolation) -> Option<BoxFuture<'static, usize>> {
        let partition = self.partition.as_ref().ok()?;
        Some(partition.log.wait_past(self.slice.next, isolation).map(move |()| place).boxed())
    }

    fn into_data(self, isolation: Isolation) -> PartitionData {
        let (partition, diverging_epoch) = match self.partition {
            Ok(partition) => (partition, EpochEndOffset::default()),
            Err(Unreadable::Diverging(partition, found)) => {
                (partition, EpochEndOffset { epoch: found.epoch.0, end_offset: found.end.0 })
            }
            Err(Unreadable::Error(error)) => {
                return PartitionData {
                    partition_index: self.index,
                    error_code: error.code(),
                    high_watermark: -1,
                    // Empty where there is no log to read, null where there is one: so Kafka answers errors.
                    aborted_transactions: is_unknown(error).then(Vec::new),
                    ..Default::default()
                };
            }
        };
        let bounds = partition.log.bounds();
        PartitionData {
            partition_index: self.index,
            high_watermark: bounds.high_watermark.0,
            last_stable_offset: partition.log.last_stable().0,
            log_start_offset: bounds.start.0,
            diverging_epoch,
            aborted_transactions: (isolation == Isolation::ReadCommitted)
                .then(|| self.slice.aborted.iter().map(aborted).collect()),
            records: self.slice.pieces,
            ..Default::default()
        }
    }
}

fn is_unknown(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
}

/// The partition, if what the reader read last is there still; it need not say in which epoch that was.
fn readable(partition: Arc<Partition>, asked: &FetchPartition) -> Result<Arc<Partition>, Unreadable> {
    let epoch = LeaderEpoch(asked.last_fetched_epoch);
    if epoch < LeaderEpoch(0) {
        return Ok(partition);
    }
    match partition.log.epoch_end(epoch) {
        None => Err(Unreadable::Error(ErrorCode::OffsetOutOfRange)),
        Some(found) if found.epoch < epoch || found.end < Offset(asked.fetch_offset) => {
            Err(Unreadable::Diverging(partition, found))
        }
        Some(_) => Ok(partition),
    }
}

fn aborted(aborted: &Aborted) -> AbortedTransaction {
    AbortedTransaction { producer_id: aborted.producer_id.0, first_offset: aborted.first.0 }
}

fn read(partition: &Partition, from: Offset, limit: ReadLimit) -> Result<Slice, ErrorCode> {
    match partition.log.read(from, limit) {
        Ok(slice) => Ok(slice),
        // Appended and not yet durable: nothing to see, but not out of range.
        Err(ReadError::OutOfRange { start, .. }) if from >= start && from <= partition.log.bounds().end => {
            Ok(Slice { next: from, ..Slice::default() })
        }
        Err(error) => Err(topic_error::of_read(partition, &error)),
    }
}
