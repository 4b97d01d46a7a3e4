//! The members of a group that uses the consumer protocol (KIP-848), and what each of them is to have.
//!
//! The group has an epoch, which rises when members, their subscriptions or their topics have changed; with it the
//! target assignment is made anew. A large group does that once for what changes within a moment, as a thousand members
//! that join together would otherwise have a thousand targets made for a thousand members each. Each member moves
//! towards its target by itself ([`holding`]), at its own heartbeats. Targets are not stored: after a restart they are
//! made again from what the members hold, at the next epoch.
//!
//! **Invariant:** a partition is held by one member at most, the time included in which it gives the partition up.

pub(crate) mod holding;
pub(crate) mod member;
pub(crate) mod stored;
pub(crate) mod subscription;

use crate::{
    assignor::{Assignor, Subscriber},
    catalog::{Assignment, Catalog, CatalogTopic, TopicIdPartition},
    config::GroupConfig,
    ids::{InstanceId, MemberEpoch, MemberId, Millis, after},
    message::State,
};
use holding::{Goal, Holding, Progress};
use keyway_record::{ErrorCode, TopicId, TopicName};
use member::Member;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stored::StoredConsumer;
use subscription::{Pattern, Subscription};

/// Members, targets, and who holds what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers {
    epoch: MemberEpoch,
    members: BTreeMap<MemberId, Member>,
    /// The member of each instance id.
    statics: BTreeMap<InstanceId, MemberId>,
    /// What each member is to have in this epoch.
    targets: BTreeMap<MemberId, Assignment>,
    owners: BTreeMap<TopicIdPartition, MemberId>,
    /// The expressions of all subscriptions.
    patterns: BTreeMap<Arc<str>, Pattern>,
    /// The topics that someone is subscribed to, as they were when the targets were made.
    topics: BTreeMap<TopicName, CatalogTopic>,
    /// Members that came, changed or went since [`Consumers::take_changes`].
    changed: BTreeSet<MemberId>,
    epoch_changed: bool,
    /// When the targets were made; `None` while they are what members held before, in an earlier life or under the
    /// classic protocol.
    planned_at: Option<Millis>,
    /// When they are to be made again.
    plan_due: Option<Millis>,
}

impl Consumers {
    /// Nobody, in a group that has come to this epoch.
    pub(crate) fn new(epoch: MemberEpoch) -> Self {
        Self { epoch, epoch_changed: true, ..Self::default() }
    }

    /// What records of an earlier life say. Where they contradict each other, because a crash cut their writing short,
    /// the first one counts, and the other member starts without.
    pub(crate) fn recover(
        epoch: MemberEpoch,
        stored: BTreeMap<MemberId, StoredConsumer>,
        session_ends: impl Fn(Option<i32>) -> Millis,
    ) -> Self {
        let mut consumers = Self { epoch, ..Self::default() };
        for (id, stored) in stored {
            let taken = |instance: &InstanceId| consumers.statics.contains_key(instance);
            if stored.instance_id.as_ref().is_some_and(taken) {
                continue;
            }
            let session = session_ends(stored.classic.as_ref().map(|classic| classic.session_timeout_ms));
            let mut member = stored.into_member(session);
            let owners = &consumers.owners;
            member.holding.assigned.retain(|at, _| !owners.contains_key(at));
            member.holding.revoking.retain(|at, _| !owners.contains_key(at));
            if member.holding.progress == Progress::Unrevoked && member.holding.revoking.is_empty() {
                member.holding.progress = Progress::Stable;
            }
            consumers.epoch = consumers.epoch.max(member.holding.epoch);
            if let Some(text) = &member.subscription.pattern
                && let Ok(pattern) = Pattern::new(text)
            {
                consumers.patterns.insert(text.clone(), pattern);
            }
            let target = member.holding.assigned.keys().copied().collect();
            consumers.targets.insert(id.clone(), target);
            consumers.insert(id, member);
        }
        consumers.changed.clear();
        consumers
    }

