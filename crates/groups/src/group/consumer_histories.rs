//! Random histories of consumer groups: clients of both protocols, topics that change, answers that get lost, a log
//! that is slow, crashes, and a referee.
//!
//! The referee asserts what consumers rely on. What a live member uses, the group knows that it holds, so no two use
//! one partition. And when everything calms down, the group settles within a bounded number of heartbeats: every
//! partition of a subscribed topic is used, as evenly as the subscriptions allow where the broker assigns.

use super::*;
use crate::{
    assignor::Assignor,
    catalog::{Assignment, CatalogTopic, TopicIdPartition},
    consumer_protocol::{ConsumerAssignment, NamedPartitions},
    dice::Dice,
    ids::{CallerId, MemberEpoch, PersistId},
    message::{ConsumerBeat, ConsumerHeartbeat, Heartbeat, Join, Leaving, Protocol, Reply, Sync},
    recovery::Recovery,
    stored::GroupRecord,
};
use ErrorCode as E;
use bytes::BufMut;
use keyway_record::{PartitionId, TopicId, TopicName};
use std::collections::{BTreeSet, VecDeque};

const SEEDS: u64 = 1_500;
const STEPS: usize = 150;
const NAMES: [&str; 3] = ["a", "ab", "c"];
const PATTERNS: [&str; 3] = ["a.*", "c|x", "none"];

/// One client: what it believes.
#[derive(Clone, Debug)]
struct Client {
    n: usize,
    /// A client that is started again is another one to what its earlier life still waits for.
    life: u64,
    classic: bool,
    instance_id: Option<InstanceId>,
    member_id: MemberId,
    names: BTreeSet<&'static str>,
    pattern: Option<&'static str>,
    epoch: i32,
    stage: Stage,
    /// What it was last told to use, and what it uses.
    assigned: Assignment,
    using: Assignment,
    /// It does not know whether its last words were heard, so it says everything.
    says_all: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Out,
    In,
    /// Classic: joined, and whom to assign if it leads.
    Joined,
    Waiting,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Beat,
    Join,
    Sync,
    Pulse,
    Leave,
}

