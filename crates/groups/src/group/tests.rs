//! The protocol's rules, one by one.

use super::*;
use crate::{
    ids::{CallerId, PersistId},
    message::{Commit, Heartbeat, Join, Joined, Leaving, Protocol, Refused, Reply, Sync, Synced},
    offsets::Committed,
    recovery::Recovery,
    stored::GroupRecord,
};
use ErrorCode as E;
use keyway_record::{LeaderEpoch, Offset, PartitionId, TopicName};

const DELAY_MS: u64 = 300;
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

/// A group, a clock, a log, and callers that are numbered as they come.
struct Bench {
    group: Group,
    now: Millis,
    callers: u64,
    replies: BTreeMap<CallerId, Reply>,
    asked: Option<PersistId>,
    log: Vec<GroupRecord>,
}

impl Bench {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let group = Group::new("g".into(), config);
        Self { group, now: Millis(1_000), callers: 0, replies: BTreeMap::new(), asked: None, log: Vec::new() }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.group.step(self.now, input, &mut out);
        self.group.check();
        for output in out {
            match output {
                Output::Reply { caller, reply } => {
                    assert_eq!(self.replies.insert(caller, reply), None, "{caller:?} is answered once");
                }
                Output::Persist { id, records } => {
                    self.asked = Some(id);
                    self.log.extend(records);
                }
            }
        }
    }

    fn ask(&mut self, input: impl FnOnce(CallerId) -> Input) -> CallerId {
        self.callers += 1;
        let caller = CallerId(self.callers);
        self.step(input(caller));
        caller
    }

    fn persisted(&mut self) {
        let id = self.asked.expect("something was persisted");
        self.step(Input::Persisted { id });
    }

    /// Lets time pass, with a tick at each deadline.
    fn pass(&mut self, ms: u64) {
        let until = Millis(self.now.0 + ms);
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.step(Input::Tick);
        }
        self.now = until;
    }

    fn restart(&mut self) {
        let mut recovery = Recovery::new();
        for record in &self.log {
            let (key, value) = record.encode();
            recovery.apply(GroupRecord::decode(&key, value.as_deref()).unwrap());
        }
        self.group = recovery.into_groups(self.now, &self.group.config).pop().expect("the group was stored");
        self.group.check();
    }

    fn join(&mut self, join: Join) -> CallerId {
        self.ask(|caller| Input::Join { caller, join })
    }

    fn sync(
        &mut self,
        id: &MemberId,
        generation: i32,
        assignments: &[(&MemberId, &'static str)],
    ) -> CallerId {
        let assignments = assignments.iter().map(|(id, what)| ((*id).clone(), Bytes::from(*what))).collect();
        let sync = Sync {
            member_id: id.clone(),
            instance_id: None,
            generation: Generation(generation),
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        self.ask(|caller| Input::Sync { caller, sync })
    }

    fn heartbeat(&mut self, id: &MemberId, generation: i32) -> E {
        let heartbeat =
            Heartbeat { member_id: id.clone(), instance_id: None, generation: Generation(generation) };
        let caller = self.ask(|caller| Input::Heartbeat { caller, heartbeat });
        match self.replies.remove(&caller) {
            Some(Reply::Heartbeat(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, leaving: &[(&str, Option<&str>)]) -> Vec<E> {
        let leaving = leaving.iter().map(|(id, instance)| Leaving {
            member_id: MemberId::from(*id),
            instance_id: instance.map(InstanceId::from),
        });
        let leaving = leaving.collect();
        let caller = self.ask(|caller| Input::Leave { caller, leaving });
        match self.replies.remove(&caller) {
            Some(Reply::Leave(Ok(left))) => left.into_iter().map(|(_, error)| error).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, id: &str, generation: i32, offset: i64, metadata: &str) -> CallerId {
        let committed = Committed {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            metadata: metadata.into(),
            committed_at: Timestamp(self.now.0 as i64),
        };
        let commit = Commit {
            member_id: id.into(),
            instance_id: None,
            generation: Generation(generation),
            knows_member_epochs: false,
            offsets: vec![(orders(), PartitionId(0), committed)],
        };
        self.ask(|caller| Input::Commit { caller, commit })
    }

    fn commit_error(&mut self, caller: CallerId) -> Option<E> {
        self.replies.remove(&caller).map(|reply| match reply {
            Reply::Commit(answers) => answers[0].2,
            other => panic!("{other:?}"),
        })
    }

    fn offset(&self) -> Option<i64> {
        self.group.offsets().get(&orders(), PartitionId(0)).map(|committed| committed.offset.0)
    }

    fn joined(&mut self, caller: CallerId) -> Joined {
        match self.replies.remove(&caller) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, caller: CallerId) -> Refused {
        match self.replies.remove(&caller) {
            Some(Reply::Join(Err(refused))) => refused,
            other => panic!("{other:?}"),
        }
    }

    fn synced(&mut self, caller: CallerId) -> Result<Synced, E> {
        match self.replies.remove(&caller) {
            Some(Reply::Sync(synced)) => synced,
            other => panic!("{other:?}"),
        }
    }

    fn waits(&self, caller: CallerId) -> bool {
        !self.replies.contains_key(&caller)
    }

    /// A stable group of `count` members whose first one leads, and its generation.
    fn stable(count: u8) -> (Self, Vec<MemberId>, i32) {
        let mut bench = Self::new();
        let callers: Vec<_> = (0..count).map(|n| bench.join(newcomer(n))).collect();
        bench.pass(2 * DELAY_MS);
        let joined: Vec<Joined> = callers.into_iter().map(|caller| bench.joined(caller)).collect();
        let ids: Vec<MemberId> = joined.iter().map(|joined| joined.member_id.clone()).collect();
        assert_eq!(joined[0].leader, ids[0]);
        let generation = joined[0].generation.0;
        let assignments: Vec<_> = ids.iter().map(|id| (id, "part")).collect();
        let syncs: Vec<_> = ids.iter().rev().map(|id| bench.sync(id, generation, &assignments)).collect();
        bench.persisted();
        syncs.into_iter().for_each(|caller| assert_eq!(bench.synced(caller).unwrap().assignment, "part"));
        assert_eq!(bench.group.state(), State::Stable);
        (bench, ids, generation)
    }
}

fn orders() -> TopicName {
    TopicName::new("orders").unwrap()
}

/// Someone new, of a version before member ids were required.
fn newcomer(n: u8) -> Join {
    Join {
        member_id: "".into(),
        instance_id: None,
        client_id: format!("c{n}").into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "m"), protocol("sticky", "m")],
        require_known_member_id: false,
        supports_skip_assignment: false,
        random: [n; 16],
    }
}

fn again(n: u8, id: &MemberId) -> Join {
    Join { member_id: id.clone(), ..newcomer(n) }
}

fn static_newcomer(n: u8, life: u8) -> Join {
    Join { instance_id: Some(format!("i{n}").as_str().into()), random: [n * 16 + life; 16], ..newcomer(n) }
}

fn protocol(name: &str, metadata: &'static str) -> Protocol {
    Protocol { name: name.into(), metadata: metadata.into() }
}

mod consumers;
mod joining;
mod offsets;
mod static_members;
mod timers;
mod transactional;
