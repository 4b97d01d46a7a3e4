//! As even as the subscriptions allow, and sticky.
//!
//! Everyone first keeps what they have, then what nobody has goes to those with the least, and at last partitions move
//! until nobody can hand one on, directly or through others, to a member with at least two less. Then no other
//! assignment is more even: where everyone is subscribed to the same topics, counts differ by one at most.

use super::Subscriber;
use crate::{
    catalog::{Assignment, TopicIdPartition},
    ids::MemberId,
};
use keyway_record::{PartitionId, TopicId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most members and topics to look at while partitions move; it ends what a group of thousands with subscriptions
/// made to be hard would cost (about a second), and leaves a valid assignment that may be less even.
const LOOKS_MAX: usize = 20_000_000;

pub(super) fn assign(
    members: &BTreeMap<MemberId, Subscriber>,
    partitions: &BTreeMap<TopicId, i32>,
) -> BTreeMap<MemberId, Assignment> {
    let mut plan = Plan::new(members, partitions);
    let unassigned = plan.keep(partitions);
    plan.hand_out(unassigned);
    plan.even_out();
    members.keys().cloned().zip(plan.members.into_iter().map(|member| member.assigned)).collect()
}

/// The assignment in the making; members and classes by their index.
struct Plan<'a> {
    members: Vec<Holder<'a>>,
    topics: BTreeMap<TopicId, usize>,
    classes: Vec<Class>,
}

struct Holder<'a> {
    subscriber: &'a Subscriber,
    assigned: Assignment,
    /// How many partitions of each class it has.
    of_class: BTreeMap<usize, usize>,
}