struct World {
    dice: Dice,
    now: Millis,
    group: Group,
    clients: Vec<Client>,
    /// By name: life of the topic, partitions.
    topics: BTreeMap<&'static str, (u8, i32)>,
    lives: u8,
    catalog: Arc<Catalog>,
    callers: u64,
    /// Who waits, with the topics of that time: a topic that is made again is another one to who was assigned the old.
    open: BTreeMap<CallerId, (Asked, Client, Arc<Catalog>)>,
    members_to_assign: BTreeMap<MemberId, Vec<MemberId>>,
    under_way: VecDeque<(PersistId, Vec<GroupRecord>)>,
    durable: Vec<GroupRecord>,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let classics = dice.below(3);
        let clients = (0..2 + dice.below(4)).map(|n| Client::new(n, classics, &mut dice)).collect();
        let config = GroupConfig {
            initial_rebalance_delay_ms: 0,
            members_max: 4,
            // Always at once, as it is by default, or so seldom that much comes together.
            consumer_planning_pause_us: [0, GroupConfig::default().consumer_planning_pause_us, 200_000]
                [dice.below(3)],
            ..GroupConfig::default()
        };
        let mut world = Self {
            dice,
            now: Millis(1),
            group: Group::new("g".into(), config),
            clients,
            topics: BTreeMap::new(),
            lives: 0,
            catalog: Arc::default(),
            callers: 0,
            open: BTreeMap::new(),
            members_to_assign: BTreeMap::new(),
            under_way: VecDeque::new(),
            durable: Vec::new(),
            calm: false,
        };
        world.change_topics();
        world
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.group.step(self.now, input, &mut out);
        self.group.check();
        for output in out {
            match output {
                Output::Persist { id, records } => self.under_way.push_back((id, records)),
                Output::Reply { caller, reply } => {
                    let (asked, client, catalog) =
                        self.open.remove(&caller).expect("a caller is answered once");
                    // An answer that is lost: the client gives up waiting.
                    let lost = !self.calm && self.dice.below(12) == 0;
                    let now = &mut self.clients[client.n];
                    if now.life == client.life && lost {
                        now.stage =
                            if asked == Asked::Beat && client.epoch > 0 { Stage::In } else { Stage::Out };
                        now.says_all = true;
                        if asked != Asked::Beat {
                            now.using.clear();
                        }
                    } else if now.life == client.life {
                        self.hear(client.n, asked, reply, &catalog);
                    }
                }
            }
        }
        self.judge();
    }

    fn ask(&mut self, n: usize, asked: Asked, input: impl FnOnce(CallerId) -> Input) {
        self.callers += 1;
        let caller = CallerId(self.callers);
        self.open.insert(caller, (asked, self.clients[n].clone(), self.catalog.clone()));
        self.clients[n].stage = Stage::Waiting;
        self.step(input(caller));
    }

    fn hear(&mut self, n: usize, asked: Asked, reply: Reply, catalog: &Catalog) {
        let client = &mut self.clients[n];
        match (asked, reply) {
            (Asked::Beat, Reply::ConsumerHeartbeat(Ok(beat))) => client.beat(beat),
            (Asked::Beat, Reply::ConsumerHeartbeat(Err(error))) => {
                let retries =
                    matches!(error, E::UnreleasedInstanceId | E::GroupMaxSizeReached | E::GroupIdNotFound);
                let known = [E::FencedMemberEpoch, E::UnknownMemberId, E::FencedInstanceId].contains(&error);
                assert!(retries || known, "{error:?}");
                client.out();
            }
            (Asked::Join, Reply::Join(Ok(joined))) => {
                client.member_id = joined.member_id;
                client.epoch = joined.generation.0;
                client.stage = Stage::Joined;
                let members = joined.members.into_iter().map(|member| member.member_id).collect();
                self.members_to_assign.insert(client.member_id.clone(), members);
            }
            (Asked::Join, Reply::Join(Err(refused))) => {
                if matches!(refused.error, E::UnknownMemberId | E::FencedInstanceId) {
                    client.member_id = "".into();
                }
                client.out();
            }
            (Asked::Sync, Reply::Sync(Ok(synced))) => {
                let partitions = ConsumerAssignment::decode(&synced.assignment).unwrap().partitions;
                client.using = with_ids(catalog, &partitions);
                client.stage = Stage::In;
            }
            (Asked::Sync | Asked::Pulse, Reply::Sync(Err(error)) | Reply::Heartbeat(error)) => match error {
                E::None => client.stage = Stage::In,
                // An eager consumer lets go of everything before it joins again.
                E::RebalanceInProgress => client.out(),
                _ => {
                    client.member_id = "".into();
                    client.out();
                }
            },
            (Asked::Leave, _) => client.out(),
            (asked, reply) => panic!("{asked:?} was answered by {reply:?}"),
        }
    }

    /// What a live member uses is what the group knows that it holds.
    fn judge(&self) {
        let Some(consumers) = &self.group.consumers else { return };
        for client in &self.clients {
            let Some(member) = consumers.member(&client.member_id) else { continue };
            let held: Assignment = member.holding.all().collect();
            let exists = |at: &TopicIdPartition| self.catalog.name(at.topic).is_some();
            let stray: Vec<_> = client.using.iter().filter(|at| exists(at) && !held.contains(*at)).collect();
            assert!(stray.is_empty(), "{client:?} uses {stray:?}, of {:?}", member.holding);
        }
    }

    fn heartbeat(&mut self, n: usize) {
        let client = &mut self.clients[n];
        // What it was told to give up, it gives up sooner or later.
        if self.calm || self.dice.below(2) == 0 {
            client.using = client.using.intersection(&client.assigned).copied().collect();
        }
        let joins = client.stage == Stage::Out;
        let says_all = joins || client.says_all || self.dice.below(8) == 0;
        let heartbeat = ConsumerHeartbeat {
            member_id: client.member_id.clone(),
            member_epoch: MemberEpoch(if joins { 0 } else { client.epoch }),
            instance_id: client.instance_id.clone(),
            rack_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: says_all.then_some(10_000),
            topic_names: says_all.then(|| client.names.iter().map(|name| (*name).into()).collect()),
            topic_pattern: says_all.then(|| client.pattern.unwrap_or_default().into()),
            assignor: None,
            owned: (says_all || self.calm || self.dice.below(2) == 0).then(|| client.using.clone()),
        };
        self.ask(n, Asked::Beat, |caller| Input::ConsumerHeartbeat { caller, heartbeat });
    }

    fn join(&mut self, n: usize) {
        let client = &mut self.clients[n];
        client.using.clear();
        let topics: Vec<&str> = client.names.iter().copied().collect();
        let join = Join {
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription(&topics) }],
            require_known_member_id: false,
            supports_skip_assignment: true,
            random: self.dice.random(),
        };
        self.ask(n, Asked::Join, |caller| Input::Join { caller, join });
    }

    fn sync(&mut self, n: usize) {
        let client = &self.clients[n];
        let members = self.members_to_assign.remove(&client.member_id).unwrap_or_default();
        let mut shares: BTreeMap<MemberId, NamedPartitions> = BTreeMap::new();
        let all = self.topics.iter().flat_map(|(name, (_, count))| (0..*count).map(|at| (*name, at)));
        for (index, (name, at)) in all.enumerate() {
            if let Some(member) = members.get(index % members.len().max(1)) {
                let share = shares.entry(member.clone()).or_default();
                share.entry(name.into()).or_default().push(PartitionId(at));
            }
        }
        let sync = Sync {
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            generation: Generation(client.epoch),
            protocol_type: None,
            protocol_name: None,
            assignments: shares
                .into_iter()
                .map(|(id, share)| (id, ConsumerAssignment::encode(0, &share)))
                .collect(),
        };
        self.ask(n, Asked::Sync, |caller| Input::Sync { caller, sync });
    }

    fn pulse(&mut self, n: usize) {
        let client = &self.clients[n];
        let heartbeat = Heartbeat {
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            generation: Generation(client.epoch),
        };
        self.ask(n, Asked::Pulse, |caller| Input::Heartbeat { caller, heartbeat });
    }

    /// The next sane thing for a client to do.
    fn behave(&mut self, n: usize) {
        match (self.clients[n].stage, self.clients[n].classic) {
            (Stage::Waiting, _) => {}
            (Stage::Out | Stage::In, false) => self.heartbeat(n),
            (Stage::Out, true) => self.join(n),
            (Stage::Joined, _) => self.sync(n),
            (Stage::In, true) => self.pulse(n),
        }
    }

    fn leave(&mut self, n: usize) {
        let client = &mut self.clients[n];
        if client.stage != Stage::In {
            return;
        }
        client.using.clear();
        if client.classic {
            let leaving = vec![Leaving {
                member_id: client.member_id.clone(),
                instance_id: client.instance_id.clone(),
            }];
            client.member_id = "".into();
            return self.ask(n, Asked::Leave, |caller| Input::Leave { caller, leaving });
        }
        let member_epoch = match client.instance_id {
            Some(_) => MemberEpoch::LEAVE_FOR_A_WHILE,
            None => MemberEpoch::LEAVE,
        };
        let heartbeat = ConsumerHeartbeat { member_epoch, ..client.goodbye() };
        self.ask(n, Asked::Leave, |caller| Input::ConsumerHeartbeat { caller, heartbeat });
    }

    fn change_topics(&mut self) {
        let name = NAMES[self.dice.below(NAMES.len())];
        match (self.topics.get_mut(name), self.dice.below(3)) {
            (Some(_), 0) => _ = self.topics.remove(name),
            (Some((_, count)), _) => *count += 1,
            (None, _) => {
                self.lives += 1;
                self.topics.insert(name, (self.lives, 1 + self.dice.below(4) as i32));
            }
        }
        let topic = |(name, (life, count)): (&&str, &(u8, i32))| {
            (TopicName::new(name).unwrap(), CatalogTopic { id: TopicId([*life; 16]), partitions: *count })
        };
        self.catalog = Arc::new(Catalog::new(self.topics.iter().map(topic)));
        self.step(Input::Topics { catalog: self.catalog.clone() });
    }

    fn confirm(&mut self, all: bool) {
        let count = if all { self.under_way.len() } else { self.dice.below(self.under_way.len() + 1) };
        let mut newest = None;
        for (id, records) in self.under_way.drain(..count) {
            self.durable.extend(records);
            newest = Some(id);
        }
        if let Some(id) = newest {
            self.step(Input::Persisted { id });
        }
    }

    /// The broker dies; what was appended last is on disk or not, or in part.
    fn crash(&mut self) {
        let records: Vec<_> = self.under_way.drain(..).flat_map(|(_, records)| records).collect();
        let kept = self.dice.below(records.len() + 1);
        self.durable.extend(records.into_iter().take(kept));
        let mut recovery = Recovery::new();
        for record in &self.durable {
            let (key, value) = record.encode();
            recovery.apply(GroupRecord::decode(&key, value.as_deref()).unwrap());
        }
        let config = self.group.config.clone();
        let mut groups = recovery.into_groups(self.now, &config);
        self.group = groups.pop().unwrap_or_else(|| Group::new("g".into(), config));
        self.group.check();
        self.open.clear();
        for client in self.clients.iter_mut().filter(|client| client.stage == Stage::Waiting) {
            client.stage = if client.classic || client.epoch == 0 { Stage::Out } else { Stage::In };
            client.says_all = true;
            if client.classic {
                client.using.clear();
            }
        }
        self.step(Input::Topics { catalog: self.catalog.clone() });
    }

    fn pass(&mut self, ms: u64) {
        let until = Millis(self.now.0 + ms);
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.step(Input::Tick);
        }
        self.now = until;
    }

    fn turn(&mut self) {
        let n = self.dice.below(self.clients.len());
        match self.dice.below(40) {
            0..24 => self.behave(n),
            24..31 => self.confirm(false),
            31 => self.change_topics(),
            32 => self.leave(n),
            33 => {
                let classics = 1 + self.dice.below(2);
                let again = Client::new(n, classics, &mut self.dice);
                self.clients[n] = again;
            }
            34 if self.clients[n].stage != Stage::Waiting => {
                let names = some_names(&mut self.dice);
                self.clients[n].names = names;
                self.clients[n].says_all = true;
                if self.clients[n].classic {
                    self.clients[n].out();
                }
            }
            35 => self.crash(),
            _ => {
                let ms = [50, 2_000, 8_000, 50_000][self.dice.below(4)];
                self.pass(ms);
            }
        }
        if self.group.state() == State::Dead && self.group.is_disposable() {
            panic!("nobody deletes it");
        }
    }

    /// Nothing goes wrong any more: the group settles.
    fn end(&mut self) {
        self.calm = true;
        for round in 0..200 {
            self.confirm(true);
            for n in 0..self.clients.len() {
                self.behave(n);
            }
            self.confirm(true);
            self.pass(1_000);
            // Members of earlier lives have gone by then.
            if round > 60 && self.is_settled() {
                return;
            }
        }
        panic!("not settled: {:?} {:?} {:#?}", self.group.state(), self.clients, self.group.consumers);
    }

    fn is_settled(&self) -> bool {
        let is_in = |client: &Client| client.stage == Stage::In;
        let room = self.clients.iter().filter(|client| is_in(client)).count();
        let full = room == self.clients.len().min(self.group.config.members_max);
        if !full || self.group.state() != State::Stable {
            return false;
        }
        let Some(consumers) = &self.group.consumers else { return true };
        let members = self.clients.iter().filter(|client| is_in(client));
        let mut used = Assignment::new();
        for client in members {
            let member = consumers.member(&client.member_id).expect("it is in");
            assert!(member.holding.assigned.keys().eq(&client.using), "it uses what it has");
            for at in &client.using {
                let name = self.catalog.name(at.topic).expect("it exists").as_str();
                assert!(client.is_subscribed(name), "{client:?} is subscribed");
                assert!(used.insert(*at), "one member each");
            }
        }
        for (name, topic) in self.catalog.topics() {
            let wanted =
                self.clients.iter().any(|client| is_in(client) && client.is_subscribed(name.as_str()));
            let count = used.iter().filter(|at| at.topic == topic.id).count() as i32;
            assert_eq!(count, if wanted { topic.partitions } else { 0 }, "every partition is used");
        }
        let counts = consumers.members().values().map(|member| member.holding.assigned.len());
        let alike = self.clients.windows(2).all(|two| two[0].topics() == two[1].topics());
        if alike && consumers.assignor() == Assignor::Uniform {
            let (least, most) = (counts.clone().min(), counts.max());
            assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1), "even");
        }
        true
    }
}

