//! Random histories: clients that are mostly sane, a log that is slow, crashes, and a referee who keeps the books.
//!
//! The referee sees only inputs, replies and records. It asserts what clients rely on: every caller is answered once;
//! a generation has one protocol and one leader, who knows everyone in it; an assignment is the one that the leader of
//! the generation handed in, and durable; nothing that was shown is taken back by a crash; whoever is silent is
//! expelled; and when all clients fall silent, nobody keeps waiting.

use super::*;
use crate::{
    dice::Dice,
    ids::{CallerId, PersistId},
    message::{Commit, Heartbeat, Join, Joined, Leaving, Protocol, Refused, Reply, Sync, Synced},
    offsets::Committed,
    recovery::Recovery,
    stored::GroupRecord,
};
use ErrorCode as E;
use keyway_record::{LeaderEpoch, Offset, PartitionId, TopicName};
use std::collections::VecDeque;

const SEEDS: u64 = 10_000;
const STEPS: usize = 150;
const SESSION_MS: [i32; 2] = [6_000, 20_000];
const REBALANCE_MS: [i32; 3] = [0, 5_000, 60_000];

/// One client: what it believes.
#[derive(Clone, Debug)]
struct Client {
    n: usize,
    /// A client that is started again is another one to what its earlier life still waits for.
    life: u64,
    instance_id: Option<InstanceId>,
    member_id: MemberId,
    generation: i32,
    /// What the leader was told of, if this client was made the leader.
    members: Vec<MemberId>,
    stage: Stage,
    protocols: Vec<&'static str>,
    metadata: u8,
    modern: bool,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Out,
    Joined,
    Synced,
    Waiting,
}

/// Who asked what.
#[derive(Clone, Debug)]
enum Ask {
    Join { client: Client },
    Sync { client: Client, generation: i32 },
    Heartbeat { client: Client, expected: E },
    Leave { count: usize },
    Commit { offset: i64, expected: E },
    Delete,
}

/// What the referee knows of a generation.
#[derive(Clone, Debug, Default)]
struct Agreed {
    protocol: Option<Arc<str>>,
    leader: Option<MemberId>,
    /// Everyone, as the leader was told.
    members: Vec<MemberId>,
    joined: Vec<MemberId>,
    assigned: BTreeMap<MemberId, Bytes>,
}

struct World {
    dice: Dice,
    now: Millis,
    group: Group,
    clients: Vec<Client>,
    callers: u64,
    open: BTreeMap<CallerId, Ask>,
    /// Appended but not confirmed, the oldest first.
    under_way: VecDeque<(PersistId, Vec<GroupRecord>)>,
    durable: Vec<GroupRecord>,
    generation: i32,
    agreed: BTreeMap<i32, Agreed>,
    /// The id that a static member had before.
    replaced: BTreeMap<MemberId, MemberId>,
    /// When anything was last heard of, or said to, a member.
    contact: BTreeMap<MemberId, (Millis, i32)>,
    /// Until when a member's last heartbeat keeps it in a stable group.
    safe_until: BTreeMap<MemberId, Millis>,
    offsets_asked: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let config = GroupConfig {
            initial_rebalance_delay_ms: [0, 300, 3_000][dice.below(3)],
            members_max: 3 + dice.below(4),
            ..GroupConfig::default()
        };
        let clients = (0..2 + dice.below(4)).map(|n| Client::new(n, &mut dice)).collect();
        Self {
            dice,
            now: Millis(1),
            group: Group::new("g".into(), config),
            clients,
            callers: 0,
            open: BTreeMap::new(),
            under_way: VecDeque::new(),
            durable: Vec::new(),
            generation: 0,
            agreed: BTreeMap::new(),
            replaced: BTreeMap::new(),
            contact: BTreeMap::new(),
            safe_until: BTreeMap::new(),
            offsets_asked: 0,
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        let was_empty = self.group.state() == State::Empty;
        self.group.step(self.now, input, &mut out);
        self.group.check();
        // The last member's departure counts as a generation.
        self.generation += i32::from(!was_empty && self.group.state() == State::Empty);
        for output in out {
            match output {
                Output::Persist { id, records } => self.under_way.push_back((id, records)),
                Output::Reply { caller, reply } => {
                    let ask = self.open.remove(&caller).expect("a caller that waits is answered, and once");
                    self.judge(ask, reply);
                }
            }
        }
        self.judge_state();
    }

