use super::*;

#[test]
fn a_new_member_is_told_its_id_and_joins_with_it() {
    let mut bench = Bench::new();
    let caller = bench.join(Join { require_known_member_id: true, ..newcomer(1) });
    let refused = bench.refused(caller);
    assert_eq!(refused.error, E::MemberIdRequired);
    assert!(refused.member_id.as_str().starts_with("c1-"));
    assert_eq!(bench.group.state(), State::Empty);
    let caller = bench.join(Join { require_known_member_id: true, ..again(1, &refused.member_id) });
    assert!(bench.waits(caller));
    bench.pass(DELAY_MS);
    let joined = bench.joined(caller);
    assert_eq!((joined.member_id, joined.generation), (refused.member_id, Generation(1)));
}

#[test]
fn an_id_that_nobody_gave_is_unknown() {
    let mut bench = Bench::new();
    let caller = bench.join(again(1, &"made-up".into()));
    assert_eq!(bench.refused(caller).error, E::UnknownMemberId);
    assert!(bench.group.is_disposable());
}

#[test]
fn the_first_rebalance_waits_while_members_come_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let first = bench.join(Join { rebalance_timeout_ms: 1_000, ..newcomer(0) });
    for n in 1..8 {
        bench.pass(DELAY_MS - 100);
        bench.join(Join { rebalance_timeout_ms: 1_000, ..newcomer(n) });
        assert_eq!(!bench.waits(first), n >= 5, "1,000 ms are over when the fifth comes");
    }
}

#[test]
fn all_joins_complete_together_and_the_leader_sees_everyone() {
    let mut bench = Bench::new();
    let callers = [bench.join(newcomer(0)), bench.join(newcomer(1)), bench.join(newcomer(2))];
    bench.pass(2 * DELAY_MS);
    let joined = callers.map(|caller| bench.joined(caller));
    assert_eq!(joined[0].members.len(), 3);
    for follower in &joined[1..] {
        assert!(follower.members.is_empty());
        assert_eq!(follower.leader, joined[0].member_id);
        assert_eq!(follower.generation, joined[0].generation);
        assert_eq!(&*follower.protocol_name, "range");
    }
}

#[test]
fn the_protocol_is_the_most_wanted_of_those_that_all_support() {
    let mut bench = Bench::new();
    let with = |n, names: &[&str]| Join {
        protocols: names.iter().map(|p| protocol(p, "")).collect(),
        ..newcomer(n)
    };
    let callers = [
        bench.join(with(0, &["own", "range", "sticky"])),
        bench.join(with(1, &["sticky", "range"])),
        bench.join(with(2, &["sticky", "range", "own"])),
    ];
    bench.pass(2 * DELAY_MS);
    callers.iter().for_each(|caller| assert_eq!(&*bench.joined(*caller).protocol_name, "sticky"));
}

#[test]
fn a_member_without_a_common_protocol_is_refused() {
    let (mut bench, ids, generation) = Bench::stable(2);
    let other = Join { protocols: vec![protocol("other", "")], ..newcomer(7) };
    for join in [
        other.clone(),
        Join { protocol_type: "connect".into(), ..newcomer(7) },
        Join { protocols: Vec::new(), ..newcomer(7) },
        Join { member_id: ids[1].clone(), ..other },
    ] {
        let caller = bench.join(join);
        assert_eq!(bench.refused(caller).error, E::InconsistentGroupProtocol);
    }
    assert_eq!(bench.heartbeat(&ids[0], generation), E::None);
    let mut empty = Bench::new();
    let caller = empty.join(Join { protocol_type: "".into(), ..newcomer(7) });
    assert_eq!(empty.refused(caller).error, E::InconsistentGroupProtocol);
}

#[test]
fn an_unchanged_follower_gets_the_generation_again_a_leader_a_new_one() {
    let (mut bench, ids, generation) = Bench::stable(2);
    let follower = bench.join(again(1, &ids[1]));
    let joined = bench.joined(follower);
    assert_eq!((joined.generation.0, joined.members.len()), (generation, 0));
    assert_eq!(bench.group.state(), State::Stable);

    let leader = bench.join(again(0, &ids[0]));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert_eq!(bench.heartbeat(&ids[1], generation), E::RebalanceInProgress);
    let follower = bench.join(again(1, &ids[1]));
    assert_eq!(bench.joined(leader).generation.0, generation + 1);
    assert_eq!(bench.joined(follower).generation.0, generation + 1);
}

