//! What goes into a step and what comes out.

use crate::{ConsumerId, FailurePolicy, Millis, Token};
use bytes::Bytes;
use keyway_record::{KeyHash, Offset};

/// Something that happened. Ids and offsets that mean nothing (any more) change nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Answer to [`Output::Fetch`]: what the log holds in `[base, end)`; offsets absent from `records` are gaps. Records
    /// ascend. At the end of the log the answer is delayed until there is something. The dispatcher may take only the
    /// front part; it fetches the rest again.
    Records {
        /// First offset of the range: [`Output::Fetch::from`](Output::Fetch).
        base: Offset,
        /// Offset after the range.
        end: Offset,
        /// The records in it, ascending.
        records: Vec<Arrival>,
    },
    /// A consumer is connected and can receive.
    Join(Join),
    /// A consumer wants no more: what it holds may still be acked, then comes [`Output::Drained`].
    Leave {
        /// Who.
        consumer: ConsumerId,
        /// What it still holds then is taken from it and delivered to others, without counting as a failure; without
        /// a deadline its leases run out one by one.
        deadline: Option<Millis>,
    },
    /// A consumer's stream was lost. Key-Shared reserves its keys and its deliveries for `reconnect_grace_ms`; the other
    /// types redeliver at once.
    Gone {
        /// Who.
        consumer: ConsumerId,
    },
    /// A lost consumer is back in time and still has what it was given: its tokens stay valid. (A consumer that forgot
    /// what it had joins again instead.)
    Resume {
        /// Who.
        consumer: ConsumerId,
    },
    /// A consumer declares other key filters.
    SetFilters {
        /// Who.
        consumer: ConsumerId,
        /// Its patterns from now on; none means every key.
        filters: Vec<Bytes>,
    },
    /// A consumer may hold another number of unanswered messages.
    SetCredit {
        /// Who.
        consumer: ConsumerId,
        /// How many.
        credit: u32,
    },
    /// A message was processed.
    Ack {
        /// Which.
        offset: Offset,
        /// The token it was delivered with; without one it counts while the offset is in flight.
        token: Option<Token>,
    },
    /// A message could not be processed.
    Nack {
        /// Which.
        offset: Offset,
        /// The token it was delivered with; without one it counts while the offset is in flight.
        token: Option<Token>,
        /// Least wait before the redelivery; it can only lengthen the policy's.
        delay_ms: Option<u64>,
        /// The consumer's words, for the dead letter.
        reason: Option<String>,
    },
    /// The worker is still busy with a message: its lease begins anew.
    Renew {
        /// Which.
        offset: Offset,
        /// The token it was delivered with.
        token: Token,
    },
    /// Goes on at `to`, backwards or forwards. Whatever is in flight is void, and what is known of failures, waits and
    /// parked keys is forgotten. An outstanding fetch is replaced by a new one; an answer to the old one is ignored.
    Seek {
        /// The new cursor.
        to: Offset,
    },
    /// A used-up message that waits for a person is tried again, from its first attempt; of a parked key the parked
    /// messages are asked for by [`Output::Unpark`]. Only Key-Shared knows keys: elsewhere, [`Input::ReleaseAll`].
    Release {
        /// Whose.
        key: KeyHash,
    },
    /// As [`Input::Release`], for every key, and for messages that have none.
    ReleaseAll,
    /// A part of a key's parked messages, the oldest that are still parked, ascending by the offsets that they had in
    /// this log: they are delivered before the key's live ones. When the whole part is done, [`Output::Unpark`] asks for
    /// the next; an empty part says that nothing is parked any more. Nothing happens if the key is not parked.
    Unpark {
        /// Whose.
        key: KeyHash,
        /// The messages.
        parked: Vec<Arrival>,
    },
    /// The log now begins at `to`: what is older cannot be delivered again.
    LogStart {
        /// First offset of the log.
        to: Offset,
    },
    /// Another failure policy from now on; blocked messages are judged again.
    SetPolicy(FailurePolicy),
    /// The write that [`Output::DeadLetter`] or [`Output::Park`] asked for is durable, or failed and is asked for again
    /// later.
    SideDone {
        /// Which.
        offset: Offset,
        /// Whether it is durable.
        ok: bool,
    },
    /// Answer to [`Output::Reread`]: what the log holds of this key in `[base, end)`.
    Reread {
        /// Whose messages.
        key: KeyHash,
        /// [`Output::Reread::from`](Output::Reread).
        base: Offset,
        /// Offset after the part that was read, above `base`.
        end: Offset,
        /// The key's records in it, ascending.
        records: Vec<Arrival>,
    },
    /// Time passed: [`Dispatcher::next_deadline`](crate::Dispatcher::next_deadline) came.
    Tick,
}

/// A consumer that connects. If one of the same name (hash) is there, this one takes its place: what the other held goes
/// back to the head of its key and is delivered again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// Id for inputs and outputs.
    pub consumer: ConsumerId,
    /// Hash of its name, which places keys: the same name gets the same keys, after a restart too.
    pub name_hash: u64,
    /// Key patterns it wants; none means every key. Only Key-Shared looks at them.
    pub filters: Vec<Bytes>,
    /// Messages it may hold unanswered.
    pub credit: u32,
    /// Messages of one key that it may hold: 1 unless its protocol knows [`Output::Revoke`]. Only Key-Shared looks at it.
    pub in_flight_per_key: u32,
}

