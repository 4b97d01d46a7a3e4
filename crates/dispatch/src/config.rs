//! What a subscription is set to do.

use keyway_record::Offset;

/// How messages are placed and ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One consumer; messages in offset order, as many in flight as its credit allows.
    Exclusive,
    /// Every message by itself, round robin over the consumers with credit.
    Shared,
    /// As exclusive, to the first consumer in join order; the next takes over when it is gone.
    Failover,
    /// One message of a key in flight; a key's messages in offset order to the key's consumer.
    KeyShared,
}

impl Mode {
    /// Whether messages queue by key rather than in one queue.
    pub(crate) fn is_keyed(self) -> bool {
        self == Self::KeyShared
    }

    /// Whether one active consumer gets everything in offset order.
    pub(crate) fn is_ordered(self) -> bool {
        matches!(self, Self::Exclusive | Self::Failover)
    }
}

/// How the wait before a redelivery grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backoff {
    /// Always the base delay.
    Fixed,
    /// The base delay, doubled with every failure.
    Exponential,
}

/// What happens to a message whose redeliveries are used up. Its key goes on, unless it is blocked or parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Poison {
    /// It stays where it is and its key (in the other modes: everything after it) waits for a person.
    Block,
    /// [`Output::DeadLetter`](crate::Output::DeadLetter) asks the owner to write it elsewhere, then it is done.
    DeadLetter,
    /// Its key is parked: [`Output::Park`](crate::Output::Park) asks the owner to write it, and later all that follow it
    /// in its key, elsewhere, in order, until somebody releases the key. Only Key-Shared parks; the other modes block.
    Park,
    /// It is done at once.
    Drop,
}

/// When messages are no longer used up, because it is the workers that fail and not the messages: when almost all of what
/// came to its end lately at one consumer, or in the whole subscription, was used up. While the brake is engaged, failing
/// messages stay and are tried again at the longest wait; it releases when at least half of what came to its end lately
/// was acked. It applies to the policies that move messages away, not to [`Poison::Block`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FloodBrake {
    /// How many ends are looked at, 1 to 64. Fewer never engage it.
    pub outcomes: u8,
    /// Which share of them must have been used up.
    pub used_up_percent: u8,
}

impl Default for FloodBrake {
    /// 32 ends and 90 %: a broken worker moves about thirty messages of a partition away.
    fn default() -> Self {
        Self { outcomes: 32, used_up_percent: 90 }
    }
}

/// Whether losing the consumer counts against a message that it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disconnects {
    /// It counts for the oldest message of a key, so that a message that kills its consumers does not do so for ever.
    Count,
    /// It never counts.
    Ignore,
}

/// What failures lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailurePolicy {
    /// Redeliveries after failures; 0 means that the first failure uses the message up.
    pub max_redelivery_count: u16,
    /// How long a delivery may stay unanswered.
    pub ack_timeout_ms: u64,
    /// First wait before a redelivery.
    pub base_redelivery_delay_ms: u64,
    /// Longest wait, whatever a consumer asks for.
    pub max_redelivery_delay_ms: u64,
    /// How the wait grows.
    pub backoff: Backoff,
    /// Up to this share is added to a wait, chosen by the seed of the configuration.
    pub jitter_percent: u8,
    /// What happens when the redeliveries are used up.
    pub poison: Poison,
    /// Whether a lost consumer counts as a failure.
    pub disconnects: Disconnects,
    /// Stops broken workers from using up everything; `None` lets them.
    pub flood_brake: Option<FloodBrake>,
}

impl Default for FailurePolicy {
    /// Danube's values.
    fn default() -> Self {
        Self {
            max_redelivery_count: 5,
            ack_timeout_ms: 30_000,
            base_redelivery_delay_ms: 1_000,
            max_redelivery_delay_ms: 60_000,
            backoff: Backoff::Exponential,
            jitter_percent: 0,
            poison: Poison::Block,
            disconnects: Disconnects::Count,
            flood_brake: Some(FloodBrake::default()),
        }
    }
}

/// What happens to a key that no filter of a present or recent consumer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmatched {
    /// Its messages are passed over.
    Skip,
    /// It waits for a consumer that wants it.
    Hold,
    /// Its messages are dead letters.
    DeadLetter,
}