#[test]
fn changed_metadata_starts_a_rebalance() {
    let (mut bench, ids, generation) = Bench::stable(2);
    let changed = Join { protocols: vec![protocol("range", "topics")], ..again(1, &ids[1]) };
    let follower = bench.join(changed);
    let leader = bench.join(again(0, &ids[0]));
    let joined = bench.joined(leader);
    assert_eq!(joined.generation.0, generation + 1);
    assert_eq!(joined.members[1].metadata, "topics");
    assert_eq!(bench.joined(follower).generation.0, generation + 1);
}

#[test]
fn followers_wait_for_the_leader_and_everyone_for_the_log() {
    let mut bench = Bench::new();
    let callers = [bench.join(newcomer(0)), bench.join(newcomer(1)), bench.join(newcomer(2))];
    bench.pass(2 * DELAY_MS);
    let ids = callers.map(|caller| bench.joined(caller).member_id);
    let early = bench.sync(&ids[1], 1, &[]);
    assert_eq!(bench.heartbeat(&ids[2], 1), E::None, "a beat before the sync is fine");
    let leader = bench.sync(&ids[0], 1, &[(&ids[0], "a"), (&ids[1], "b"), (&"stranger".into(), "c")]);
    assert_eq!(bench.group.state(), State::Stable);
    let late = bench.sync(&ids[2], 1, &[]);
    assert!([early, leader, late].iter().all(|caller| bench.waits(*caller)), "nothing is durable yet");
    bench.persisted();
    assert_eq!(bench.synced(early).unwrap().assignment, "b");
    assert_eq!(bench.synced(leader).unwrap().assignment, "a");
    assert_eq!(bench.synced(late).unwrap().assignment, "", "the leader left this one out");
    let repeated = bench.sync(&ids[1], 1, &[]);
    assert_eq!(bench.synced(repeated).unwrap().assignment, "b");
}

#[test]
fn a_sync_is_refused_by_generation_member_protocol_and_state() {
    let (mut bench, ids, generation) = Bench::stable(2);
    let caller = bench.sync(&ids[0], generation + 1, &[]);
    assert_eq!(bench.synced(caller), Err(E::IllegalGeneration));
    let caller = bench.sync(&"stranger".into(), generation, &[]);
    assert_eq!(bench.synced(caller), Err(E::UnknownMemberId));
    let sync = Sync {
        member_id: ids[0].clone(),
        instance_id: None,
        generation: Generation(generation),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("sticky".into()),
        assignments: Vec::new(),
    };
    let caller = bench.ask(|caller| Input::Sync { caller, sync });
    assert_eq!(bench.synced(caller), Err(E::InconsistentGroupProtocol));
    bench.join(newcomer(9));
    let caller = bench.sync(&ids[0], generation, &[]);
    assert_eq!(bench.synced(caller), Err(E::RebalanceInProgress));
}

#[test]
fn a_newcomer_between_join_and_sync_sends_everyone_back_to_join() {
    let mut bench = Bench::new();
    let callers = [bench.join(newcomer(0)), bench.join(newcomer(1))];
    bench.pass(2 * DELAY_MS);
    let ids = callers.map(|caller| bench.joined(caller).member_id);
    let follower = bench.sync(&ids[1], 1, &[]);
    bench.join(newcomer(2));
    assert_eq!(bench.synced(follower), Err(E::RebalanceInProgress));
}

#[test]
fn a_full_group_lets_nobody_in() {
    let mut bench = Bench::with(GroupConfig { members_max: 2, ..GroupConfig::default() });
    bench.join(newcomer(0));
    bench.join(newcomer(1));
    for require_known_member_id in [false, true] {
        let caller = bench.join(Join { require_known_member_id, ..newcomer(2) });
        assert_eq!(bench.refused(caller).error, E::GroupMaxSizeReached);
    }
}