    fn ask(&mut self, ask: Ask, input: impl FnOnce(CallerId) -> Input) {
        self.callers += 1;
        let caller = CallerId(self.callers);
        self.open.insert(caller, ask);
        self.step(input(caller));
    }

    fn judge(&mut self, ask: Ask, reply: Reply) {
        match (ask, reply) {
            (Ask::Join { client }, Reply::Join(Ok(joined))) => self.judge_joined(&client, joined),
            (Ask::Join { client }, Reply::Join(Err(refused))) => self.living(&client, |c| c.refused(refused)),
            (Ask::Sync { client, generation }, Reply::Sync(Ok(synced))) => {
                self.judge_synced(&client, generation, synced);
            }
            (Ask::Sync { client, .. }, Reply::Sync(Err(error))) => {
                self.hear(&client, &client.member_id);
                self.living(&client, |c| c.told(&client.member_id, error));
            }
            (Ask::Heartbeat { client, expected }, Reply::Heartbeat(error)) => {
                assert_eq!(error, expected);
                self.living(&client, |c| c.told(&client.member_id, error));
            }
            (Ask::Leave { count }, Reply::Leave(Ok(left))) => assert_eq!(left.len(), count),
            (Ask::Leave { .. }, Reply::Leave(Err(error))) => assert_eq!(error, E::CoordinatorNotAvailable),
            (Ask::Commit { offset, expected }, Reply::Commit(answers)) => {
                assert_eq!(answers[0].2, expected);
                let is_it = |record: &GroupRecord| matches!(record, GroupRecord::Offset { committed, .. } if committed.offset.0 == offset);
                assert!(expected != E::None || self.durable.iter().any(is_it), "an acked commit is durable");
            }
            (Ask::Delete, Reply::Delete(_)) => {}
            (ask, reply) => panic!("{ask:?} was answered by {reply:?}"),
        }
    }

    /// Tells the client, if this life of it goes on.
    fn living(&mut self, client: &Client, tell: impl FnOnce(&mut Client)) {
        let now = &mut self.clients[client.n];
        if now.life == client.life {
            tell(now);
        }
    }

    fn hear(&mut self, client: &Client, id: &MemberId) {
        self.contact.insert(id.clone(), (self.now, client.session_timeout_ms));
    }

    fn judge_joined(&mut self, client: &Client, joined: Joined) {
        let (generation, id) = (joined.generation.0, joined.member_id.clone());
        self.generation = self.generation.max(generation);
        let agreed = self.agreed.entry(generation).or_default();
        let protocol = agreed.protocol.get_or_insert(joined.protocol_name.clone());
        assert_eq!(*protocol, joined.protocol_name, "a generation has one protocol");
        assert!(client.protocols.contains(&&**protocol), "the client supports it");
        let leads = joined.leader == id;
        assert_eq!(leads, !joined.members.is_empty(), "the leader, and nobody else, is told of the members");
        assert!(leads || !joined.skip_assignment);
        let leader = joined.leader.clone();
        if agreed.leader.is_none() {
            agreed.leader = Some(leader);
        }
        if leads && agreed.members.is_empty() {
            agreed.members = joined.members.iter().map(|member| member.member_id.clone()).collect();
        }
        agreed.joined.push(id.clone());
        self.hear(client, &id);
        self.living(client, |client| {
            client.member_id = id;
            client.generation = generation;
            client.stage = Stage::Joined;
            client.members = joined.members.into_iter().map(|member| member.member_id).collect();
        });
    }

