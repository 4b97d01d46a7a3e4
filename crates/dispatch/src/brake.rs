//! The flood brake: when it is the workers that fail, messages are not used up.

use crate::dispatcher::Dispatcher;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::{ConsumerId, FailurePolicy, FloodBrake, Output, Poison};

/// How the last messages of a consumer, or of all, came to their end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcomes {
    /// The latest in the lowest bit: 1 for used up, 0 for acked.
    used_up: u64,
    seen: u32,
    pub(crate) engaged: bool,
}

/// The end of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Acked,
    UsedUp,
}

impl Outcomes {
    /// Whether another ack changes nothing.
    #[inline]
    pub(crate) fn are_good(&self) -> bool {
        self.used_up == 0 && self.seen == u64::BITS && !self.engaged
    }

    /// Notes an end; whether the brake engaged or released.
    #[inline]
    fn note(&mut self, outcome: Outcome, brake: FloodBrake) -> bool {
        self.seen = (self.seen + 1).min(u64::BITS);
        if self.used_up == 0 && !self.engaged && outcome == Outcome::Acked {
            return false;
        }
        self.used_up = self.used_up << 1 | u64::from(outcome == Outcome::UsedUp);
        let looked_at = u32::from(brake.outcomes).clamp(1, u64::BITS);
        let used_up = (self.used_up & u64::MAX >> (u64::BITS - looked_at)).count_ones();
        let engages = self.seen >= looked_at && used_up * 100 >= u32::from(brake.used_up_percent) * looked_at;
        let was = self.engaged;
        self.engaged = if was { used_up * 2 > looked_at } else { engages };
        self.engaged != was
    }
}

impl Dispatcher {
    /// Notes how a message of this consumer's came to its end.
    #[inline]
    pub(crate) fn note_outcome(&mut self, consumer: u32, outcome: Outcome, out: &mut Vec<Output>) {
        let Some(brake) = self.config.failure.flood_brake else { return };
        if self.roster[consumer].outcomes.note(outcome, brake) {
            self.tell_brake(Some(consumer), out);
        }
        if self.outcomes.note(outcome, brake) {
            self.tell_brake(None, out);
        }
    }

    #[cold]
    fn tell_brake(&mut self, consumer: Option<u32>, out: &mut Vec<Output>) {
        let engaged = consumer.map_or(self.outcomes, |consumer| self.roster[consumer].outcomes).engaged;
        let consumer: Option<ConsumerId> = consumer.map(|consumer| self.roster[consumer].id);
        self.counters.flood_brakes += u64::from(engaged);
        out.push(Output::FloodBrake { consumer, engaged });
    }

    /// Whether a failure at this consumer must not use a message up.
    pub(crate) fn is_braked(&self, consumer: u32) -> bool {
        let FailurePolicy { poison, flood_brake, .. } = self.config.failure;
        let engaged = self.outcomes.engaged || consumer != NIL && self.roster[consumer].outcomes.engaged;
        flood_brake.is_some() && poison != Poison::Block && engaged && !self.mutated(Mutant::NoBrake)
    }

    /// A policy without a brake releases it.
    pub(crate) fn release_brakes(&mut self, out: &mut Vec<Output>) {
        if self.config.failure.flood_brake.is_some() {
            return;
        }
        let members: Vec<u32> = self.roster.iter().map(|(at, _)| at).collect();
        for consumer in members {
            let was = std::mem::take(&mut self.roster[consumer].outcomes);
            if was.engaged {
                self.tell_brake(Some(consumer), out);
            }
        }
        if std::mem::take(&mut self.outcomes).engaged {
            self.tell_brake(None, out);
        }
    }
}