#[test]
fn bounds_of_timeouts_and_metadata() {
    let mut bench = Bench::new();
    for session_timeout_ms in [5_999, 30 * 60 * 1000 + 1, -1] {
        let caller = bench.join(Join { session_timeout_ms, ..newcomer(0) });
        assert_eq!(bench.refused(caller).error, E::InvalidSessionTimeout);
    }
    let metadata = Bytes::from(vec![0; GroupConfig::default().member_metadata_bytes_max + 1]);
    let caller = bench.join(Join { protocols: vec![Protocol { name: "p".into(), metadata }], ..newcomer(0) });
    assert_eq!(bench.refused(caller).error, E::InvalidRequest);
}

#[test]
fn an_assignment_that_no_record_can_hold_is_refused() {
    let config = GroupConfig { group_record_bytes_max: 200, ..GroupConfig::default() };
    let mut bench = Bench::with(config);
    let caller = bench.join(newcomer(0));
    bench.pass(DELAY_MS);
    let id = bench.joined(caller).member_id;
    let big: &'static str = "0123456789012345678901234567890123456789012345678901234567890123456789";
    let caller = bench.sync(&id, 1, &[(&id, big)]);
    assert_eq!(bench.synced(caller), Err(E::UnknownServerError));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert!(bench.log.is_empty());
}

#[test]
fn leaving_starts_a_rebalance_and_the_last_one_empties_the_group() {
    let (mut bench, ids, generation) = Bench::stable(2);
    assert_eq!(bench.leave(&[(ids[0].as_str(), None)]), [E::None]);
    assert_eq!(bench.leave(&[(ids[0].as_str(), None)]), [E::UnknownMemberId]);
    let caller = bench.join(again(1, &ids[1]));
    let joined = bench.joined(caller);
    assert_eq!((joined.generation.0, &joined.leader), (generation + 1, &ids[1]));
    assert_eq!(bench.leave(&[(ids[1].as_str(), None)]), [E::None]);
    assert_eq!(bench.group.state(), State::Empty);
    assert_eq!(bench.heartbeat(&ids[1], generation + 2), E::UnknownMemberId);
}

#[test]
fn a_description_shows_metadata_of_a_stable_group_only_and_assignments_until_the_next() {
    let (mut bench, ids, _) = Bench::stable(2);
    let stable = bench.group.describe();
    assert_eq!(
        (stable.state.name(), &*stable.protocol_type, &*stable.protocol),
        ("Stable", "consumer", "range")
    );
    assert_eq!(stable.members[0].member_id, ids[0]);
    assert_eq!(
        (&stable.members[0].metadata[..], &stable.members[0].assignment[..]),
        (&b"m"[..], &b"part"[..])
    );
    bench.join(newcomer(5));
    let preparing = bench.group.describe();
    assert_eq!(
        (preparing.state.name(), &*preparing.protocol, preparing.members.len()),
        ("PreparingRebalance", "", 3)
    );
    assert!(preparing.members.iter().all(|m| m.metadata.is_empty()));
    let assigned = preparing.members.iter().filter(|m| !m.assignment.is_empty());
    assert_eq!(assigned.count(), 2, "the newcomer has nothing yet");
}

#[test]
fn an_abandoned_group_answers_everyone() {
    let (mut bench, ids, generation) = Bench::stable(2);
    let commit = bench.commit(ids[0].as_str(), generation, 5, "");
    let join = bench.join(newcomer(3));
    let mut out = Vec::new();
    bench.group.abandon(E::NotCoordinator, &mut out);
    bench.group.check();
    let refused = Refused { error: E::NotCoordinator, member_id: MemberId::fresh("c3", [3; 16]) };
    let offsets = vec![(orders(), PartitionId(0), E::NotCoordinator)];
    assert_eq!(
        out,
        [
            Output::Reply { caller: commit, reply: Reply::Commit(offsets) },
            Output::Reply { caller: join, reply: Reply::Join(Err(refused)) },
        ]
    );
    assert!(bench.group.is_disposable());
}
