//! Planted bugs, in test builds only: the suite must catch every one, or it is too weak.
//!
//! Ten of them are what a broker that dispatches by key was seen to do (Danube 0.15.1):
//!
//! | what it does | planted as |
//! |---|---|
//! | what a removed consumer held counts as acked | `AckOnLoss` |
//! | a message is sent although older ones of its key wait | `NewestFirst` |
//! | a failed send puts the message behind the others | `NackToTail` |
//! | a used-up message takes those waiting behind it away | `PoisonTakesKey` |
//! | nothing is sent after an ack until something else happens | `NoWakeAfterAck` |
//! | timeouts and retries wait for the next publish | `NoRetryTimer` |
//! | the last consumer's leaving skips what is queued | `SkipForNobody` |
//! | a redelivery elsewhere leaves the first consumer full | `CreditLeak` |
//! | an ack counts whoever sends it | `AckAnyToken` |
//! | who happens to be connected decides what is skipped | `NoFilterGrace` |

/// One known way to break the rules; most of them were shipped by somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Mutant {
    /// What a lost consumer held counts as acked.
    AckOnLoss,
    /// An ack counts whatever its token.
    AckAnyToken,
    /// A nacked message goes behind the others of its key.
    NackToTail,
    /// The next message of a key is delivered while the one before is in flight.
    TwoInFlight,
    /// An expired lease does not give its credit back.
    CreditLeak,
    /// A message in backoff has no timer.
    NoRetryTimer,
    /// Unwanted keys are skipped although nobody is connected.
    SkipForNobody,
    /// Filters of consumers that left do not count.
    NoFilterGrace,
    /// A used-up message takes the others of its key with it.
    PoisonTakesKey,
    /// Tokens begin again with every owner.
    TokensRestart,
    /// The cursor goes to the end of what was read.
    CursorOverHoles,
    /// Retention releases what is in flight.
    RetentionReleases,
    /// A join takes slots that it did not win.
    GreedyJoin,
    /// A leaving consumer's deliveries are returned at once.
    LeaveWithoutDrain,
    /// After an ack the next message of the key waits for an unrelated event.
    NoWakeAfterAck,
    /// A snapshot forgets failures.
    ForgetFailures,
    /// A consumer is not told that what it holds of a key is void.
    NoRevoke,
    /// What was acked out of order stays so when its run goes back.
    KeepProvisional,
    /// A key in flight goes on at another consumer.
    RunOverTwo,
    /// A last attempt is made among others of its key.
    LastAttemptInCompany,
    /// All leases of a run begin with their deliveries.
    LeasesRunTogether,
    /// A hot key takes all memory.
    NeverSpill,
    /// The flood brake brakes nothing.
    NoBrake,
    /// A key's latest message is delivered before those that wait.
    NewestFirst,
    /// A message that nobody wants is skipped while an older one of its key is in flight.
    SkipInFlight,
    /// A released key's live messages do not wait for its parked ones.
    LiveBeforeParked,
}

#[cfg(test)]
impl Mutant {
    pub(crate) const ALL: [Self; 26] = [
        Self::AckOnLoss,
        Self::AckAnyToken,
        Self::NackToTail,
        Self::TwoInFlight,
        Self::CreditLeak,
        Self::NoRetryTimer,
        Self::SkipForNobody,
        Self::NoFilterGrace,
        Self::PoisonTakesKey,
        Self::TokensRestart,
        Self::CursorOverHoles,
        Self::RetentionReleases,
        Self::GreedyJoin,
        Self::LeaveWithoutDrain,
        Self::NoWakeAfterAck,
        Self::ForgetFailures,
        Self::NoRevoke,
        Self::KeepProvisional,
        Self::RunOverTwo,
        Self::LastAttemptInCompany,
        Self::LeasesRunTogether,
        Self::NeverSpill,
        Self::NoBrake,
        Self::NewestFirst,
        Self::SkipInFlight,
        Self::LiveBeforeParked,
    ];
}

impl crate::Dispatcher {
    /// Whether the planted bug is on; never outside tests.
    #[cfg(test)]
    pub(crate) fn mutated(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(test))]
    #[inline(always)]
    #[allow(clippy::unused_self)]
    pub(crate) fn mutated(&self, _: Mutant) -> bool {
        false
    }
}
