use super::*;

#[test]
fn a_silent_member_is_expelled_after_its_session_and_a_beating_one_stays() {
    let (mut bench, ids, generation) = Bench::stable(2);
    bench.pass(SESSION_MS as u64 - 1);
    assert_eq!(bench.heartbeat(&ids[0], generation), E::None);
    bench.pass(1);
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert_eq!(bench.heartbeat(&ids[1], generation), E::UnknownMemberId);
    assert_eq!(bench.heartbeat(&ids[0], generation), E::RebalanceInProgress);
}

#[test]
fn who_does_not_rejoin_within_the_rebalance_timeout_is_expelled() {
    let (mut bench, ids, generation) = Bench::stable(3);
    let leader = bench.join(again(0, &ids[0]));
    let follower = bench.join(again(1, &ids[1]));
    for _ in 0..REBALANCE_MS / 5_000 {
        assert!(bench.waits(leader));
        assert_eq!(bench.heartbeat(&ids[2], generation), E::RebalanceInProgress);
        bench.pass(5_000);
    }
    assert_eq!(bench.joined(leader).members.len(), 2);
    bench.joined(follower);
    assert_eq!(bench.heartbeat(&ids[2], generation), E::UnknownMemberId);
}

#[test]
fn an_id_that_is_not_used_holds_a_rebalance_up_until_it_expires() {
    let (mut bench, ids, _) = Bench::stable(1);
    let newcomer = bench.join(Join { require_known_member_id: true, ..newcomer(1) });
    assert_eq!(bench.refused(newcomer).error, E::MemberIdRequired);
    let leader = bench.join(again(0, &ids[0]));
    bench.pass(SESSION_MS as u64 - 1);
    assert!(bench.waits(leader));
    bench.pass(1);
    assert_eq!(bench.joined(leader).members.len(), 1);
}

#[test]
fn a_leader_that_never_assigns_is_expelled() {
    let mut bench = Bench::new();
    let callers = [bench.join(newcomer(0)), bench.join(newcomer(1))];
    bench.pass(2 * DELAY_MS);
    let ids = callers.map(|caller| bench.joined(caller).member_id);
    let follower = bench.sync(&ids[1], 1, &[]);
    for _ in 0..REBALANCE_MS / 5_000 {
        assert!(bench.waits(follower));
        assert_eq!(bench.heartbeat(&ids[0], 1), E::None);
        bench.pass(5_000);
    }
    assert_eq!(bench.synced(follower), Err(E::RebalanceInProgress));
    let caller = bench.join(again(1, &ids[1]));
    assert_eq!(bench.joined(caller).leader, ids[1]);
}

#[test]
fn a_newcomer_whose_client_went_away_does_not_wait_for_ever() {
    let mut bench =
        Bench::with(GroupConfig { initial_rebalance_delay_ms: i32::MAX, ..GroupConfig::default() });
    let caller = bench.join(newcomer(0));
    bench.pass(5 * 60 * 1000);
    assert_eq!(bench.refused(caller).error, E::UnknownMemberId);
}

#[test]
fn members_survive_a_restart_for_a_session() {
    let (mut bench, ids, generation) = Bench::stable(2);
    bench.pass(SESSION_MS as u64 / 2);
    bench.restart();
    bench.pass(SESSION_MS as u64 - 1);
    assert_eq!(bench.heartbeat(&ids[1], generation), E::None);
    let caller = bench.sync(&ids[1], generation, &[]);
    assert_eq!(bench.synced(caller).unwrap().assignment, "part");
    bench.pass(1);
    assert_eq!(bench.heartbeat(&ids[0], generation), E::UnknownMemberId);
}

#[test]
fn an_emptied_group_is_empty_after_a_restart_and_goes_on_counting() {
    let (mut bench, ids, generation) = Bench::stable(1);
    bench.leave(&[(ids[0].as_str(), None)]);
    bench.restart();
    assert_eq!(bench.group.state(), State::Empty);
    let caller = bench.join(newcomer(4));
    bench.pass(DELAY_MS);
    assert_eq!(bench.joined(caller).generation.0, generation + 2);
}
