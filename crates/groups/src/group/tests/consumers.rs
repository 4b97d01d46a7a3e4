//! The rules of consumer groups that random histories do not name: timeouts, lost answers, both protocols at once.

use super::*;
use crate::{
    catalog::{Assignment, Catalog, CatalogTopic, TopicIdPartition},
    consumer_protocol::{ConsumerAssignment, NamedPartitions},
    ids::MemberEpoch,
    message::{ConsumerBeat, ConsumerHeartbeat, GroupKind},
};
use keyway_record::TopicId;

const TOPIC: TopicId = TopicId([7; 16]);
const REVOKE_MS: i32 = 60_000;

fn at(partition: i32) -> TopicIdPartition {
    TopicIdPartition { topic: TOPIC, partition: PartitionId(partition) }
}

/// A group that knows of `orders` with two partitions.
fn bench() -> Bench {
    bench_with(GroupConfig::default())
}

fn bench_with(config: GroupConfig) -> Bench {
    let mut bench = Bench::with(config);
    let catalog = Catalog::new([(orders(), CatalogTopic { id: TOPIC, partitions: 2 })]);
    bench.step(Input::Topics { catalog: Arc::new(catalog) });
    bench
}

fn beat(id: &str, epoch: i32, owned: &[i32]) -> ConsumerHeartbeat {
    let joins = epoch == 0;
    ConsumerHeartbeat {
        member_id: id.into(),
        member_epoch: MemberEpoch(epoch),
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: joins.then_some(REVOKE_MS),
        topic_names: joins.then(|| vec!["orders".into()]),
        topic_pattern: None,
        assignor: None,
        owned: Some(owned.iter().map(|partition| at(*partition)).collect()),
    }
}

impl Bench {
    fn beat(&mut self, heartbeat: ConsumerHeartbeat) -> Result<ConsumerBeat, E> {
        let asked = self.asked;
        let caller = self.ask(|caller| Input::ConsumerHeartbeat { caller, heartbeat });
        if self.asked != asked {
            assert!(self.waits(caller) || self.replies.contains_key(&caller));
            self.persisted();
        }
        match self.replies.remove(&caller) {
            Some(Reply::ConsumerHeartbeat(beat)) => beat,
            other => panic!("{other:?}"),
        }
    }

    /// A member's epoch and what it was told to use.
    fn told(&mut self, heartbeat: ConsumerHeartbeat) -> (i32, Option<Vec<i32>>) {
        let beat = self.beat(heartbeat).unwrap();
        let partitions = |own: Assignment| own.iter().map(|at| at.partition.0).collect();
        (beat.member_epoch.0, beat.assignment.map(partitions))
    }
}

/// A classic consumer of `orders`, who says what it has.
fn classic(n: u8, id: &str, owned: &[i32]) -> Join {
    let mut metadata = b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\x01\0\x06orders".to_vec();
    metadata.extend((owned.len() as i32).to_be_bytes());
    owned.iter().for_each(|partition| metadata.extend(partition.to_be_bytes()));
    let protocols = vec![Protocol { name: "range".into(), metadata: metadata.into() }];
    Join { member_id: id.into(), protocols, ..newcomer(n) }
}

fn share(synced: Result<Synced, E>) -> Vec<i32> {
    let assignment = ConsumerAssignment::decode(&synced.unwrap().assignment).unwrap();
    assignment.partitions.values().flatten().map(|partition| partition.0).collect()
}

#[test]
fn an_answer_waits_for_the_log() {
    let mut bench = bench();
    let heartbeat = beat("a", 0, &[]);
    let caller = bench.ask(|caller| Input::ConsumerHeartbeat { caller, heartbeat });
    assert!(bench.waits(caller), "nobody is told of an epoch that a crash could take back");
    bench.persisted();
    assert!(!bench.waits(caller));
    bench.restart();
    assert_eq!(bench.group.describe_consumers().unwrap().members.len(), 1);
}

#[test]
fn a_lost_answer_is_given_again_and_a_stale_member_is_fenced() {
    let mut bench = bench();
    assert_eq!(bench.told(beat("a", 0, &[])), (1, Some(vec![0, 1])));
    assert_eq!(bench.told(beat("b", 0, &[])), (2, Some(vec![])));
    assert_eq!(bench.told(beat("a", 1, &[0, 1])), (1, Some(vec![0])));
    assert_eq!(bench.told(beat("a", 1, &[0])), (2, None));
    // That answer is lost: the client states the epoch before, and nothing that it was not given.
    assert_eq!(bench.told(beat("a", 1, &[0])), (2, None));
    assert_eq!(bench.beat(beat("a", 1, &[0, 1])), Err(E::FencedMemberEpoch));
    assert_eq!(bench.beat(ConsumerHeartbeat { owned: None, ..beat("a", 1, &[]) }), Err(E::FencedMemberEpoch));
    assert_eq!(bench.beat(beat("a", 3, &[0])), Err(E::FencedMemberEpoch));
    assert_eq!(bench.beat(beat("z", 2, &[])), Err(E::UnknownMemberId));
    // A fenced member begins anew and finds what it had.
    assert_eq!(bench.told(beat("a", 0, &[])), (2, Some(vec![0])));
}

