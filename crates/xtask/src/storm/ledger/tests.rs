//! The ledger's rules, each with a broker that breaks it.

use super::*;

const TIMEOUT_MS: u64 = 30_000;

/// A ledger in which key 0 has been sent this many times, at moment 0.
fn sent(messages: u64) -> Ledger {
    let mut ledger = Ledger::new(2, TIMEOUT_MS);
    for number in 0..messages {
        assert_eq!(ledger.sending(0, 0), number);
        ledger.stored(0, number);
    }
    ledger
}

fn token(epoch: u64, sequence: u64) -> u64 {
    epoch << SEQUENCE_BITS | sequence
}

/// Number `number` of key 0, stored at the same offset.
fn arrives(ledger: &mut Ledger, now: Ms, hand: Hand, number: u64, token: u64) -> usize {
    ledger.delivered(now, Arrival { hand, key: 0, number, offset: number, token })
}

fn acked(ledger: &mut Ledger, now: Ms, token: u64) {
    ledger.answering(now, 0, token, Answer::Ack);
    ledger.confirmed(now, 0, token);
}

fn violation(ledger: &Ledger) -> &str {
    ledger.violations().first().map_or("none", String::as_str)
}

#[test]
fn a_key_in_order_is_fine_and_done() {
    let mut ledger = sent(3);
    assert_eq!(ledger.undone(), 3);
    for number in 0..3 {
        assert_eq!(arrives(&mut ledger, 10 + number, 1, number, token(1, number + 1)), 0);
        acked(&mut ledger, 10 + number, token(1, number + 1));
    }
    assert_eq!(violation(&ledger), "none");
    assert_eq!((ledger.undone(), ledger.first_undone()), (0, None));
    assert_eq!((ledger.counts().acks, ledger.counts().deliveries), (3, 3));
}

#[test]
fn a_key_in_two_hands_is_found() {
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    arrives(&mut ledger, 11, 2, 0, token(1, 2));
    assert!(violation(&ledger).contains("two at once"), "{}", violation(&ledger));
}

#[test]
fn two_of_a_key_in_one_hand_are_found() {
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    arrives(&mut ledger, 11, 1, 1, token(1, 2));
    assert!(violation(&ledger).contains("two at once"), "{}", violation(&ledger));
}

#[test]
fn two_hands_are_found_when_the_older_delivery_is_read_last() {
    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 2));
    arrives(&mut ledger, 11, 2, 0, token(1, 1));
    assert!(violation(&ledger).contains("a newer delivery was out"), "{}", violation(&ledger));
}

#[test]
fn a_hand_that_is_gone_or_too_late_holds_nothing() {
    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.gone(20, 1);
    arrives(&mut ledger, 21, 2, 0, token(1, 2));
    arrives(&mut ledger, 21 + TIMEOUT_MS, 3, 0, token(1, 3));
    assert_eq!(violation(&ledger), "none");
    let counts = ledger.counts();
    assert_eq!((counts.repeated_after_loss, counts.repeated_after_lease), (1, 1));
}

#[test]
fn a_lease_that_cannot_have_ended_is_held_against_the_broker() {
    let mut ledger = Ledger::new(1, TIMEOUT_MS);
    ledger.sending(1_000, 0);
    arrives(&mut ledger, 2_000, 1, 0, token(1, 1));
    arrives(&mut ledger, 999 + TIMEOUT_MS, 2, 0, token(1, 2));
    assert!(violation(&ledger).contains("two at once"), "{}", violation(&ledger));
}

#[test]
fn a_message_that_is_passed_over_is_found() {
    let mut ledger = sent(3);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    acked(&mut ledger, 10, token(1, 1));
    arrives(&mut ledger, 11, 1, 2, token(1, 2));
    assert!(violation(&ledger).contains("number 2 came after Some(0)"), "{}", violation(&ledger));
    // A nack is no reason to go on either.
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.answering(10, 0, token(1, 1), Answer::Nack { delay_ms: 0 });
    ledger.confirmed(10, 0, token(1, 1));
    arrives(&mut ledger, 11, 1, 1, token(1, 2));
    assert!(violation(&ledger).contains("before offset 0 was acknowledged"), "{}", violation(&ledger));
}

#[test]
fn an_acknowledgement_that_is_ignored_is_found() {
    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    acked(&mut ledger, 11, token(1, 1));
    ledger.gone(12, 1);
    arrives(&mut ledger, 13, 2, 0, token(1, 2));
    assert!(violation(&ledger).contains("after its acknowledgement"), "{}", violation(&ledger));
}

#[test]
fn a_nack_waits() {
    let mut ledger = sent(1);
    for (now, sequence) in [(10, 1), (510, 2), (1_009 - CLOCK_SLACK_MS, 3)] {
        arrives(&mut ledger, now, 1, 0, token(1, sequence));
        ledger.answering(now, 0, token(1, sequence), Answer::Nack { delay_ms: 500 });
        ledger.confirmed(now, 0, token(1, sequence));
    }
    assert!(violation(&ledger).contains("ms after its nack"), "{}", violation(&ledger));
    assert_eq!(ledger.counts().repeated_after_nack, 1);
}

