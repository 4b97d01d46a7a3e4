//! One member of a group, and what the members agree on.

use crate::{
    ids::{CallerId, InstanceId, MemberId, Millis, after},
    message::{Join, JoinedMember, Protocol},
    stored::StoredMember,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A member; its id is the key it is kept under.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<InstanceId>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) standing: Standing,
    /// Joined the current generation and did not ask for its assignment yet.
    pub(super) owes_sync: bool,
}

/// What a member is doing. One at a time, so nobody waits for two things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// No request of the member waits; without a sign of life it is expelled at `expires`.
    Idle { expires: Millis },
    /// Waits for the group to agree on a generation. Only a member that never was in one is expelled meanwhile.
    Joining { caller: CallerId, expires: Option<Millis> },
    /// Waits for the leader's assignment.
    Syncing { caller: CallerId },
}

impl Member {
    pub(super) fn new(join: &Join, standing: Standing) -> Self {
        Self {
            instance_id: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            standing,
            owes_sync: false,
        }
    }

    /// What a known member says anew each time it joins.
    pub(super) fn update(&mut self, join: &Join) {
        self.client_id = join.client_id.clone();
        self.client_host = join.client_host.clone();
        self.session_timeout_ms = join.session_timeout_ms;
        self.rebalance_timeout_ms = join.rebalance_timeout_ms;
        self.protocols = join.protocols.clone();
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.standing, Standing::Joining { .. })
    }

    pub(super) fn idle(&mut self, now: Millis) {
        self.standing = Standing::Idle { expires: after(now, self.session_timeout_ms) };
    }

    /// A sign of life.
    pub(super) fn touch(&mut self, now: Millis) {
        if matches!(self.standing, Standing::Idle { .. }) {
            self.idle(now);
        }
    }

    /// When the member is expelled unless something happens.
    pub(super) fn expires(&self) -> Option<Millis> {
        match self.standing {
            Standing::Idle { expires } => Some(expires),
            Standing::Joining { expires, .. } => expires,
            Standing::Syncing { .. } => None,
        }
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|p| *p.name == *protocol);
        known.expect("the group's protocol is one that all members support").metadata.clone()
    }

    pub(super) fn joined(&self, id: &MemberId, protocol: &str) -> JoinedMember {
        JoinedMember {
            member_id: id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    pub(super) fn store(&self, id: &MemberId) -> StoredMember {
        StoredMember {
            member_id: id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn recover(stored: StoredMember, now: Millis) -> (MemberId, Self) {
        let member = Self {
            instance_id: stored.instance_id,
            client_id: stored.client_id,
            client_host: stored.client_host,
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: stored.protocols,
            assignment: stored.assignment,
            standing: Standing::Idle { expires: after(now, stored.session_timeout_ms) },
            owes_sync: false,
        };
        (stored.member_id, member)
    }
}

/// Names of the protocols that every one of `members` supports.
pub(super) fn common_protocols<'a>(members: impl Iterator<Item = &'a Member>) -> BTreeSet<Arc<str>> {
    let names = |member: &Member| member.protocols.iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>();
    let mut members = members.map(names);
    let first = members.next().unwrap_or_default();
    members.fold(first, |common, names| common.intersection(&names).cloned().collect())
}

/// The common protocol that most members prefer; of several the one first in the alphabet.
pub(super) fn vote(members: &BTreeMap<MemberId, Member>) -> Arc<str> {
    let common = common_protocols(members.values());
    let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for member in members.values() {
        let preferred = member.protocols.iter().find(|p| common.contains(&p.name));
        let preferred = preferred.expect("a member is let in only if a common protocol remains");
        *votes.entry(&preferred.name).or_default() += 1;
    }
    let most = votes.values().max().copied();
    let winner = votes.into_iter().find(|(_, count)| Some(*count) == most);
    winner.expect("a group that votes has members").0.clone()
}
