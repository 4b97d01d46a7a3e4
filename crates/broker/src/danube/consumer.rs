//! `danube.ConsumerService`: consumers, their streams, their answers.

use super::{
    authority::BrokerUrl,
    delivery_stream::DeliveryStream,
    ids::consumer_id,
    permits::Permits,
    standing::Standing,
    target::{self, Target},
    throttle::Account,
};
use crate::{
    node::Node,
    subscription::{
        OUTLET_ITEMS, StartPosition, StartPositionError, SubscribeError, SubscribeRequest, Subscription,
        Wanted,
    },
    topics::DispatchStrategy,
};
use bytes::Bytes;
use keyway_access::quota::QuotaKind;
use keyway_danube_wire::proto::{
    AckRequest, AckResponse, ConsumerRequest, ConsumerResponse, MsgId, NackRequest, NackResponse,
    ReceiveRequest, SubscriptionType, consumer_service_server::ConsumerService,
};
use keyway_dispatch::{Config, Mode, Token};
use keyway_record::{Offset, PartitionId};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// What a client says beside Subscribe that wants another start than the next message.
const START_METADATA: &str = "keyway-start-position";

/// Pause before an unknown consumer is refused: some clients ask again at once, without end.
const UNKNOWN_PAUSE_MS: u64 = 700;

/// Tokens carry their owner's epoch, at least 1, above 40 bits; a client's counter does not get there.
const COUNTER_MAX: u64 = 1 << 40;

/// Most key filters of one consumer.
const FILTERS_MAX: usize = 1_024;

/// The service.
pub(super) struct Consumers {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl ConsumerService for Consumers {
    async fn subscribe(
        &self,
        request: Request<ConsumerRequest>,
    ) -> Result<Response<ConsumerResponse>, Status> {
        let start = start(request.metadata())?;
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        target::check_name("subscription", &request.subscription)?;
        target::check_name("consumer", &request.consumer_name)?;
        let mode = mode(request.subscription_type)?;
        let filters = filters(request.key_filters)?;
        let name = target::topic_ref(&request.topic_name)?;
        permits.work(name.topic().as_str(), &request.subscription)?;
        let target = Target::find(&self.node, name)
            .ok_or_else(|| Status::not_found(format!("topic {} does not exist", request.topic_name)))?;
        // A consumer that knew the topic before it was partitioned goes on with the partition that it had.
        let first = target.topic.partition(PartitionId(0)).expect("a topic has a partition");
        let known = consumer_id(&first.id, &request.subscription, &request.consumer_name);
        let known = self.node.subscriptions.consumer(known).is_some();
        let partition = target.partition().or(Some(first).filter(|_| known)).ok_or_else(|| {
            Status::invalid_argument("the topic is partitioned; subscribe to each of its partitions")
        })?;
        let wanted = Wanted {
            partition,
            name: &request.subscription,
            mode,
            reliable: target.topic.settings.dispatch != Some(DispatchStrategy::NonReliable),
            start,
            caller: Some(permits.caller()),
        };
        let subscribe = SubscribeRequest {
            consumer_id: consumer_id(&partition.id, &request.subscription, &request.consumer_name),
            consumer_name: request.consumer_name.clone(),
            topic_name: request.topic_name,
            filters,
        };
        let subscribed = self.node.subscriptions.subscribe(&self.node, wanted, subscribe).await;
        Ok(Response::new(ConsumerResponse {
            request_id: request.request_id,
            consumer_id: subscribed.map_err(subscribe_status)?.id,
            consumer_name: request.consumer_name,
        }))
    }

    type ReceiveMessagesStream = DeliveryStream;

    /// Answers at once: the Rust client can neither ack nor nack until the response has begun.
    async fn receive_messages(
        &self,
        request: Request<ReceiveRequest>,
    ) -> Result<Response<DeliveryStream>, Status> {
        let broker_addr =
            request.extensions().get::<BrokerUrl>().map_or_else(String::new, |url| url.0.clone());
        let permits = Permits::of(&self.node, &request);
        let (_, extensions, request) = request.into_parts();
        let id = request.consumer_id;
        let clock = self.node.world.clock.clone();
        if self.node.stopping.is_cancelled() {
            return Err(Status::unavailable("the broker stops; open the stream again"));
        }
        let Some((subscription, consumer)) = self.node.subscriptions.consumer(id) else {
            clock.sleep_until(clock.now().plus(UNKNOWN_PAUSE_MS)).await;
            return Err(Status::unavailable(format!("consumer {id} is not known; subscribe again")));
        };
        permits_consumer(&self.node, &permits, &subscription)?;
        consumer.heard(clock.now().0);
        let stream = self.node.subscriptions.next_stream();
        let (outlet, items) = mpsc::channel(OUTLET_ITEMS);
        let account = Account::new(&self.node, QuotaKind::ConsumerByteRate, &extensions, &consumer.name);
        // The stream exists before its command is sent, so its end is told however this call ends.
        let standing = Standing::of(&self.node, &extensions, &subscription);
        let delivery = DeliveryStream::new(items, subscription.clone(), stream, clock, account, standing);
        subscription.open(consumer, stream, outlet, broker_addr).await;
        Ok(Response::new(delivery))
    }

