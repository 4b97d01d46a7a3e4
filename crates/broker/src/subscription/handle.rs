//! A subscription as everyone but its owner sees it: an address for commands.

use super::{
    SubscriptionId,
    policy::SubscriptionPolicy,
    view::{KeyView, PartitionView},
};
use crate::internal_topic::InternalTopicError;
use bytes::Bytes;
use keyway_danube_wire::proto::StreamMessage;
use keyway_dispatch::{ConsumerId, KeyOrder, Mode, Refusal, Token};
use keyway_log::{ReadError, Ticket};
use keyway_record::{KeyHash, Offset};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for the owner. Whoever sends more waits, and with it the client behind it.
pub(super) const COMMANDS_MAX: usize = 4_096;

/// One subscription of one partition.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    pub(crate) mode: Mode,
    /// Whether deliveries are repeated until they are answered, and the position survives a restart.
    pub(crate) reliable: bool,
    pub(super) commands: mpsc::Sender<Command>,
}

/// A consumer that a subscription knows, connected or not.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// The id that clients use.
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Topic or partition exactly as the client wrote it.
    pub(crate) topic_name: String,
    pub(crate) filters: Vec<Bytes>,
    /// When its client was last heard of, ms of the broker's clock.
    heard_at: AtomicU64,
}

/// What the owner is told.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe {
        request: SubscribeRequest,
        reply: oneshot::Sender<Result<Subscribed, SubscribeError>>,
    },
    Open {
        consumer: Arc<Consumer>,
        stream: ConsumerId,
        outlet: mpsc::Sender<Item>,
        broker_addr: String,
    },
    Close {
        stream: ConsumerId,
    },
    Ack {
        offset: Offset,
        token: Option<Token>,
    },
    Nack {
        offset: Offset,
        token: Option<Token>,
        delay_ms: Option<u64>,
        reason: Option<String>,
    },
    SetPolicy {
        policy: Box<SubscriptionPolicy>,
    },
    Describe {
        reply: oneshot::Sender<PartitionView>,
    },
    Keys {
        order: KeyOrder,
        limit: usize,
        reply: oneshot::Sender<Vec<KeyView>>,
    },
    Key {
        key: Bytes,
        reply: oneshot::Sender<Option<KeyView>>,
    },
    /// The reply says how many keys (messages, where none has a key) waited for this.
    Release {
        key: Option<Bytes>,
        reply: oneshot::Sender<u64>,
    },
    /// The reply says what its durability waits for.
    Seek {
        to: Offset,
        reply: oneshot::Sender<Option<Ticket>>,
    },
    /// The subscription is given up; the reply comes when its records are durably gone.
    Delete {
        reply: oneshot::Sender<Result<(), Arc<InternalTopicError>>>,
    },
}

/// Who wants to consume.
#[derive(Debug)]
pub(crate) struct SubscribeRequest {
    /// The id that the consumer gets.
    pub(crate) consumer_id: u64,
    pub(crate) consumer_name: String,
    pub(crate) topic_name: String,
    pub(crate) filters: Vec<Bytes>,
}

/// A consumer that was taken in; durable once the ticket is.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) consumer: Arc<Consumer>,
    pub(super) ticket: Option<Ticket>,
}

/// Why a consumer was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("the subscription exists with type {exists:?}")]
    OtherType { exists: Mode },
    #[error("the subscription is exclusive and consumer {holder:?} holds it")]
    Exclusive { holder: String },
    #[error("the subscription has {max} consumers, which is the limit")]
    TooManyConsumers { max: usize },
    #[error("the topic has {max} subscriptions, which is the limit")]
    TooManySubscriptions { max: usize },
    #[error("the consumer id {id} belongs to another consumer; choose another name")]
    IdTaken { id: u64 },
    #[error("the log cannot be read for the subscription's start: {0}")]
    Read(#[from] ReadError),
    #[error("the subscription cannot be stored: {reason}")]
    Store { reason: String },
    #[error("the subscription ends")]
    Ended,
}

/// What comes out of a consumer's stream: messages, then at most one end.
pub(crate) type Item = Result<StreamMessage, StreamEnd>;

/// Why the owner ended a stream.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StreamEnd {
    #[error("another client took over under the same consumer name")]
    TakenOver,
    #[error(transparent)]
    Refused(Refusal),
    #[error("the subscription was deleted")]
    Deleted,
}

impl Subscription {
    /// Hands the owner an answer to a delivery. Returns once it is queued: an ack that is lost with the process only
    /// repeats the delivery.
    pub(crate) async fn ack(&self, offset: Offset, token: Option<Token>) {
        self.command(Command::Ack { offset, token }).await;
    }

    /// As [`Subscription::ack`], for a message that could not be processed.
    pub(crate) async fn nack(
        &self,
        offset: Offset,
        token: Option<Token>,
        delay_ms: Option<u64>,
        reason: Option<String>,
    ) {
        self.command(Command::Nack { offset, token, delay_ms, reason }).await;
    }

    /// Opens the consumer's stream; one that is open is ended.
    pub(crate) async fn open(
        &self,
        consumer: Arc<Consumer>,
        stream: ConsumerId,
        outlet: mpsc::Sender<Item>,
        broker_addr: String,
    ) {
        self.command(Command::Open { consumer, stream, outlet, broker_addr }).await;
    }

    /// The stream is gone. Never waits, so that a destructor may call it.
    pub(crate) fn close_soon(&self, stream: ConsumerId) {
        self.command_soon(Command::Close { stream });
    }

    /// [`Subscription::ack`] for those who cannot wait.
    pub(crate) fn ack_soon(&self, offset: Offset, token: Token) {
        self.command_soon(Command::Ack { offset, token: Some(token) });
    }

    /// A command to an owner that has ended is void: it ends with its topic or with the broker.
    pub(super) async fn command(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            _ = self.commands.send(command).await;
        }
    }

    fn command_soon(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let commands = self.commands.clone();
            // Without a runtime the owner is gone too.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { _ = commands.send(command).await });
            }
        }
    }
}

impl Consumer {
    pub(super) fn new(id: u64, name: String, topic_name: String, filters: Vec<Bytes>, now_ms: u64) -> Self {
        Self { id, name, topic_name, filters, heard_at: AtomicU64::new(now_ms) }
    }

    /// The same name has the same place among the consumers, after a restart too.
    pub(super) fn name_hash(&self) -> u64 {
        KeyHash::of(self.name.as_bytes()).high()
    }

    /// Its client gave a sign of life.
    pub(crate) fn heard(&self, now_ms: u64) {
        self.heard_at.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn heard_at(&self) -> u64 {
        self.heard_at.load(Ordering::Relaxed)
    }
}