#[test]
fn a_crash_may_forget_what_was_acknowledged_just_before_it() {
    let mut ledger = sent(3);
    for number in 0..2 {
        arrives(&mut ledger, 10, 1, number, token(1, number + 1));
        acked(&mut ledger, 10, token(1, number + 1));
    }
    ledger.down(400, Down::Crash);
    for number in 0..3 {
        arrives(&mut ledger, 500, 1, number, token(2, number + 1));
        acked(&mut ledger, 500, token(2, number + 1));
    }
    assert_eq!(violation(&ledger), "none");
    let counts = ledger.counts();
    assert_eq!((counts.repeated_after_crash, counts.forgotten_age_ms), (2, 390));
    assert_eq!(ledger.undone(), 0);
}

#[test]
fn a_crash_may_not_forget_an_old_acknowledgement() {
    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    acked(&mut ledger, 10, token(1, 1));
    ledger.down(11 + FORGOTTEN_AGE_MAX_MS, Down::Crash);
    arrives(&mut ledger, 20 + FORGOTTEN_AGE_MAX_MS, 1, 0, token(2, 1));
    assert!(violation(&ledger).contains("was forgotten"), "{}", violation(&ledger));
}

#[test]
fn a_rewind_leaves_nothing_out() {
    let mut ledger = sent(3);
    for number in 0..3 {
        arrives(&mut ledger, 10, 1, number, token(1, number + 1));
        acked(&mut ledger, 10, token(1, number + 1));
    }
    ledger.down(20, Down::Crash);
    arrives(&mut ledger, 30, 1, 0, token(2, 1));
    acked(&mut ledger, 30, token(2, 1));
    arrives(&mut ledger, 31, 1, 2, token(2, 2));
    assert!(violation(&ledger).contains("was left out"), "{}", violation(&ledger));
}

#[test]
fn a_rewind_ascends() {
    let mut ledger = sent(2);
    for number in 0..2 {
        arrives(&mut ledger, 10, 1, number, token(1, number + 1));
        acked(&mut ledger, 10, token(1, number + 1));
    }
    ledger.down(20, Down::Crash);
    arrives(&mut ledger, 30, 1, 1, token(2, 1));
    acked(&mut ledger, 30, token(2, 1));
    arrives(&mut ledger, 31, 1, 0, token(2, 2));
    assert!(violation(&ledger).contains("offset 0 came after 1"), "{}", violation(&ledger));
}

#[test]
fn an_answer_from_before_a_crash_does_not_count_after_it() {
    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.down(20, Down::Crash);
    acked(&mut ledger, 30, token(1, 1));
    arrives(&mut ledger, 40, 2, 0, token(2, 1));
    assert_eq!(violation(&ledger), "none");
    assert_eq!(ledger.undone(), 1);
    acked(&mut ledger, 50, token(2, 1));
    assert_eq!(ledger.undone(), 0);
}

#[test]
fn an_acknowledgement_that_was_cut_off_may_have_been_taken() {
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.answering(11, 0, token(1, 1), Answer::Ack);
    ledger.down(12, Down::Stop);
    arrives(&mut ledger, 20, 1, 1, token(2, 1));
    acked(&mut ledger, 21, token(2, 1));
    assert_eq!((violation(&ledger), ledger.undone()), ("none", 0));
    // Or not: then it comes again before what follows it.
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.answering(11, 0, token(1, 1), Answer::Ack);
    ledger.down(12, Down::Stop);
    arrives(&mut ledger, 20, 1, 0, token(2, 1));
    assert_eq!((violation(&ledger), ledger.undone()), ("none", 2));
}

#[test]
fn a_message_that_never_comes_is_missed() {
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    acked(&mut ledger, 10, token(1, 1));
    assert_eq!(ledger.undone(), 1);
    assert!(ledger.first_undone().is_some_and(|text| text.contains("2 stored, 1 arrived")));
}

#[test]
fn tokens_and_offsets_keep_their_meaning() {
    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 5));
    acked(&mut ledger, 10, token(1, 5));
    arrives(&mut ledger, 11, 1, 1, token(1, 5));
    assert!(violation(&ledger).contains("got token"), "{}", violation(&ledger));

    let mut ledger = sent(2);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    ledger.gone(11, 1);
    ledger.delivered(12, Arrival { hand: 2, key: 0, number: 1, offset: 0, token: token(1, 2) });
    assert!(violation(&ledger).contains("was number 0 and now is 1"), "{}", violation(&ledger));

    let mut ledger = sent(1);
    arrives(&mut ledger, 10, 1, 0, token(1, 1));
    arrives(&mut ledger, 11, 1, 0, token(2, 1));
    assert!(violation(&ledger).contains("0 restarts"), "{}", violation(&ledger));
}