    fn judge_synced(&mut self, client: &Client, generation: i32, synced: Synced) {
        let member_id = client.member_id.clone();
        let assigned = &self.agreed[&generation].assigned;
        let expected = self.lives(&member_id).find_map(|id| assigned.get(id)).cloned().unwrap_or_default();
        assert_eq!(synced.assignment, expected, "{member_id} has what the leader decided");
        let stored = self.durable.iter().any(|record| match record {
            GroupRecord::Group { stored, .. } => {
                let has =
                    |m: &crate::stored::StoredMember| m.member_id == member_id && m.assignment == expected;
                stored.generation.0 == generation && stored.members.iter().any(has)
            }
            _ => false,
        });
        assert!(stored, "an assignment that is handed out is durable");
        self.hear(client, &member_id);
        self.living(client, |client| {
            if client.member_id == member_id && client.generation == generation {
                client.stage = Stage::Synced;
            }
        });
    }

    /// The member's ids, the newest first: a static member has one for each of its lives.
    fn lives<'a>(&'a self, id: &'a MemberId) -> impl Iterator<Item = &'a MemberId> {
        std::iter::successors(Some(id), |id| self.replaced.get(*id))
    }

    fn judge_state(&self) {
        for agreed in self.agreed.values().filter(|agreed| !agreed.members.is_empty()) {
            let known = |id: &MemberId| self.lives(id).any(|id| agreed.members.contains(id));
            assert!(agreed.leader.as_ref().is_some_and(known), "the leader is one of the members");
            assert!(agreed.joined.iter().all(known), "the leader knows everyone");
            let came = |id: &MemberId| agreed.joined.contains(id) || id.as_str().starts_with('i');
            assert!(agreed.members.iter().all(came), "only static members may be late");
        }
        let shown: Vec<_> = self.group.offsets().iter().map(|(_, p, c)| (p.0, c.offset.0)).collect();
        assert_eq!(shown, offsets_of(&self.durable), "what is shown is exactly what is durable");
        let timer = self.group.next_deadline().is_some();
        let waits = |ask: &Ask| matches!(ask, Ask::Join { .. } | Ask::Sync { .. });
        assert!(
            timer || !self.under_way.is_empty() || !self.open.values().any(waits),
            "who waits has a timer"
        );
    }

    /// Everything that was appended up to a random request, or all, becomes durable.
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

    /// The broker dies; what was appended last is on disk or not.
    fn crash(&mut self) {
        let kept = self.dice.below(self.under_way.len() + 1);
        self.under_way.truncate(kept);
        self.durable.extend(std::mem::take(&mut self.under_way).into_iter().flat_map(|(_, records)| records));
        let mut recovery = Recovery::new();
        self.durable.iter().for_each(|record| recovery.apply(record.clone()));
        let config = self.group.config.clone();
        let mut groups = recovery.into_groups(self.now, &config);
        self.group = groups.pop().unwrap_or_else(|| Group::new("g".into(), config));
        self.group.check();
        self.open.clear();
        self.contact.clear();
        self.safe_until.clear();
        self.clients.iter_mut().filter(|c| c.stage == Stage::Waiting).for_each(|c| c.stage = Stage::Out);
        self.agreed.clear();
        self.replaced.clear();
        self.adopt();
    }

    /// After a crash the books say what the log says, and the group must be that.
    fn adopt(&mut self) {
        let mut stored = StoredGroup::default();
        for record in &self.durable {
            match record {
                GroupRecord::Group { stored: newer, .. } => stored = newer.clone(),
                GroupRecord::GroupTombstone { .. } => stored = StoredGroup::default(),
                _ => {}
            }
        }
        self.generation = stored.generation.0;
        let assigned = stored.members.iter().map(|m| (m.member_id.clone(), m.assignment.clone()));
        let assigned: BTreeMap<_, _> = assigned.collect();
        let found = self.group.describe().members;
        assert_eq!(assigned, found.into_iter().map(|m| (m.member_id, m.assignment)).collect());
        if !assigned.is_empty() {
            let members = assigned.keys().cloned().collect();
            let (protocol, leader) = (Some(stored.protocol), stored.leader);
            let joined = assigned.keys().cloned().collect();
            let agreed = Agreed { protocol, leader, members, joined, assigned };
            self.agreed.insert(self.generation, agreed);
        }
    }