impl Client {
    /// `classics`: 0 for none, 1 for some, 2 for half of the clients.
    fn new(n: usize, classics: usize, dice: &mut Dice) -> Self {
        let classic = classics > 0 && dice.below(4) < classics;
        let life = dice.next();
        Self {
            n,
            life,
            classic,
            instance_id: (n == 0).then(|| "i0".into()),
            member_id: if classic { "".into() } else { format!("m{n}-{life:x}").as_str().into() },
            names: some_names(dice),
            pattern: (!classic && dice.below(4) == 0).then(|| PATTERNS[dice.below(3)]),
            epoch: 0,
            stage: Stage::Out,
            assigned: Assignment::new(),
            using: Assignment::new(),
            says_all: true,
        }
    }

    fn out(&mut self) {
        self.stage = Stage::Out;
        self.using.clear();
        self.assigned.clear();
    }

    fn beat(&mut self, beat: ConsumerBeat) {
        self.stage = Stage::In;
        self.epoch = beat.member_epoch.0;
        self.says_all = false;
        if let Some(assignment) = beat.assignment {
            self.using.extend(&assignment);
            self.assigned = assignment;
        }
    }

    fn goodbye(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            member_id: self.member_id.clone(),
            member_epoch: MemberEpoch::LEAVE,
            instance_id: self.instance_id.clone(),
            rack_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: None,
            topic_names: None,
            topic_pattern: None,
            assignor: None,
            owned: None,
        }
    }

    fn is_subscribed(&self, name: &str) -> bool {
        let by_pattern = match self.pattern {
            Some("a.*") => name.starts_with('a'),
            Some("c|x") => name == "c",
            _ => false,
        };
        by_pattern || self.names.contains(name)
    }

    fn topics(&self) -> Vec<&'static str> {
        NAMES.into_iter().filter(|name| self.is_subscribed(name)).collect()
    }
}

fn some_names(dice: &mut Dice) -> BTreeSet<&'static str> {
    if dice.below(2) == 0 { NAMES.into() } else { NAMES.into_iter().filter(|_| dice.below(2) == 0).collect() }
}

fn subscription(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 0];
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.into()
}

fn with_ids(catalog: &Catalog, partitions: &NamedPartitions) -> Assignment {
    let of_topic = |(name, partitions): (&Arc<str>, &Vec<PartitionId>)| {
        let topic = catalog.topic(name).map(|topic| topic.id);
        let at =
            move |partition: &PartitionId| Some(TopicIdPartition { topic: topic?, partition: *partition });
        partitions.iter().filter_map(at).collect::<Vec<_>>()
    };
    partitions.iter().flat_map(of_topic).collect()
}

fn history(seed: u64) {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.turn());
    world.end();
}

#[test]
fn random_histories_hold_what_consumers_rely_on() {
    if let Some(seed) = std::env::var("KEYWAY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return history(seed);
    }
    for seed in 0..SEEDS {
        if std::panic::catch_unwind(|| history(seed)).is_err() {
            panic!("repeat with: KEYWAY_SEED={seed} cargo test -p keyway-groups consumer_histories");
        }
    }
}
