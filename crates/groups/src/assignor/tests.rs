//! Assignments against what must hold of each, and against the best there is.

use super::*;
use crate::{catalog::TopicIdPartition, dice::Dice};
use keyway_record::PartitionId;

type Members = BTreeMap<MemberId, Subscriber>;
type Assigned = BTreeMap<MemberId, Assignment>;

fn topic(n: u8) -> TopicId {
    TopicId([n; 16])
}

fn at(n: u8, partition: i32) -> TopicIdPartition {
    TopicIdPartition { topic: topic(n), partition: PartitionId(partition) }
}

fn members(count: usize, topics: &[u8]) -> Members {
    let subscriber = Subscriber { topics: topics.iter().map(|n| topic(*n)).collect(), ..Default::default() };
    (0..count).map(|n| (MemberId::from(&*format!("m{n:03}")), subscriber.clone())).collect()
}

fn remember(members: &mut Members, assigned: &Assigned) {
    members
        .iter_mut()
        .for_each(|(id, member)| member.previous = assigned.get(id).cloned().unwrap_or_default());
}

fn spread(assigned: &Assigned) -> (usize, usize) {
    let counts = || assigned.values().map(Assignment::len);
    (counts().min().unwrap(), counts().max().unwrap())
}

/// Every partition of a topic with subscribers has one member, who is subscribed to it.
fn check(members: &Members, partitions: &BTreeMap<TopicId, i32>, assigned: &Assigned) {
    assert!(assigned.keys().eq(members.keys()));
    let mut seen = Assignment::new();
    for (id, own) in assigned {
        for at in own {
            assert!(members[id].topics.contains(&at.topic), "{id} is subscribed");
            assert!((0..partitions[&at.topic]).contains(&at.partition.0), "{at:?} exists");
            assert!(seen.insert(*at), "{at:?} has one member");
        }
    }
    let wanted = |topic: &TopicId| members.values().any(|member| member.topics.contains(topic));
    let all: i32 = partitions.iter().filter(|(topic, _)| wanted(topic)).map(|(_, count)| count).sum();
    assert_eq!(seen.len(), all as usize, "every partition has a member");
}

/// The naive judge of evenness: walks the whole graph of who could hand one on to whom.
fn nobody_can_hand_one_on(members: &Members, assigned: &Assigned) {
    for from in members.keys() {
        let mut reached = BTreeSet::from([from]);
        loop {
            let topics: BTreeSet<TopicId> =
                reached.iter().flat_map(|id| assigned[*id].iter().map(|at| at.topic)).collect();
            let next: BTreeSet<_> =
                members.iter().filter(|(_, m)| !m.topics.is_disjoint(&topics)).map(|(id, _)| id).collect();
            let before = reached.len();
            reached.extend(next);
            if reached.len() == before {
                break;
            }
        }
        for to in reached {
            assert!(assigned[to].len() + 1 >= assigned[from].len(), "{from} could hand one on to {to}");
        }
    }
}

fn random(dice: &mut Dice, same: bool) -> (Members, BTreeMap<TopicId, i32>) {
    let topics = 1 + dice.below(4) as u8;
    let partitions = (0..topics).map(|n| (topic(n), dice.below(7) as i32)).collect();
    let mut members = members(1 + dice.below(6), &(0..topics).collect::<Vec<_>>());
    if !same {
        members.values_mut().for_each(|member| member.topics.retain(|_| dice.below(2) == 0));
    }
    (members, partitions)
}

