//! What somebody should look at.

use super::view::{Alarm, KeyView, PartitionView};
use keyway_dispatch::FailurePolicy;
use std::cell::LazyCell;

/// All names, for figures that are 0 while an alarm is off.
pub(crate) const NAMES: [&str; 4] = ["span", "oldest_blocked", "head_blocked", "state_not_stored"];

/// Percent of the bound on the span from which on reading is about to stop.
const SPAN_PERCENT: u64 = 80;

/// Ack timeouts within which whatever waits is expected to move.
const LEASES: u64 = 5;

/// A position that is not stored for so long is a disk's problem.
const UNSTORED_MS: u64 = 10_000;

/// Percent of the bound on live messages, and of the span that is done, at which a few keys hold up the rest.
const LIVE_PERCENT: u64 = 90;
const DONE_PERCENT: u64 = 98;

/// What is wrong with a partition of a subscription; `oldest` gives its oldest keys.
pub(super) fn of(
    view: &PartitionView,
    policy: &FailurePolicy,
    oldest: impl FnOnce() -> Vec<KeyView>,
) -> Vec<Alarm> {
    // A look at all live keys.
    let oldest = LazyCell::new(|| names(&oldest()));
    let mut alarms = Vec::new();
    let mut raise = |name, text| alarms.push(Alarm { name, text });
    if exceeds(view.span, view.span_max, SPAN_PERCENT) {
        raise(
            "span",
            format!(
                "{} of {} offsets lie between the oldest message that is not done and the newest that was read; at \
                 the bound nothing more is read; the oldest: {}",
                view.span, view.span_max, *oldest
            ),
        );
    }
    let bound_ms = policy.ack_timeout_ms.saturating_mul(LEASES);
    let waits = view.oldest_blocked_ms.iter().filter(|&(&reason, _)| reason != "parked");
    if let Some((reason, ms)) = waits.max_by_key(|&(_, ms)| ms).filter(|&(_, &ms)| ms > bound_ms) {
        raise("oldest_blocked", format!("a message that waits ({reason}) is {ms} ms old; {}", *oldest));
    }
    let done = view.span - view.holes;
    if exceeds(view.live_messages, view.live_max, LIVE_PERCENT) && exceeds(done, view.span, DONE_PERCENT) {
        raise("head_blocked", format!("few keys hold up all others: {}", *oldest));
    }
    if view.unstored_ms > UNSTORED_MS {
        raise("state_not_stored", format!("the position could not be stored for {} ms", view.unstored_ms));
    }
    alarms
}

fn exceeds(figure: u64, whole: u64, percent: u64) -> bool {
    figure.saturating_mul(100) > whole.saturating_mul(percent)
}

fn names(oldest: &[KeyView]) -> String {
    let names: Vec<String> =
        oldest.iter().map(|key| format!("key {:?} from offset {}", key.key, key.oldest_offset)).collect();
    if names.is_empty() { "no key".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alarm_goes_off_beyond_its_bound_and_not_at_it() {
        let policy = FailurePolicy { ack_timeout_ms: 1_000, ..FailurePolicy::default() };
        let raised = |view: PartitionView| {
            let names: Vec<_> = of(&view, &policy, Vec::new).into_iter().map(|alarm| alarm.name).collect();
            assert!(names.iter().all(|name| NAMES.contains(name)));
            names
        };
        let span = |span| PartitionView { span, span_max: 1_000, holes: span, ..PartitionView::default() };
        assert!(raised(PartitionView::default()).is_empty());
        assert!(raised(span(800)).is_empty());
        assert_eq!(raised(span(801)), ["span"]);
        let blocked = |reason, ms| PartitionView {
            oldest_blocked_ms: [(reason, ms)].into(),
            ..PartitionView::default()
        };
        assert!(raised(blocked("credit", 5_000)).is_empty());
        assert_eq!(raised(blocked("credit", 5_001)), ["oldest_blocked"]);
        assert!(raised(blocked("parked", 5_001)).is_empty(), "a parked key waits for a person");
        let live = |live_messages, holes| PartitionView {
            span: 1_000,
            span_max: 2_000,
            live_max: 10,
            live_messages,
            holes,
            ..PartitionView::default()
        };
        assert!(raised(live(9, 10)).is_empty());
        assert!(raised(live(10, 20)).is_empty());
        assert_eq!(raised(live(10, 19)), ["head_blocked"]);
        assert_eq!(
            raised(PartitionView { unstored_ms: 10_001, ..PartitionView::default() }),
            ["state_not_stored"]
        );
    }
}