    /// Time passes; deadlines are met one by one, or late and all at once.
    fn pass(&mut self) {
        let longest = [50, 2_000, 10_000, 70_000][self.dice.below(4)];
        let until = Millis(self.now.0 + self.dice.below(longest) as u64);
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = if self.dice.below(4) == 0 { until } else { self.now.max(deadline) };
            self.tick();
        }
        self.now = until;
    }

    fn tick(&mut self) {
        let all_settled = matches!(self.group.phase, Phase::Stable { sync_deadline: None });
        let before: Vec<MemberId> = self.group.members.keys().cloned().collect();
        self.step(Input::Tick);
        for id in before.iter().filter(|id| all_settled && !self.group.members.contains_key(*id)) {
            let safe = self.safe_until.get(id).is_some_and(|until| *until > self.now);
            assert!(!safe, "{id} was heard of and is expelled");
        }
        self.judge_silence();
    }

    /// After a tick nobody is left who was silent for a session and waits for nothing.
    fn judge_silence(&self) {
        for member in self.group.describe().members {
            let waits = |ask: &Ask| match ask {
                Ask::Join { client, .. } => {
                    member.member_id.as_str()[1..].starts_with(&format!("{}-", client.n))
                }
                Ask::Sync { client, .. } => client.member_id == member.member_id,
                _ => false,
            };
            let Some((since, session_ms)) = self.contact.get(&member.member_id) else { continue };
            let silent = since.0 + (*session_ms as u64) <= self.now.0;
            assert!(
                !silent || self.open.values().any(waits),
                "{} is silent since {since:?}",
                member.member_id
            );
        }
    }

    fn join(&mut self, client: usize) {
        let random = self.dice.random();
        let c = &mut self.clients[client];
        c.stage = Stage::Waiting;
        let metadata = |name: &str| Bytes::from(format!("{name}{}", c.metadata));
        let join = Join {
            member_id: c.member_id.clone(),
            instance_id: c.instance_id.clone(),
            client_id: format!("c{}", c.n).into(),
            client_host: "/h".into(),
            session_timeout_ms: c.session_timeout_ms,
            rebalance_timeout_ms: c.rebalance_timeout_ms,
            protocol_type: "consumer".into(),
            protocols: c
                .protocols
                .iter()
                .map(|p| Protocol { name: (*p).into(), metadata: metadata(p) })
                .collect(),
            require_known_member_id: c.modern,
            supports_skip_assignment: c.modern,
            random,
        };
        let client = c.clone();
        self.hear(&client, &join.member_id);
        let instance_id = join.instance_id.clone();
        let before =
            instance_id.as_ref().and_then(|instance_id| self.group.statics.get(instance_id).cloned());
        self.ask(Ask::Join { client }, |caller| Input::Join { caller, join });
        let after = instance_id.as_ref().and_then(|instance_id| self.group.statics.get(instance_id).cloned());
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            self.replaced.insert(after, before);
        }
    }

    fn sync(&mut self, client: usize, stray: bool) {
        let c = self.clients[client].clone();
        let generation = if stray { c.generation - 1 } else { c.generation };
        let mut assignments = Vec::new();
        for id in &c.members {
            let part = Bytes::from(format!("{generation}:{id}:{}", self.dice.below(100)));
            if self.dice.below(8) > 0 {
                assignments.push((id.clone(), part));
            }
        }
        let completing = self.group.state() == State::CompletingRebalance;
        let leads = self.group.leader.as_ref() == Some(&c.member_id);
        if completing && leads && generation == self.generation {
            let agreed = self.agreed.get_mut(&generation).expect("the leader was told");
            agreed.assigned = assignments.iter().cloned().collect();
        }
        let sync = Sync {
            member_id: c.member_id.clone(),
            instance_id: c.instance_id.clone(),
            generation: Generation(generation),
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        if !stray {
            self.clients[client].stage = Stage::Waiting;
        }
        self.ask(Ask::Sync { client: c, generation }, |caller| Input::Sync { caller, sync });
    }

    /// What a member is told, by the plain rules.
    fn expected(&self, c: &Client, generation: i32) -> E {
        let current = c.instance_id.as_ref().map(|instance_id| self.group.statics.get(instance_id));
        match (self.group.state(), current) {
            (State::Dead, _) => E::CoordinatorNotAvailable,
            (_, Some(None)) => E::UnknownMemberId,
            (_, Some(Some(current))) if *current != c.member_id => E::FencedInstanceId,
            _ if !self.group.describe().members.iter().any(|m| m.member_id == c.member_id) => {
                E::UnknownMemberId
            }
            _ if generation != self.generation => E::IllegalGeneration,
            _ => E::None,
        }
    }

    fn heartbeat(&mut self, client: usize) {
        let stray = self.dice.below(8) == 0;
        let c = self.clients[client].clone();
        let generation = if stray { c.generation + 1 } else { c.generation };
        let preparing = self.group.state() == State::PreparingRebalance;
        let expected = match self.expected(&c, generation) {
            E::None if preparing => E::RebalanceInProgress,
            expected => expected,
        };
        if matches!(expected, E::None | E::RebalanceInProgress) {
            self.hear(&c, &c.member_id);
            self.safe_until.insert(c.member_id.clone(), crate::ids::after(self.now, c.session_timeout_ms));
        }
        let (member_id, instance_id) = (c.member_id.clone(), c.instance_id.clone());
        let heartbeat = Heartbeat { member_id, instance_id, generation: Generation(generation) };
        self.ask(Ask::Heartbeat { client: c, expected }, |caller| Input::Heartbeat { caller, heartbeat });
    }

    fn commit(&mut self, client: Option<usize>) {
        self.offsets_asked += 1;
        let offset = self.offsets_asked;
        let committed = Committed {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            metadata: "".into(),
            committed_at: Timestamp(self.now.0 as i64),
        };
        let offsets = vec![(orders(), PartitionId(self.dice.below(3) as i32), committed)];
        let state = self.group.state();
        let (member_id, instance_id, generation, expected) = match client.map(|client| &self.clients[client])
        {
            None => {
                let expected = match state {
                    State::Dead => E::CoordinatorNotAvailable,
                    State::Empty => E::None,
                    _ => E::UnknownMemberId,
                };
                ("".into(), None, -1, expected)
            }
            Some(c) => {
                let expected = match self.expected(c, c.generation) {
                    E::None if state == State::CompletingRebalance => E::RebalanceInProgress,
                    E::UnknownMemberId | E::FencedInstanceId
                        if state == State::Empty && self.group.is_disposable() =>
                    {
                        E::IllegalGeneration
                    }
                    expected => expected,
                };
                (c.member_id.clone(), c.instance_id.clone(), c.generation, expected)
            }
        };
        let commit = Commit {
            member_id,
            instance_id,
            generation: Generation(generation),
            knows_member_epochs: false,
            offsets,
        };
        if expected == E::None
            && let Some(c) = client.map(|client| &self.clients[client])
        {
            self.contact.insert(c.member_id.clone(), (self.now, c.session_timeout_ms));
        }
        self.ask(Ask::Commit { offset, expected }, |caller| Input::Commit { caller, commit });
    }

    fn leave(&mut self) {
        let mut leaving = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let client = self.dice.below(self.clients.len());
            let c = &mut self.clients[client];
            let by_instance = c.instance_id.is_some() && self.dice.below(2) == 0;
            let member_id = if by_instance { "".into() } else { c.member_id.clone() };
            leaving.push(Leaving { member_id, instance_id: c.instance_id.clone() });
        }
        self.ask(Ask::Leave { count: leaving.len() }, |caller| Input::Leave { caller, leaving });
    }

    /// The next sane thing for a client to do.
    fn behave(&mut self, client: usize) {
        match self.clients[client].stage {
            Stage::Out => self.join(client),
            Stage::Joined => self.sync(client, false),
            Stage::Synced if self.dice.below(4) == 0 => self.commit(Some(client)),
            Stage::Synced => self.heartbeat(client),
            Stage::Waiting => {}
        }
    }

    fn turn(&mut self) {
        let client = self.dice.below(self.clients.len());
        match self.dice.below(40) {
            0..20 => self.behave(client),
            20..26 => self.pass(),
            26..31 => self.confirm(false),
            31 => self.heartbeat(client),
            32 => self.join(client),
            33 if self.clients[client].stage != Stage::Waiting => self.sync(client, true),
            34 => self.commit(None),
            35 => self.leave(),
            36 => {
                let c = Client::new(client, &mut self.dice);
                self.clients[client] = c;
            }
            37 => self.clients[client].metadata ^= 1,
            38 => self.crash(),
            39 => match self.dice.below(6) {
                0 => self.ask(Ask::Delete, |caller| Input::Delete { caller }),
                1 => self.step(Input::TopicDeleted { topic: orders() }),
                _ => {
                    let wall =
                        Timestamp(self.dice.below(3) as i64 * GroupConfig::default().offsets_retention_ms);
                    self.step(Input::ExpireOffsets { wall });
                }
            },
            _ => {}
        }
        if self.group.state() == State::Dead && self.group.is_disposable() {
            self.group = Group::new("g".into(), self.group.config.clone());
            self.under_way.drain(..).for_each(|(_, records)| self.durable.extend(records));
            self.agreed.clear();
            self.generation = 0;
        }
    }

    /// All clients fall silent; time alone brings everything to an end.
    fn end(&mut self) {
        self.confirm(true);
        for _ in 0..1_000 {
            let Some(deadline) = self.group.next_deadline() else { break };
            self.now = self.now.max(deadline);
            self.tick();
            self.confirm(true);
        }
        assert!(self.open.is_empty(), "{:?} wait for ever", self.open);
        assert!(matches!(self.group.state(), State::Empty | State::Dead));
    }
}

