use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[test]
fn a_commit_shows_when_it_is_durable_and_survives_a_restart() {
    let (mut bench, ids, generation) = Bench::stable(1);
    let caller = bench.commit(ids[0].as_str(), generation, 42, "note");
    assert_eq!((bench.commit_error(caller), bench.offset()), (None, None));
    bench.persisted();
    assert_eq!((bench.commit_error(caller), bench.offset()), (Some(E::None), Some(42)));
    bench.restart();
    assert_eq!(bench.offset(), Some(42));
    let committed = bench.group.offsets().get(&orders(), PartitionId(0)).unwrap();
    assert_eq!(&*committed.metadata, "note");
}

#[test]
fn confirming_the_newest_request_confirms_the_earlier_ones() {
    let mut bench = Bench::new();
    let callers = [1, 2, 3].map(|offset| bench.commit("", -1, offset, ""));
    bench.persisted();
    callers.into_iter().for_each(|caller| assert_eq!(bench.commit_error(caller), Some(E::None)));
    assert_eq!(bench.offset(), Some(3));
}

#[test]
fn who_may_commit() {
    let (mut bench, ids, generation) = Bench::stable(1);
    let mut commit = |id: &str, generation| {
        let caller = bench.commit(id, generation, 1, "");
        bench.commit_error(caller)
    };
    assert_eq!(commit("", -1), Some(E::UnknownMemberId), "the group has members");
    assert_eq!(commit("stranger", generation), Some(E::UnknownMemberId));
    assert_eq!(commit(ids[0].as_str(), generation - 1), Some(E::IllegalGeneration));
    assert_eq!(commit(ids[0].as_str(), generation), None, "waits for the log");

    bench.join(newcomer(1));
    let caller = bench.commit(ids[0].as_str(), generation, 2, "");
    assert_eq!(
        bench.commit_error(caller),
        None,
        "a member may finish its work while a rebalance waits for it"
    );
    bench.join(again(0, &ids[0]));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    let caller = bench.commit(ids[0].as_str(), generation + 1, 3, "");
    assert_eq!(bench.commit_error(caller), Some(E::RebalanceInProgress));

    let mut new = Bench::new();
    let caller = new.commit("stranger", 3, 1, "");
    assert_eq!(new.commit_error(caller), Some(E::IllegalGeneration), "there is no such group");
    assert!(new.group.is_disposable());

    new.commit("", -1, 1, "");
    new.persisted();
    let caller = new.commit("stranger", 3, 1, "");
    assert_eq!(new.commit_error(caller), Some(E::UnknownMemberId), "a group of offsets has no members");
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let (mut bench, ids, generation) = Bench::stable(1);
    for _ in 0..3 {
        bench.pass(SESSION_MS as u64 - 1);
        bench.commit(ids[0].as_str(), generation, 1, "");
    }
    assert_eq!(bench.heartbeat(&ids[0], generation), E::None);
}

#[test]
fn long_metadata_is_refused_for_its_partition_alone() {
    let mut bench = Bench::new();
    let committed = |len| Committed {
        offset: Offset(1),
        leader_epoch: LeaderEpoch(0),
        metadata: "x".repeat(len).into(),
        committed_at: Timestamp(0),
    };
    let offsets = [4096, 4097].map(|len| (orders(), PartitionId(len), committed(len as usize)));
    let commit = Commit {
        member_id: "".into(),
        instance_id: None,
        generation: Generation::NONE,
        knows_member_epochs: false,
        offsets: offsets.to_vec(),
    };
    let caller = bench.ask(|caller| Input::Commit { caller, commit });
    bench.persisted();
    let answers = vec![
        (orders(), PartitionId(4096), E::None),
        (orders(), PartitionId(4097), E::OffsetMetadataTooLarge),
    ];
    assert_eq!(bench.replies.remove(&caller), Some(Reply::Commit(answers)));
    assert_eq!(bench.group.offsets().iter().count(), 1);
}

#[test]
fn a_group_with_members_is_not_deleted_and_an_empty_one_leaves_nothing() {
    let (mut bench, ids, generation) = Bench::stable(1);
    let delete = |bench: &mut Bench| {
        let caller = bench.ask(|caller| Input::Delete { caller });
        if bench.waits(caller) {
            bench.persisted();
        }
        bench.replies.remove(&caller)
    };
    assert_eq!(delete(&mut bench), Some(Reply::Delete(E::NonEmptyGroup)));
    bench.commit(ids[0].as_str(), generation, 1, "");
    bench.persisted();
    bench.leave(&[(ids[0].as_str(), None)]);
    bench.commit("", -1, 2, "");
    assert_eq!(delete(&mut bench), Some(Reply::Delete(E::None)));
    assert_eq!(bench.group.state(), State::Dead);
    assert!(bench.group.is_disposable() && bench.group.offsets().is_empty());
    assert_eq!(delete(&mut bench), Some(Reply::Delete(E::GroupIdNotFound)));
    let mut recovery = Recovery::new();
    bench.log.iter().for_each(|record| recovery.apply(record.clone()));
    assert!(recovery.into_groups(Millis(0), &GroupConfig::default()).is_empty());
    assert_eq!(delete(&mut Bench::new()), Some(Reply::Delete(E::GroupIdNotFound)));
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut bench = Bench::new();
    bench.commit("", -1, 1, "");
    bench.persisted();
    bench.commit("", -1, 2, "");
    bench.step(Input::TopicDeleted { topic: orders() });
    bench.persisted();
    assert_eq!(bench.offset(), None);
}

#[test]
fn offsets_outlive_the_last_member_by_their_retention_restarts_included() {
    let (mut bench, ids, generation) = Bench::stable(1);
    bench.commit(ids[0].as_str(), generation, 1, "");
    bench.persisted();
    bench.step(Input::ExpireOffsets { wall: Timestamp(100 * DAY_MS) });
    assert_eq!(bench.offset(), Some(1), "the group has a member");
    bench.leave(&[(ids[0].as_str(), None)]);
    bench.persisted();
    bench.step(Input::ExpireOffsets { wall: Timestamp(100 * DAY_MS) });
    bench.persisted();
    bench.restart();
    bench.step(Input::ExpireOffsets { wall: Timestamp(107 * DAY_MS - 1) });
    assert_eq!(bench.offset(), Some(1));
    bench.step(Input::ExpireOffsets { wall: Timestamp(107 * DAY_MS) });
    assert_eq!(bench.group.state(), State::Dead);
    bench.asked = Some(PersistId(0));
    bench.persisted();
    assert!(bench.offset().is_none() && bench.group.is_disposable());
}