    /// Answers once the ack is on its way to the subscription's owner. One that is lost in a crash repeats the delivery.
    async fn ack(&self, request: Request<AckRequest>) -> Result<Response<AckResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let AckRequest { request_id, msg_id, subscription_name } = request.into_inner();
        if let Some((subscription, offset)) = self.answered(&permits, msg_id, &subscription_name)? {
            subscription.ack(offset, token(request_id)).await;
        }
        Ok(Response::new(AckResponse { request_id }))
    }

    /// As an ack.
    async fn nack(&self, request: Request<NackRequest>) -> Result<Response<NackResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let NackRequest { request_id, msg_id, subscription_name, delay_ms, reason } = request.into_inner();
        if let Some((subscription, offset)) = self.answered(&permits, msg_id, &subscription_name)? {
            let reason = reason.map(shortened);
            subscription.nack(offset, token(request_id), delay_ms, reason).await;
        }
        Ok(Response::new(NackResponse { request_id }))
    }
}

impl Consumers {
    /// What is answered; nothing if it is no more, which is no mistake of the client.
    fn answered(
        &self,
        permits: &Permits<'_>,
        msg_id: Option<MsgId>,
        subscription: &str,
    ) -> Result<Option<(Arc<Subscription>, Offset)>, Status> {
        let id = msg_id.ok_or_else(|| Status::invalid_argument("the request has no msg_id"))?;
        let name = target::topic_ref(&id.topic_name)?;
        permits.work(name.topic().as_str(), subscription)?;
        let offset = i64::try_from(id.topic_offset)
            .map_err(|_| Status::invalid_argument(format!("offset {} cannot be", id.topic_offset)))?;
        let Some(topic) = self.node.topics.named(name.topic().as_str()) else { return Ok(None) };
        let partition = name.partition().unwrap_or(PartitionId(0));
        let subscription = self.node.subscriptions.named(topic.id, partition, subscription);
        Ok(subscription.map(|subscription| (subscription, Offset(offset))))
    }
}

/// Whoever knows a consumer's id has to be allowed its work all the same.
pub(super) fn permits_consumer(
    node: &Node,
    permits: &Permits<'_>,
    subscription: &Subscription,
) -> Result<(), Status> {
    let topic = node.topics.of_id(subscription.id.topic);
    permits.work(topic.as_ref().map_or("", |topic| topic.name.as_str()), &subscription.id.name)
}

/// Clients echo the token of a delivery; Java sends a small counter of its own instead.
fn token(request_id: u64) -> Option<Token> {
    (request_id >= COUNTER_MAX).then(|| Token::from_raw(request_id))
}

/// Where a subscription begins that is made by this call; one that exists goes on where it is.
fn start(metadata: &MetadataMap) -> Result<StartPosition, Status> {
    let Some(given) = metadata.get(START_METADATA) else { return Ok(StartPosition::Latest) };
    let given = given.to_str().unwrap_or("bytes that are no text");
    given.parse().map_err(|error: StartPositionError| Status::invalid_argument(error.to_string()))
}

fn mode(number: i32) -> Result<Mode, Status> {
    match SubscriptionType::try_from(number) {
        Ok(SubscriptionType::ExclusiveConsumer) => Ok(Mode::Exclusive),
        Ok(SubscriptionType::SharedConsumers) => Ok(Mode::Shared),
        Ok(SubscriptionType::FailoverConsumers) => Ok(Mode::Failover),
        Ok(SubscriptionType::KeySharedConsumers) => Ok(Mode::KeyShared),
        Err(_) => Err(Status::invalid_argument(format!("subscription type {number} is unknown"))),
    }
}

fn filters(patterns: Vec<String>) -> Result<Vec<Bytes>, Status> {
    if patterns.len() > FILTERS_MAX {
        let text = format!("{} key filters; {FILTERS_MAX} are allowed", patterns.len());
        return Err(Status::invalid_argument(text));
    }
    let max = Config::PATTERN_BYTES_MAX;
    if let Some(long) = patterns.iter().find(|pattern| pattern.len() > max) {
        return Err(Status::invalid_argument(format!(
            "a key filter has {} bytes; {max} are allowed",
            long.len()
        )));
    }
    Ok(patterns.into_iter().map(Bytes::from).collect())
}

fn shortened(mut reason: String) -> String {
    let mut end = reason.len().min(Config::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

/// Final errors are those that trying again does not help.
fn subscribe_status(error: SubscribeError) -> Status {
    let text = error.to_string();
    match error {
        SubscribeError::OtherType { .. } | SubscribeError::IdTaken { .. } => Status::invalid_argument(text),
        SubscribeError::Exclusive { .. } => Status::permission_denied(text),
        SubscribeError::TooManyConsumers { .. } | SubscribeError::TooManySubscriptions { .. } => {
            Status::resource_exhausted(text)
        }
        SubscribeError::Read(_) | SubscribeError::Store { .. } | SubscribeError::Ended => {
            Status::unavailable(text)
        }
    }
}