/// Everything a dispatcher is told at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Subscription type.
    pub mode: Mode,
    /// Where a new subscription begins.
    pub start: Offset,
    /// What failures lead to.
    pub failure: FailurePolicy,
    /// What happens to unwanted keys.
    pub unmatched: Unmatched,
    /// How long the keys of a lost consumer wait for its return.
    pub reconnect_grace_ms: u64,
    /// How long the filters of a consumer that left still count, so that the order of a deployment loses nothing.
    pub filter_grace_ms: u64,
    /// Rendezvous slots, a power of two up to 65,536. Fixed for the life of a subscription: another number moves every
    /// key. 4,096 keep every load within a tenth of the mean for 200 consumers, 16,384 for 800, 65,536 for 3,000.
    pub slots: u32,
    /// Most slots of one consumer, in percent of the mean (100 and more); `None` for no bound, so that a join moves
    /// nothing but what it wins.
    pub slots_max_percent: Option<u32>,
    /// Most offsets between the cursor and the end of what was read.
    pub span_max: u32,
    /// Most messages in memory.
    pub live_max: u32,
    /// Below this many dispatchable messages more are fetched, so that consumers do not wait for the log.
    pub ready_min: u32,
    /// Most records of one fetch.
    pub fetch_records_max: u32,
    /// Most bytes of one fetch.
    pub fetch_bytes_max: u32,
    /// A changed state asks to be persisted after this time.
    pub persist_ms: u64,
    /// Or after this many completions.
    pub persist_completions: u32,
    /// Most filter patterns of all consumers together, those that left a moment ago included.
    pub patterns_max: u32,
    /// Most consumers.
    pub consumers_max: u32,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Config {
    /// Messages that a consumer may hold unanswered when its protocol does not say: a 1 ms round trip still carries
    /// 64,000 messages/s, and what a lost consumer held stays small.
    pub const CREDIT_DEFAULT: u32 = 64;
    /// Most messages of one key in flight, whatever a consumer asks for.
    pub const IN_FLIGHT_PER_KEY_MAX: u32 = 1_024;
    /// Longest filter pattern, bytes.
    pub const PATTERN_BYTES_MAX: usize = 1_024;
    /// Longest reason of a nack that is kept, bytes.
    pub const REASON_BYTES_MAX: usize = 256;

    /// Defaults for a subscription of this type that begins at offset 0.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            start: Offset::ZERO,
            failure: FailurePolicy::default(),
            unmatched: Unmatched::Skip,
            reconnect_grace_ms: 3_000,
            filter_grace_ms: 60_000,
            slots: 4_096,
            slots_max_percent: Some(110),
            span_max: 1 << 20,
            live_max: 131_072,
            ready_min: 1_024,
            fetch_records_max: 4_096,
            fetch_bytes_max: 1 << 20,
            persist_ms: 500,
            persist_completions: 10_000,
            patterns_max: 16_384,
            consumers_max: 10_000,
            seed: 0,
        }
    }

    /// Most slots that one of so many members may own: never too few for all together to own every slot.
    pub(crate) fn slots_max(&self, members: usize) -> usize {
        let (slots, members) = (self.slots as usize, members.max(1));
        let percent = |percent: u32| (slots * percent as usize / 100 / members).max(slots.div_ceil(members));
        self.slots_max_percent.map_or(slots, percent)
    }

    /// What the owner of a dispatcher must have made sure of.
    pub(crate) fn assert_valid(&self) {
        assert!(self.slots.is_power_of_two() && self.slots <= 1 << 16, "slots: a power of two up to 65,536");
        assert!(
            self.slots_max_percent.is_none_or(|percent| percent >= 100),
            "slots_max_percent: at least 100"
        );
        assert!((1..=1 << 24).contains(&self.span_max), "span_max: 1 to 2^24");
        assert!((1..=1 << 24).contains(&self.live_max), "live_max: 1 to 2^24");
        assert!(self.fetch_records_max > 0, "fetch_records_max: at least 1");
        assert!(self.start >= Offset::ZERO, "start: at least 0");
    }
}