#[test]
fn who_gives_nothing_up_is_out_after_its_rebalance_timeout() {
    let mut bench = bench();
    bench.told(beat("a", 0, &[]));
    bench.told(beat("b", 0, &[]));
    bench.told(beat("a", 1, &[0, 1]));
    for _ in 0..5 {
        bench.pass(10_000);
        assert_eq!(bench.told(beat("a", 1, &[0, 1])).0, 1);
        bench.told(beat("b", 2, &[]));
    }
    bench.pass(10_000);
    assert_eq!(bench.beat(beat("a", 1, &[0, 1])), Err(E::UnknownMemberId));
    assert_eq!(bench.told(beat("b", 2, &[])), (3, Some(vec![0, 1])));
}

#[test]
fn silent_members_are_out_after_their_session() {
    let mut bench = bench();
    bench.told(beat("a", 0, &[]));
    bench.pass(44_999);
    assert_eq!(bench.told(beat("a", 1, &[0, 1])), (1, None));
    bench.pass(45_000);
    assert_eq!(bench.group.state(), State::Empty);
    assert_eq!(bench.group.kind(), GroupKind::Consumer);
    // The log has nobody left, and the group still has its epoch.
    bench.persisted();
    bench.restart();
    assert_eq!(bench.group.describe_consumers().unwrap().epoch, MemberEpoch(2));
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::with(GroupConfig { members_max: 1, ..GroupConfig::default() });
    bench.told(beat("a", 0, &[]));
    assert_eq!(bench.beat(beat("b", 0, &[])), Err(E::GroupMaxSizeReached));
    assert!(bench.beat(beat("a", 0, &[])).is_ok());
}

#[test]
fn classic_members_go_on_in_a_consumer_group_until_it_is_a_classic_one_again() {
    let mut bench = bench();
    let caller = bench.join(classic(0, "", &[]));
    bench.pass(2 * DELAY_MS);
    let joined = bench.joined(caller);
    let (old, generation) = (joined.member_id, joined.generation.0);
    let everything = NamedPartitions::from([("orders".into(), vec![PartitionId(0), PartitionId(1)])]);
    let bytes = ConsumerAssignment::encode(1, &everything);
    let sync = |id: &MemberId, generation: i32, assignments: Vec<(MemberId, Bytes)>| Sync {
        member_id: id.clone(),
        instance_id: None,
        generation: Generation(generation),
        protocol_type: None,
        protocol_name: None,
        assignments,
    };
    let assigned = sync(&old, generation, vec![(old.clone(), bytes)]);
    let caller = bench.ask(|caller| Input::Sync { caller, sync: assigned });
    bench.persisted();
    assert_eq!(share(bench.synced(caller)), [0, 1]);

    // The first member with the new protocol gets what the old one gives up.
    assert_eq!(bench.told(beat("new", 0, &[])), (generation + 1, Some(vec![])));
    assert_eq!(bench.group.kind(), GroupKind::Consumer);
    assert_eq!(bench.heartbeat(&old, generation), E::RebalanceInProgress);
    let caller = bench.join(classic(0, old.as_str(), &[0, 1]));
    bench.persisted();
    let joined = bench.joined(caller);
    assert_eq!((joined.generation.0, joined.leader.as_str()), (generation, ""), "it has to give up first");
    let again = sync(&old, generation, Vec::new());
    let caller = bench.ask(|caller| Input::Sync { caller, sync: again });
    assert_eq!(share(bench.synced(caller)), [0]);
    let caller = bench.join(classic(0, old.as_str(), &[0]));
    bench.persisted();
    assert_eq!(bench.joined(caller).generation.0, generation + 1);
    assert_eq!(bench.told(beat("new", generation + 1, &[])), (generation + 1, Some(vec![1])));
    assert_eq!(bench.group.state(), State::Stable);
    assert_eq!(bench.heartbeat(&old, generation + 1), E::None);
    assert_eq!(bench.heartbeat(&old, generation), E::IllegalGeneration);

    // It goes, and the other is asked to join a classic group.
    bench.beat(beat("new", -1, &[])).unwrap();
    assert_eq!((bench.group.kind(), bench.group.state()), (GroupKind::Classic, State::PreparingRebalance));
    bench.restart();
    assert_eq!((bench.group.kind(), bench.group.state()), (GroupKind::Classic, State::Stable));
    assert_eq!(bench.group.describe().members[0].member_id, old);
}

