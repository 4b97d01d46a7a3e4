use super::*;
use keyway_record::{Outcome, ProducerId};

const ID: ProducerId = ProducerId(7);

fn send(bench: &mut Bench, member_id: &str, generation: i32, offset: i64) -> CallerId {
    let committed = Committed {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(0),
        metadata: "".into(),
        committed_at: Timestamp(0),
    };
    let commit = Commit {
        member_id: member_id.into(),
        instance_id: None,
        generation: Generation(generation),
        knows_member_epochs: true,
        offsets: vec![(orders(), PartitionId(0), committed)],
    };
    bench.ask(|caller| Input::CommitInTransaction { caller, producer_id: ID, commit })
}

fn end(bench: &mut Bench, outcome: Outcome) -> CallerId {
    bench.ask(|caller| Input::EndTransaction { caller, producer_id: ID, outcome })
}

fn waits_for_the_end(bench: &Bench) -> bool {
    bench.group.waiting_offsets().contains(&orders(), PartitionId(0))
}

#[test]
fn an_offset_counts_when_its_transaction_has_committed() {
    for (outcome, expected) in [(Outcome::Commit, Some(42)), (Outcome::Abort, None)] {
        let mut bench = Bench::new();
        let caller = send(&mut bench, "", -1, 42);
        assert_eq!(bench.commit_error(caller), None, "not before the log has it");
        bench.persisted();
        assert_eq!(bench.commit_error(caller), Some(E::None));
        assert_eq!((bench.offset(), waits_for_the_end(&bench)), (None, true));
        bench.restart();
        assert_eq!((bench.offset(), waits_for_the_end(&bench)), (None, true));
        assert!(!bench.group.is_disposable());
        let caller = end(&mut bench, outcome);
        assert!(!bench.waits(caller), "what follows from the end has its place in the log");
        assert!(!waits_for_the_end(&bench));
        bench.persisted();
        assert_eq!(bench.offset(), expected);
        end(&mut bench, Outcome::Commit);
        bench.persisted();
        assert_eq!((bench.offset(), waits_for_the_end(&bench)), (expected, false), "an end may come twice");
        assert_eq!(bench.group.is_disposable(), expected.is_none());
    }
}

#[test]
fn an_end_before_its_offsets_are_durable_takes_them_along() {
    let mut bench = Bench::new();
    send(&mut bench, "", -1, 42);
    end(&mut bench, Outcome::Commit);
    bench.persisted();
    assert_eq!(bench.offset(), Some(42));
    bench.restart();
    assert_eq!((bench.offset(), waits_for_the_end(&bench)), (Some(42), false));
}

#[test]
fn who_names_a_member_must_be_it() {
    let (mut bench, ids, generation) = Bench::stable(1);
    let mut error = |member_id: &str, generation| {
        let caller = send(&mut bench, member_id, generation, 1);
        bench.persisted();
        bench.commit_error(caller)
    };
    assert_eq!(error("stranger", generation), Some(E::UnknownMemberId));
    assert_eq!(error(ids[0].as_str(), generation - 1), Some(E::IllegalGeneration));
    assert_eq!(error(ids[0].as_str(), generation), Some(E::None));
    assert_eq!(error("", -1), Some(E::None), "older clients know no member");
}

#[test]
fn a_deleted_topic_takes_what_waits_with_it() {
    let mut bench = Bench::new();
    send(&mut bench, "", -1, 42);
    bench.persisted();
    bench.step(Input::TopicDeleted { topic: orders() });
    bench.persisted();
    assert!(!waits_for_the_end(&bench));
    end(&mut bench, Outcome::Commit);
    assert!(bench.offset().is_none() && bench.group.is_disposable(), "nothing is left of it");
}
