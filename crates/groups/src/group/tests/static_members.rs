use super::*;

/// A stable group of two static members, the first of which leads.
fn stable() -> (Bench, [MemberId; 2]) {
    let mut bench = Bench::new();
    let callers = [bench.join(static_newcomer(0, 0)), bench.join(static_newcomer(1, 0))];
    bench.pass(2 * DELAY_MS);
    let ids = callers.map(|caller| bench.joined(caller).member_id);
    bench.sync(&ids[1], 1, &[]);
    bench.sync(&ids[0], 1, &[(&ids[0], "zero"), (&ids[1], "one")]);
    bench.persisted();
    bench.replies.clear();
    (bench, ids)
}

fn fenced_heartbeat(bench: &mut Bench, id: &MemberId, instance: &str, generation: i32) -> E {
    let heartbeat = Heartbeat {
        member_id: id.clone(),
        instance_id: Some(instance.into()),
        generation: Generation(generation),
    };
    let caller = bench.ask(|caller| Input::Heartbeat { caller, heartbeat });
    match bench.replies.remove(&caller) {
        Some(Reply::Heartbeat(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restarted_follower_keeps_its_assignment_and_fences_its_old_id() {
    let (mut bench, ids) = stable();
    let caller = bench.join(static_newcomer(1, 1));
    assert!(bench.waits(caller), "the new id is not durable yet");
    bench.persisted();
    let joined = bench.joined(caller);
    assert_ne!(joined.member_id, ids[1]);
    assert_eq!((joined.generation, &joined.leader), (Generation(1), &ids[0]));
    assert_eq!(bench.group.state(), State::Stable);
    let caller = bench.sync(&joined.member_id, 1, &[]);
    assert_eq!(bench.synced(caller).unwrap().assignment, "one");
    assert_eq!(fenced_heartbeat(&mut bench, &ids[1], "i1", 1), E::FencedInstanceId);
    assert_eq!(fenced_heartbeat(&mut bench, &joined.member_id, "i1", 1), E::None);
    assert_eq!(fenced_heartbeat(&mut bench, &ids[1], "nobody", 1), E::UnknownMemberId);
}

#[test]
fn a_restarted_leader_skips_the_assignment_or_follows() {
    let (mut bench, ids) = stable();
    let caller = bench.join(static_newcomer(0, 1));
    bench.persisted();
    let joined = bench.joined(caller);
    assert_eq!(
        (&joined.leader, joined.members.len()),
        (&ids[0], 0),
        "an old client takes itself for a follower"
    );
    assert!(!joined.skip_assignment);

    let caller = bench.join(Join { supports_skip_assignment: true, ..static_newcomer(0, 2) });
    bench.persisted();
    let joined = bench.joined(caller);
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 2));
    assert!(joined.skip_assignment);
    assert_eq!(bench.group.state(), State::Stable);
}

#[test]
fn a_restart_that_changes_the_vote_rebalances() {
    let (mut bench, ids) = stable();
    let caller = bench.join(Join { protocols: vec![protocol("sticky", "")], ..static_newcomer(1, 1) });
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    let leader = bench.join(Join { member_id: ids[0].clone(), ..static_newcomer(0, 0) });
    assert_eq!(&*bench.joined(caller).protocol_name, "sticky");
    assert_eq!(bench.joined(leader).generation, Generation(2));
}

#[test]
fn a_waiting_old_life_is_fenced_at_once() {
    let mut bench = Bench::new();
    let old = bench.join(static_newcomer(0, 0));
    let new = bench.join(static_newcomer(0, 1));
    assert_eq!(bench.refused(old).error, E::FencedInstanceId);
    bench.pass(2 * DELAY_MS);
    assert_eq!(bench.joined(new).generation, Generation(1));
}

#[test]
fn a_rebalance_does_not_expel_a_silent_static_member_before_its_session_ends() {
    let (mut bench, ids) = stable();
    let leader = Join { session_timeout_ms: 100_000, ..static_newcomer(0, 0) };
    let quiet = Join { session_timeout_ms: 100_000, ..static_newcomer(1, 1) };
    bench.join(quiet);
    bench.persisted();
    let caller = bench.join(Join { member_id: ids[0].clone(), ..leader });
    bench.pass(REBALANCE_MS as u64);
    let joined = bench.joined(caller);
    assert_eq!(joined.members.len(), 2, "the quiet one keeps its place");
    bench.sync(&ids[0], joined.generation.0, &[]);
    bench.persisted();
    bench.heartbeat(&ids[0], joined.generation.0);
    bench.pass(40_000);
    assert_eq!(bench.group.describe().members.len(), 1, "100 s are over");
}

#[test]
fn an_administrator_takes_static_members_out_by_their_instance_ids() {
    let (mut bench, ids) = stable();
    let errors = bench.leave(&[
        ("", Some("i1")),
        ("", Some("nobody")),
        (ids[1].as_str(), Some("i0")),
        (ids[0].as_str(), Some("i0")),
    ]);
    assert_eq!(errors, [E::None, E::UnknownMemberId, E::FencedInstanceId, E::None]);
    assert_eq!(bench.group.state(), State::Empty);
}