    pub(crate) fn epoch(&self) -> MemberEpoch {
        self.epoch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    pub(crate) fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// The member's deadlines, which are nobody else's business.
    pub(crate) fn due(&mut self, id: &MemberId) -> &mut member::Deadlines {
        &mut self.members.get_mut(id).expect("the caller knows that it is a member").due
    }

    /// The member that has this instance id.
    pub(crate) fn of_instance(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    /// Whether the instance id is this member's.
    pub(crate) fn check_instance(&self, instance: &InstanceId, id: &MemberId) -> Result<(), ErrorCode> {
        match self.statics.get(instance) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(current) if current != id => Err(ErrorCode::FencedInstanceId),
            Some(_) => Ok(()),
        }
    }

    /// What the member is to have in the group's epoch.
    pub(crate) fn target(&self, id: &MemberId) -> &Assignment {
        static NOTHING: Assignment = Assignment::new();
        self.targets.get(id).unwrap_or(&NOTHING)
    }

    pub(crate) fn state(&self) -> State {
        match self.members.values().all(|member| member.holding.is_settled(self.epoch)) {
            _ if self.members.is_empty() => State::Empty,
            _ if self.plan_due.is_some() => State::Assigning,
            true => State::Stable,
            false => State::Reconciling,
        }
    }

    /// Takes a new member in, or an old one that said something new. The caller decides whether the targets have to
    /// be made anew.
    pub(crate) fn insert(&mut self, id: MemberId, member: Member) {
        if let Some(before) = self.members.remove(&id) {
            self.release(&before);
        }
        if let Some(instance) = &member.instance_id {
            let taken = self.statics.insert(instance.clone(), id.clone());
            assert_eq!(taken, None, "an instance id has one member");
        }
        self.own(&id, &member.holding);
        self.changed.insert(id.clone());
        self.members.insert(id, member);
    }

    pub(crate) fn remove(&mut self, id: &MemberId) -> Member {
        let member = self.members.remove(id).expect("only members are removed");
        self.release(&member);
        self.targets.remove(id);
        self.changed.insert(id.clone());
        member
    }

    /// What is a member's is nobody's.
    fn release(&mut self, member: &Member) {
        member.holding.all().for_each(|at| _ = self.owners.remove(&at));
        member.instance_id.iter().for_each(|instance| _ = self.statics.remove(instance));
    }

    /// Gives the place of a static member, its partitions included, to a new id, which has not joined yet.
    pub(crate) fn replace(&mut self, old: &MemberId, new: MemberId, change: impl FnOnce(&mut Member)) {
        let target = self.targets.get(old).cloned().unwrap_or_default();
        let mut member = self.remove(old);
        member.holding = member.holding.released();
        (member.holding.epoch, member.holding.previous_epoch) = (MemberEpoch::JOIN, MemberEpoch::JOIN);
        member.due = member::Deadlines::new(member.due.session);
        change(&mut member);
        self.targets.insert(new.clone(), target);
        self.insert(new, member);
    }

    pub(crate) fn set_holding(&mut self, id: &MemberId, holding: Holding) {
        let before = &self.members[id].holding;
        before.all().for_each(|at| _ = self.owners.remove(&at));
        self.own(id, &holding);
        self.members.get_mut(id).expect("looked up above").holding = holding;
        self.changed.insert(id.clone());
    }

    fn own(&mut self, id: &MemberId, holding: &Holding) {
        for at in holding.all() {
            let other = self.owners.insert(at, id.clone());
            assert_eq!(other, None, "{at:?} is held by one member");
        }
    }

    /// Whether nobody has decided yet what members are to have.
    pub(crate) fn is_unplanned(&self) -> bool {
        self.planned_at.is_none()
    }

    /// Takes an expression over that a subscription has.
    pub(crate) fn learn(&mut self, text: Arc<str>, pattern: Pattern) {
        self.patterns.entry(text).or_insert(pattern);
    }

    /// Everyone is to have what they hold, as members from the classic protocol do.
    pub(crate) fn keep_as_targets(&mut self) {
        let target = |member: &Member| member.holding.assigned.keys().copied().collect();
        self.targets = self.members.iter().map(|(id, member)| (id.clone(), target(member))).collect();
        self.planned_at = None;
    }

    /// Members, their subscriptions or their topics are others now: the group moves on to its next epoch, at once or, if
    /// it has just done so, after a pause that suits its size.
    pub(crate) fn advance(&mut self, now: Millis, catalog: &Catalog, config: &GroupConfig) {
        let free = self.planned_at.map_or(now, |at| at.plus(self.planning_pause_ms(config)));
        match self.members.is_empty() || free <= now {
            true => self.plan(now, catalog),
            false => _ = self.plan_due.get_or_insert(free),
        }
    }

    /// Makes the targets whose time has come.
    pub(crate) fn plan_if_due(&mut self, now: Millis, catalog: &Catalog) {
        if self.plan_due.is_some_and(|due| due <= now) {
            self.plan(now, catalog);
        }
    }

    fn planning_pause_ms(&self, config: &GroupConfig) -> u64 {
        let partitions = self.topics.values().map(|topic| u64::from(topic.partitions.unsigned_abs()));
        let us = (self.members.len() as u64 + partitions.sum::<u64>())
            * u64::from(config.consumer_planning_pause_us);
        (us / 1000).min(config.consumer_assignment_interval_ms.unsigned_abs().into())
    }

    /// Whether the targets are about to change, or have changed less than `recently_ms` ago.
    pub(crate) fn is_moving(&self, now: Millis, recently_ms: i32) -> bool {
        self.plan_due.is_some() || self.planned_at.is_some_and(|at| after(at, recently_ms) > now)
    }

    /// Whether the targets are older than what has changed.
    pub(crate) fn is_behind(&self) -> bool {
        self.plan_due.is_some()
    }

    /// The next epoch, with new targets for everyone.
    fn plan(&mut self, now: Millis, catalog: &Catalog) {
        self.epoch = self.epoch.next();
        self.epoch_changed = true;
        (self.planned_at, self.plan_due) = (Some(now), None);
        self.topics = self.subscribed(catalog);
        let partitions = self.topics.values().map(|topic| (topic.id, topic.partitions)).collect();
        let subscriber = |(id, member): (&MemberId, &Member)| {
            let subscriber = Subscriber {
                instance_id: member.instance_id.clone(),
                topics: self.topics_of(&member.subscription),
                previous: self.target(id).clone(),
            };
            (id.clone(), subscriber)
        };
        let subscribers = self.members.iter().map(subscriber).collect();
        self.targets = self.assignor().assign(&subscribers, &partitions);
    }

    /// The topics are these now. Advances the group if that concerns it, or if it does not know what it is to have.
    pub(crate) fn catalog_changed(&mut self, now: Millis, catalog: &Catalog, config: &GroupConfig) {
        if self.subscribed(catalog) != self.topics || self.is_unplanned() {
            self.advance(now, catalog, config);
        }
    }

    /// Every topic of someone's subscription that exists. Forgets expressions that nobody uses any more.
    fn subscribed(&mut self, catalog: &Catalog) -> BTreeMap<TopicName, CatalogTopic> {
        self.patterns.values_mut().for_each(|pattern| pattern.resolve(catalog));
        let used: BTreeSet<_> =
            self.members.values().filter_map(|member| member.subscription.pattern.as_ref()).collect();
        self.patterns.retain(|text, _| used.contains(text));
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for member in self.members.values() {
            names.extend(member.subscription.names.iter().map(|name| &**name));
        }
        names.extend(self.patterns.values().flat_map(|pattern| &pattern.topics).map(TopicName::as_str));
        let found = |name| {
            let topic = catalog.topic(name)?;
            Some((catalog.name(topic.id)?.clone(), topic))
        };
        names.into_iter().filter_map(found).collect()
    }

    /// The ids of what a subscription means.
    fn topics_of(&self, subscription: &Subscription) -> BTreeSet<TopicId> {
        let id = |name: &str| self.topics.get(name).map(|topic| topic.id);
        let mut topics: BTreeSet<TopicId> = subscription.names.iter().filter_map(|name| id(name)).collect();
        let pattern = subscription.pattern.as_ref().and_then(|text| self.patterns.get(text));
        topics.extend(
            pattern.into_iter().flat_map(|pattern| &pattern.topics).filter_map(|name| id(name.as_str())),
        );
        topics
    }

    /// Whether someone is subscribed to the topic, by name or by expression.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        let by_name = |member: &Member| member.subscription.names.contains(topic.as_str());
        self.members.values().any(by_name)
            || self.patterns.values().any(|pattern| pattern.topics.contains(topic))
    }