#[test]
fn uniform_is_as_even_as_it_can_be_and_stays_once_it_is() {
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let same = dice.below(2) == 0;
        let (mut group, mut partitions) = random(&mut dice, same);
        for _ in 0..4 {
            let assigned = Assignor::Uniform.assign(&group, &partitions);
            check(&group, &partitions, &assigned);
            nobody_can_hand_one_on(&group, &assigned);
            let (least, most) = spread(&assigned);
            assert!(!same || most - least <= 1, "seed {seed}: {assigned:?}");
            remember(&mut group, &assigned);
            assert_eq!(
                Assignor::Uniform.assign(&group, &partitions),
                assigned,
                "seed {seed}: nothing changed"
            );
            // Someone comes or goes, or a topic grows.
            match dice.below(3) {
                0 => {
                    let topics =
                        if same { partitions.keys().copied().collect() } else { BTreeSet::from([topic(0)]) };
                    let id = MemberId::from(&*format!("n{}", dice.below(1_000)));
                    group.insert(id, Subscriber { topics, ..Default::default() });
                }
                1 if group.len() > 1 => _ = group.pop_first(),
                _ => partitions.values_mut().for_each(|count| *count += dice.below(3) as i32),
            }
        }
    }
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let (mut group, partitions) = random(&mut dice, true);
        let before = Assignor::Uniform.assign(&group, &partitions);
        remember(&mut group, &before);
        let topics = partitions.keys().copied().collect();
        match dice.below(2) {
            0 => _ = group.insert("new".into(), Subscriber { topics, ..Default::default() }),
            _ if group.len() > 1 => _ = group.pop_last(),
            _ => {}
        }
        let after = Assignor::Uniform.assign(&group, &partitions);
        let kept: usize = before
            .iter()
            .map(|(id, own)| after.get(id).map_or(0, |after| own.intersection(after).count()))
            .sum();
        // At best everyone keeps what they had up to their share, the fuller shares going to who had more.
        let all: usize = before.values().map(Assignment::len).sum();
        let (share, mut larger) = (all / group.len(), all % group.len());
        let best: usize = group
            .keys()
            .map(|id| {
                let had = before.get(id).map_or(0, Assignment::len);
                let extra = usize::from(had > share && larger > 0);
                larger -= extra;
                had.min(share + extra)
            })
            .sum();
        assert_eq!(kept, best, "seed {seed}: {before:?} {after:?}");
    }
}

#[test]
fn uniform_hands_on_through_others() {
    let mut group = members(3, &[]);
    let subscribe = |group: &mut Members, id: &str, topics: &[u8]| {
        group.get_mut(&MemberId::from(id)).unwrap().topics = topics.iter().map(|n| topic(*n)).collect();
    };
    subscribe(&mut group, "m000", &[0]);
    subscribe(&mut group, "m001", &[0, 1]);
    subscribe(&mut group, "m002", &[1]);
    let had: [Assignment; 3] =
        [(0..4).map(|n| at(0, n)).collect(), (0..3).map(|n| at(1, n)).collect(), [at(1, 3), at(1, 4)].into()];
    for (member, had) in group.values_mut().zip(had) {
        member.previous = had;
    }
    let assigned = Assignor::Uniform.assign(&group, &BTreeMap::from([(topic(0), 4), (topic(1), 5)]));
    assert_eq!(spread(&assigned), (3, 3));
}

#[test]
fn range_gives_the_same_partitions_of_topics_that_are_alike() {
    let assigned =
        Assignor::Range.assign(&members(2, &[1, 2]), &BTreeMap::from([(topic(1), 3), (topic(2), 3)]));
    let expected: [Assignment; 2] =
        [[at(1, 0), at(1, 1), at(2, 0), at(2, 1)].into(), [at(1, 2), at(2, 2)].into()];
    assert!(assigned.values().eq(expected.iter()));
}

#[test]
fn range_orders_static_members_by_their_instance() {
    let mut group = members(2, &[1]);
    for (member, instance) in group.values_mut().zip(["b", "a"]) {
        member.instance_id = Some(instance.into());
    }
    let assigned = Assignor::Range.assign(&group, &BTreeMap::from([(topic(1), 3)]));
    assert_eq!(assigned[&MemberId::from("m001")], [at(1, 0), at(1, 1)].into());
}

#[test]
fn range_serves_every_topic_evenly() {
    for seed in 0..1_000 {
        let mut dice = Dice(seed);
        let (group, partitions) = random(&mut dice, false);
        let assigned = Assignor::Range.assign(&group, &partitions);
        check(&group, &partitions, &assigned);
        for topic in partitions.keys() {
            let of_topic = |own: &Assignment| own.iter().filter(|at| at.topic == *topic).count();
            let subscribers = group.iter().filter(|(_, member)| member.topics.contains(topic));
            let counts: Vec<_> = subscribers.map(|(id, _)| of_topic(&assigned[id])).collect();
            let most = counts.iter().max().copied().unwrap_or(0);
            assert!(counts.iter().all(|count| count + 1 >= most), "seed {seed}");
        }
    }
}