impl Client {
    fn new(n: usize, dice: &mut Dice) -> Self {
        let is_static = dice.below(3) == 0;
        let protocols = [&["range"][..], &["range", "sticky"], &["sticky", "range"], &["sticky"]];
        Self {
            n,
            life: dice.next(),
            instance_id: is_static.then(|| format!("i{n}").as_str().into()),
            member_id: "".into(),
            generation: 0,
            members: Vec::new(),
            stage: Stage::Out,
            protocols: protocols[[0, 1, 1, 2, 2, 3][dice.below(6)]].to_vec(),
            metadata: 0,
            modern: dice.below(2) == 0,
            session_timeout_ms: SESSION_MS[dice.below(2)],
            rebalance_timeout_ms: REBALANCE_MS[dice.below(3)],
        }
    }

    fn refused(&mut self, refused: Refused) {
        match refused.error {
            E::MemberIdRequired => self.member_id = refused.member_id,
            E::UnknownMemberId | E::FencedInstanceId => self.member_id = "".into(),
            _ => {}
        }
        self.stage = Stage::Out;
    }

    fn told(&mut self, member_id: &MemberId, error: E) {
        if self.member_id != *member_id || error == E::None {
            return;
        }
        if matches!(error, E::UnknownMemberId | E::FencedInstanceId) {
            self.member_id = "".into();
        }
        self.stage = Stage::Out;
    }
}

fn orders() -> TopicName {
    TopicName::new("orders").unwrap()
}

/// The offsets that these records leave, by partition.
fn offsets_of(records: &[GroupRecord]) -> Vec<(i32, i64)> {
    let mut offsets = BTreeMap::new();
    for record in records {
        match record {
            GroupRecord::Offset { partition, committed, .. } => {
                offsets.insert(partition.0, committed.offset.0);
            }
            GroupRecord::OffsetTombstone { partition, .. } => {
                offsets.remove(&partition.0);
            }
            _ => {}
        }
    }
    offsets.into_iter().collect()
}

fn history(seed: u64) {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.turn());
    world.end();
}

#[test]
fn random_histories_hold_what_clients_rely_on() {
    if let Some(seed) = std::env::var("KEYWAY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return history(seed);
    }
    for seed in 0..SEEDS {
        if std::panic::catch_unwind(|| history(seed)).is_err() {
            panic!("repeat with: KEYWAY_SEED={seed} cargo test -p keyway-groups histories");
        }
    }
}