    /// The assignor that most members ask for; of several the default first.
    pub(crate) fn assignor(&self) -> Assignor {
        let votes =
            |assignor| self.members.values().filter(|member| member.assignor == Some(assignor)).count();
        let [first, rest @ ..] = Assignor::ALL;
        rest.into_iter().fold(first, |best, other| if votes(other) > votes(best) { other } else { best })
    }

    /// Moves a member towards its target; true if that changed what it holds.
    pub(crate) fn reconcile(
        &mut self,
        id: &MemberId,
        owned: Option<&Assignment>,
        resubscribed: bool,
    ) -> bool {
        let member = &self.members[id];
        if !resubscribed && member.holding.is_settled(self.epoch) {
            return false;
        }
        let goal = Goal {
            member_id: id,
            epoch: self.epoch,
            target: self.target(id),
            topics: &self.topics_of(&member.subscription),
            owners: &self.owners,
            owned,
            resubscribed,
        };
        let next = member.holding.next(&goal);
        if next == member.holding {
            return false;
        }
        self.set_holding(id, next);
        true
    }

    /// Whether a member that waits for partitions could not get any of them now.
    pub(crate) fn is_waiting(&self, id: &MemberId) -> bool {
        let member = &self.members[id];
        let missing = self.target(id).iter().filter(|at| !member.holding.assigned.contains_key(at));
        missing.into_iter().any(|at| self.owners.get(at).is_some_and(|owner| owner != id))
    }