#[test]
fn groups_that_are_not_of_consumers_stay_what_they_are() {
    let mut bench = bench();
    let caller = bench.join(newcomer(0));
    bench.pass(2 * DELAY_MS);
    bench.joined(caller);
    // Its metadata is nothing that a broker can read.
    assert_eq!(bench.beat(beat("new", 0, &[])), Err(E::GroupIdNotFound));
    assert_eq!(bench.beat(beat("new", -1, &[])), Err(E::GroupIdNotFound));
    assert_eq!(bench.group.kind(), GroupKind::Classic);
}

#[test]
fn a_classic_member_that_does_not_follow_is_out() {
    let mut bench = bench();
    bench.told(beat("a", 0, &[]));
    let caller = bench.join(Join { rebalance_timeout_ms: 5_000, ..classic(1, "", &[]) });
    bench.persisted();
    let joined = bench.joined(caller);
    assert!(joined.members.is_empty());
    bench.pass(5_000);
    assert_eq!(
        bench.heartbeat(&joined.member_id, joined.generation.0),
        E::UnknownMemberId,
        "it never synced"
    );
    assert_eq!(bench.group.describe_consumers().unwrap().members.len(), 1);
}

#[test]
fn offsets_of_topics_that_nobody_wants_any_more_are_forgotten() {
    let mut bench = bench();
    bench.told(beat("a", 0, &[]));
    let caller = bench.commit("a", 1, 5, "");
    assert_eq!(bench.commit_error(caller), Some(E::UnsupportedVersion), "a request of the old kind");
    let offset = |name: &str| {
        let committed = Committed {
            offset: Offset(5),
            leader_epoch: LeaderEpoch(0),
            metadata: "".into(),
            committed_at: Timestamp(0),
        };
        (TopicName::new(name).unwrap(), PartitionId(0), committed)
    };
    let commit = Commit {
        member_id: "a".into(),
        instance_id: None,
        generation: Generation(1),
        knows_member_epochs: true,
        offsets: vec![offset("orders"), offset("left")],
    };
    bench.ask(|caller| Input::Commit { caller, commit });
    bench.persisted();
    let retention = GroupConfig::default().offsets_retention_ms;
    bench.step(Input::ExpireOffsets { wall: Timestamp(retention - 1) });
    assert_eq!(bench.group.offsets().iter().count(), 2);
    bench.step(Input::ExpireOffsets { wall: Timestamp(retention) });
    bench.persisted();
    assert_eq!(bench.group.offsets().iter().count(), 1);
    assert_eq!(bench.offset(), Some(5));
}

#[test]
fn what_a_large_group_sees_at_one_moment_goes_into_one_plan() {
    let pause_us = 100_000;
    let config = GroupConfig { consumer_planning_pause_us: pause_us, ..GroupConfig::default() };
    let usual_ms = config.consumer_heartbeat_interval_ms;
    let mut bench = bench_with(config);
    assert_eq!(bench.told(beat("a", 0, &[])), (1, Some(vec![0, 1])), "the first one waits for nobody");
    // One member and two partitions were planned, so three pauses pass before the next plan.
    for id in ["b", "c"] {
        let joined = bench.beat(beat(id, 0, &[])).unwrap();
        assert_eq!((joined.member_epoch.0, joined.assignment), (1, Some(Assignment::new())));
        assert!(joined.heartbeat_interval_ms < usual_ms, "it has something to wait for");
    }
    assert_eq!(bench.group.state(), State::Assigning);
    bench.pass(u64::from(4 * pause_us / 1000));
    bench.persisted();
    assert_eq!(bench.group.state(), State::Reconciling);
    assert_eq!(bench.told(beat("a", 1, &[0, 1])), (1, Some(vec![0])));
    assert_eq!(bench.told(beat("a", 1, &[0])), (2, None), "one epoch for both");
    assert_eq!(bench.told(beat("b", 1, &[])), (2, Some(vec![1])));
    assert_eq!(bench.told(beat("c", 1, &[])), (2, None));
    bench.pass(usual_ms as u64);
    let settled = bench.beat(beat("a", 2, &[0])).unwrap();
    assert_eq!(settled.heartbeat_interval_ms, usual_ms);
    assert_eq!(bench.group.state(), State::Stable);
}