/// Topics with the same subscribers, who may all take what any of them has.
struct Class {
    subscribers: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(members: &'a BTreeMap<MemberId, Subscriber>, partitions: &BTreeMap<TopicId, i32>) -> Self {
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (index, member) in members.values().enumerate() {
            for topic in member.topics.iter().filter(|topic| partitions.contains_key(topic)) {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for (topic, subscribers) in subscribers {
            let next = known.len();
            topics.insert(topic, *known.entry(subscribers).or_insert(next));
        }
        let mut classes: Vec<(usize, Class)> =
            known.into_iter().map(|(subscribers, class)| (class, Class { subscribers })).collect();
        classes.sort_by_key(|(class, _)| *class);
        let holder =
            |subscriber| Holder { subscriber, assigned: Assignment::new(), of_class: BTreeMap::new() };
        Self {
            members: members.values().map(holder).collect(),
            topics,
            classes: classes.into_iter().map(|(_, class)| class).collect(),
        }
    }

    /// Everyone keeps what they had, unless it is gone or they unsubscribed. Returns what nobody has.
    fn keep(&mut self, partitions: &BTreeMap<TopicId, i32>) -> Vec<TopicIdPartition> {
        let mut taken = Assignment::new();
        for index in 0..self.members.len() {
            let subscriber = self.members[index].subscriber;
            for at in &subscriber.previous {
                let exists =
                    partitions.get(&at.topic).is_some_and(|count| (0..*count).contains(&at.partition.0));
                if exists && subscriber.topics.contains(&at.topic) && taken.insert(*at) {
                    self.give(index, *at);
                }
            }
        }
        // Who has few to choose from chooses first.
        let mut topics: Vec<_> = self.topics.iter().map(|(topic, class)| (*topic, *class)).collect();
        topics.sort_by_key(|(topic, class)| (self.classes[*class].subscribers.len(), *class, *topic));
        let all = topics.into_iter().flat_map(|(topic, _)| {
            (0..partitions[&topic])
                .map(move |index| TopicIdPartition { topic, partition: PartitionId(index) })
        });
        all.filter(|at| !taken.contains(at)).collect()
    }

    /// What nobody has goes to who has the least of those that may have it.
    fn hand_out(&mut self, unassigned: Vec<TopicIdPartition>) {
        let mut least: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut of = None;
        for at in unassigned {
            let class = self.topics[&at.topic];
            if of != Some(class) {
                let subscribers = &self.classes[class].subscribers;
                least =
                    subscribers.iter().map(|index| (self.members[*index].assigned.len(), *index)).collect();
                of = Some(class);
            }
            let (count, index) = least.pop_first().expect("a topic of a class has subscribers");
            self.give(index, at);
            least.insert((count + 1, index));
        }
    }

    /// Moves partitions, one at a time and always from who has the most, until nobody can hand one on to someone with
    /// at least two less.
    fn even_out(&mut self) {
        let mut looks = 0;
        let mut givers: BTreeSet<(usize, usize)> =
            self.members.iter().enumerate().map(|(index, member)| (member.assigned.len(), index)).collect();
        while let Some((count, from)) = givers.pop_last() {
            // Who cannot now never can: later moves stay among members that are out of reach from here.
            let Some(path) = self.path_down(from, &mut looks) else { continue };
            if looks >= LOOKS_MAX {
                return;
            }
            let (.., last) = path[0];
            // The last one may have been found unable to give; with one partition more it stays so.
            if givers.remove(&(self.members[last].assigned.len(), last)) {
                givers.insert((self.members[last].assigned.len() + 1, last));
            }
            givers.insert((count - 1, from));
            for (giver, class, taker) in path {
                self.hand_on(giver, class, taker);
            }
        }
    }

    /// The steps, the last one first, by which a partition of `from` lands at the member with the least of those that
    /// can be reached, if that has at least two less.
    fn path_down(&self, from: usize, looks: &mut usize) -> Option<Vec<(usize, usize, usize)>> {
        let load = |index: usize| self.members[index].assigned.len();
        let lowest = load(from).checked_sub(2)?;
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut seen = vec![false; self.classes.len()];
        let mut queue = VecDeque::from([from]);
        let mut best: Option<usize> = None;
        while let Some(giver) = queue.pop_front() {
            for &class in self.members[giver].of_class.keys() {
                *looks += 1;
                if std::mem::replace(&mut seen[class], true) {
                    continue;
                }
                for &taker in &self.classes[class].subscribers {
                    *looks += 1;
                    if taker == from || reached.contains_key(&taker) {
                        continue;
                    }
                    reached.insert(taker, (giver, class));
                    queue.push_back(taker);
                    if load(taker) <= lowest && best.is_none_or(|best| load(taker) < load(best)) {
                        best = Some(taker);
                    }
                }
            }
        }
        let mut path = Vec::new();
        let mut taker = best?;
        while taker != from {
            let (giver, class) = reached[&taker];
            path.push((giver, class, taker));
            taker = giver;
        }
        Some(path)
    }

    /// One partition of a class goes from one member to another: rather one that the taker had before, or that the
    /// giver had not.
    fn hand_on(&mut self, giver: usize, class: usize, taker: usize) {
        let had = |index: usize, at: &TopicIdPartition| self.members[index].subscriber.previous.contains(at);
        let of_class = self.members[giver].assigned.iter().filter(|at| self.topics[&at.topic] == class);
        let chosen = of_class.max_by_key(|at| (had(taker, at), !had(giver, at), **at));
        let chosen = *chosen.expect("the giver has a partition of the class");
        let holder = &mut self.members[giver];
        holder.assigned.remove(&chosen);
        let count = holder.of_class.get_mut(&class).expect("counted when it was given");
        *count -= 1;
        if *count == 0 {
            holder.of_class.remove(&class);
        }
        self.give(taker, chosen);
    }

    fn give(&mut self, index: usize, at: TopicIdPartition) {
        let class = self.topics[&at.topic];
        let holder = &mut self.members[index];
        assert!(holder.assigned.insert(at), "a partition is given once");
        *holder.of_class.entry(class).or_default() += 1;
    }
}