    /// What is to be stored since this was last asked: the group's epoch if it moved, and the members, `None` for those
    /// that are gone, who come first.
    pub(crate) fn take_changes(&mut self) -> (bool, Vec<(MemberId, Option<StoredConsumer>)>) {
        let changed = std::mem::take(&mut self.changed);
        let stored = |id: MemberId| {
            let stored = self.members.get(&id).map(StoredConsumer::of);
            (id, stored)
        };
        let mut changes: Vec<_> = changed.into_iter().map(stored).collect();
        changes.sort_by_key(|(_, stored)| stored.is_some());
        (std::mem::take(&mut self.epoch_changed), changes)
    }

    /// When targets are to be made, or the first member is expelled unless something happens.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.members.values().map(|member| member.due.next()).chain(self.plan_due).min()
    }

    /// Asserts every invariant; for tests and simulation.
    pub(crate) fn check(&self) {
        let mut held = BTreeMap::new();
        for (id, member) in &self.members {
            member.holding.check();
            assert!(member.holding.epoch <= self.epoch, "no member is ahead of its group");
            for at in member.holding.all() {
                assert_eq!(held.insert(at, id), None, "{at:?} is held by one member");
            }
            if let Some(instance) = &member.instance_id {
                assert_eq!(self.statics.get(instance), Some(id), "instance ids lead to their members");
            }
            let unrevoked = member.holding.progress == Progress::Unrevoked;
            let has_timer = member.due.revoke.is_some();
            assert!(!has_timer || unrevoked, "a deadline to give up is for those who have to");
        }
        assert!(self.owners.iter().map(|(at, id)| (*at, id)).eq(held), "owners are those who hold");
        let statics = self.members.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(statics, self.statics.len(), "instance ids are taken once");
        assert!(self.targets.keys().all(|id| self.members.contains_key(id)), "targets are for members");
        let mut aims = BTreeSet::new();
        for at in self.targets.values().flatten() {
            assert!(aims.insert(*at), "{at:?} is to be one member's");
        }
        assert!(!self.members.is_empty() || self.plan_due.is_none(), "nobody has nothing to wait for");
        if self.plan_due.is_none()
            && self.members.values().all(|member| member.holding.is_settled(self.epoch))
        {
            for (id, member) in &self.members {
                assert!(
                    member.holding.assigned.keys().eq(self.target(id)),
                    "{id} is settled with its target"
                );
            }
        }
    }
}