/// One record read from the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its offset.
    pub offset: Offset,
    /// Hash of its key; a record without key brings a hash of its own (of its offset, say).
    pub key: KeyHash,
    /// The key's bytes, for filters: always present in Key-Shared subscriptions unless the record has no key. Copied.
    pub key_text: Option<Bytes>,
    /// Payload bytes, for fairness.
    pub size: u32,
}

/// Something to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this message to this consumer.
    Deliver {
        /// Receiver.
        consumer: ConsumerId,
        /// Message.
        offset: Offset,
        /// To come back with the ack.
        token: Token,
        /// 1 for the first delivery.
        attempt: u32,
    },
    /// Everything of this key that the consumer was given with a lower token is void: it is delivered again, to it or to
    /// others. Only for consumers that may hold more than one message of a key.
    Revoke {
        /// Who.
        consumer: ConsumerId,
        /// Of which key.
        key: KeyHash,
        /// Tokens below this one are void.
        token: Token,
    },
    /// Read on; one [`Input::Records`] answers, however late. At most one is outstanding; after a seek a new one replaces
    /// it.
    Fetch {
        /// Where.
        from: Offset,
        /// Most records that are of use.
        records_max: u32,
        /// Most bytes to read at once.
        bytes_max: u32,
    },
    /// Read the records of this one key in `[from, to)`, or in a front part of that, once more: while the key was hot they
    /// were not kept. One [`Input::Reread`] answers. At most one is outstanding; after a seek the answer to an older one is
    /// ignored.
    Reread {
        /// Whose records.
        key: KeyHash,
        /// Where.
        from: Offset,
        /// Up to where.
        to: Offset,
        /// Most records of the key that are of use.
        records_max: u32,
    },
    /// Everything below is done (after a seek backwards: was left behind); payloads below it are of no more use.
    CursorMoved(Offset),
    /// [`Dispatcher::snapshot`](crate::Dispatcher::snapshot) is worth writing.
    Persist,
    /// Write this message where dead letters go, then answer with [`Input::SideDone`].
    DeadLetter {
        /// Which.
        offset: Offset,
        /// How often it was delivered.
        attempts: u32,
        /// What the last failure was.
        cause: Cause,
        /// The last consumer's words.
        reason: Option<String>,
    },
    /// Write this message where parked messages go, then answer with [`Input::SideDone`]. Its key is parked: the messages
    /// behind it follow, one by one and in order. The snapshot that says so was asked for before the key's first message
    /// and should be durable before that is written, so that a crash leaves no parked message of a key that is not.
    Park {
        /// Which.
        offset: Offset,
        /// How often it was delivered.
        attempts: u32,
        /// What the last failure was.
        cause: Cause,
        /// The last consumer's words.
        reason: Option<String>,
    },
    /// A parked key was released: [`Input::Unpark`] brings the oldest of its parked messages.
    Unpark {
        /// Whose.
        key: KeyHash,
    },
    /// This message of a released key is done: it is parked no more.
    Unparked {
        /// Which.
        offset: Offset,
    },
    /// The flood brake engaged or released: while it is engaged, no message of this consumer's (or, without one, of the
    /// subscription) is used up; it is tried again at the longest wait.
    FloodBrake {
        /// Whose; without one, everybody's.
        consumer: Option<ConsumerId>,
        /// Whether it is engaged now.
        engaged: bool,
    },
    /// Used up and dropped by the policy.
    Dropped {
        /// Which.
        offset: Offset,
        /// How often it was delivered.
        attempts: u32,
        /// What the last failure was.
        cause: Cause,
    },
    /// Passed over: no filter wants its key.
    Skipped {
        /// Which.
        offset: Offset,
    },
    /// The log dropped it before it was processed.
    Lost {
        /// Which.
        offset: Offset,
    },
    /// Used up; it waits for a person, and its key (or everything after it) with it.
    Blocked {
        /// Which.
        offset: Offset,
        /// How often it was delivered.
        attempts: u32,
        /// What the last failure was.
        cause: Cause,
    },
    /// A consumer that left has nothing in flight any more and is forgotten.
    Drained {
        /// Who.
        consumer: ConsumerId,
    },
    /// Another consumer of the same name took this one's place; its stream can be closed.
    Replaced {
        /// Who is out.
        consumer: ConsumerId,
    },
    /// A join or a filter change was not accepted; nothing changed.
    Refused {
        /// Who asked.
        consumer: ConsumerId,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a join or a filter change was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Exclusive: a consumer of another name is connected, or was a moment ago.
    #[error("the subscription is exclusive and consumer {holder} holds it")]
    Exclusive {
        /// The consumer that holds the subscription.
        holder: ConsumerId,
    },
    /// The subscription has as many consumers as it may.
    #[error("the subscription has {max} consumers, which is the limit")]
    TooManyConsumers {
        /// The limit.
        max: u32,
    },
    /// The consumers' filters together have more patterns than they may.
    #[error("the subscription's key filters would exceed {max} patterns")]
    TooManyPatterns {
        /// The limit.
        max: u32,
    },
    /// A pattern is longer than it may be.
    #[error("a key filter has {len} bytes; {max} are allowed")]
    PatternTooLong {
        /// Bytes of the pattern.
        len: usize,
        /// The limit.
        max: usize,
    },
}

/// What a failure was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cause {
    /// The consumer said so.
    #[default]
    Nack,
    /// No answer within the ack timeout.
    AckTimeout,
    /// The consumer was lost while it held the message.
    Disconnect,
    /// No filter wanted the key, and the subscription dead-letters those.
    Unmatched,
}
