//! Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup,
//! answered from what the broker has decided.
//!
//! Nobody leads and nobody waits for others. A member that has to follow the group is told by its heartbeats to join
//! again, and its member epoch is its generation.

use super::Group;
use crate::{
    catalog::Assignment,
    consumer::{
        Consumers,
        holding::Progress,
        member::{Classic, Deadlines, Member},
        subscription::Subscription,
    },
    consumer_protocol::{ConsumerSubscription, PROTOCOL_TYPE},
    ids::{CallerId, Generation, InstanceId, MemberEpoch, MemberId, Millis, after},
    message::{Heartbeat, Join, Joined, Leaving, Output, Protocol, Refused, Reply, Sync, Synced},
};
use keyway_record::ErrorCode;
use std::{collections::BTreeSet, sync::Arc};

impl Group {
    pub(super) fn join_consumers(
        &mut self,
        now: Millis,
        caller: CallerId,
        join: &Join,
        out: &mut Vec<Output>,
    ) {
        match self.try_join_consumers(now, join, out) {
            Ok(Some(joined)) => {
                self.persist_consumers(out);
                self.reply_once_stored(caller, Reply::Join(Ok(joined)), out);
            }
            // The group is a classic one now.
            Ok(None) => self.join(now, caller, join, out),
            Err(refused) => out.push(Output::Reply { caller, reply: Reply::Join(Err(refused)) }),
        }
    }

    /// `None` if the join ended the consumer protocol.
    fn try_join_consumers(
        &mut self,
        now: Millis,
        join: &Join,
        out: &mut Vec<Output>,
    ) -> Result<Option<Joined>, Refused> {
        let refused = |error| Refused { error, member_id: join.member_id.clone() };
        self.validate(join).map_err(refused)?;
        let consumers = self.consumers.as_mut().expect("routed here because of them");
        let first = join.protocols.first().filter(|_| *join.protocol_type == *PROTOCOL_TYPE);
        let subscription = first.map(|protocol| ConsumerSubscription::decode(&protocol.metadata));
        let (Some(first), Some(Ok(subscription))) = (first, subscription) else {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        };
        let current = join.instance_id.as_ref().and_then(|instance| consumers.of_instance(instance)).cloned();
        let is_new = join.member_id.is_empty();
        let known = current.as_ref().or(Some(&join.member_id)).filter(|id| consumers.member(id).is_some());
        if !fits(consumers, &join.protocols, known) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        if known.is_none() && consumers.len() >= self.config.members_max {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        let id = match (&join.instance_id, &current) {
            (None, _) if is_new && join.require_known_member_id => {
                let member_id = MemberId::fresh(&join.client_id, join.random);
                return Err(Refused { error: ErrorCode::MemberIdRequired, member_id });
            }
            (None, _) if is_new => MemberId::fresh(&join.client_id, join.random),
            (None, _) => join.member_id.clone(),
            (Some(_), None) if !is_new => return Err(refused(ErrorCode::UnknownMemberId)),
            (Some(_), Some(current)) if !is_new && *current != join.member_id => {
                return Err(refused(ErrorCode::FencedInstanceId));
            }
            (Some(_), _) if !is_new => join.member_id.clone(),
            (Some(instance), _) => MemberId::fresh(instance.as_str(), join.random),
        };
        let classic =
            Classic { session_timeout_ms: join.session_timeout_ms, protocols: join.protocols.clone() };
        if let Some(current) = current.filter(|current| *current != id) {
            consumers.replace(&current, id.clone(), |member| member.classic = Some(classic.clone()));
            if self.can_downgrade() {
                self.downgrade(now, false, out);
                return Ok(None);
            }
        }
        let consumers = self.consumers.as_mut().expect("not downgraded");
        let before = consumers.member(&id).cloned();
        let names = Subscription { names: subscription.topics.iter().cloned().collect(), pattern: None };
        let resubscribed = before.as_ref().is_none_or(|before| before.subscription != names);
        let session = after(now, join.session_timeout_ms);
        let member = Member {
            instance_id: join.instance_id.clone(),
            rack_id: None,
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            assignor: None,
            subscription: names,
            classic: Some(classic),
            holding: before.map(|before| before.holding).unwrap_or_default(),
            due: Deadlines { sync: Some(after(now, join.rebalance_timeout_ms)), ..Deadlines::new(session) },
        };
        consumers.insert(id.clone(), member);
        if resubscribed {
            consumers.advance(now, &self.catalog, &self.config);
        }
        let owned: Assignment = self.with_ids(&subscription.owned).collect();
        self.reconcile(now, &id, Some(&owned), resubscribed);
        Ok(Some(Joined {
            generation: Generation(self.consumer(&id).holding.epoch.0),
            protocol_type: PROTOCOL_TYPE.into(),
            protocol_name: first.name.clone(),
            leader: MemberId::from(""),
            skip_assignment: false,
            member_id: id,
            members: Vec::new(),
        }))
    }

    pub(super) fn sync_consumer(
        &mut self,
        now: Millis,
        caller: CallerId,
        sync: &Sync,
        out: &mut Vec<Output>,
    ) {
        match self.try_sync_consumer(now, sync) {
            Ok(synced) => self.reply_once_stored(caller, Reply::Sync(Ok(synced)), out),
            Err(error) => out.push(Output::Reply { caller, reply: Reply::Sync(Err(error)) }),
        }
    }

    fn try_sync_consumer(&mut self, now: Millis, sync: &Sync) -> Result<Synced, ErrorCode> {
        let id = &sync.member_id;
        let classic = self.classic_consumer(id, sync.instance_id.as_ref(), sync.generation)?.clone();
        let protocol_name =
            classic.protocols.first().map(|protocol| protocol.name.clone()).unwrap_or_default();
        let other_type = sync.protocol_type.as_ref().is_some_and(|name| **name != *PROTOCOL_TYPE);
        let other_name = sync.protocol_name.as_ref().is_some_and(|name| *name != protocol_name);
        if other_type || other_name {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let (epoch, holding) = (self.consumer_epoch(), &self.consumer(id).holding);
        // Who has to give partitions up joins again by itself when that is done.
        if epoch > holding.epoch && holding.progress != Progress::Unrevoked {
            self.must_join(now, id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let assignment = self.assignment_of(&classic, holding.assigned.keys().copied());
        let due = self.consumers.as_mut().expect("the member is there").due(id);
        due.sync = None;
        due.session = after(now, classic.session_timeout_ms);
        Ok(Synced { protocol_type: PROTOCOL_TYPE.into(), protocol_name, assignment })
    }

    pub(super) fn heartbeat_consumer(
        &mut self,
        now: Millis,
        caller: CallerId,
        heartbeat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        let error = self.try_heartbeat_consumer(now, heartbeat).err().unwrap_or(ErrorCode::None);
        out.push(Output::Reply { caller, reply: Reply::Heartbeat(error) });
    }

    fn try_heartbeat_consumer(&mut self, now: Millis, heartbeat: &Heartbeat) -> Result<(), ErrorCode> {
        let id = &heartbeat.member_id;
        let classic = self.classic_consumer(id, heartbeat.instance_id.as_ref(), heartbeat.generation)?;
        let session = after(now, classic.session_timeout_ms);
        let consumers = self.consumers.as_mut().expect("the member is there");
        consumers.due(id).session = session;
        let holding = &consumers.members()[id].holding;
        let must_join = match holding.progress {
            _ if holding.epoch < consumers.epoch() => true,
            Progress::Stable => false,
            Progress::Unrevoked => true,
            Progress::Unreleased => !consumers.is_waiting(id),
        };
        if must_join {
            self.must_join(now, id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    pub(super) fn leave_consumers(
        &mut self,
        now: Millis,
        caller: CallerId,
        leaving: Vec<Leaving>,
        out: &mut Vec<Output>,
    ) {
        let consumers = self.consumers.as_ref().expect("routed here because of them");
        let mut ids = BTreeSet::new();
        let left = leaving.into_iter().map(|one| {
            let found = leaves(consumers, &one);
            let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            ids.extend(found);
            (one, error)
        });
        let reply = Reply::Leave(Ok(left.collect()));
        self.fence(now, ids.into_iter().collect(), out);
        out.push(Output::Reply { caller, reply });
    }

    /// The classic side of a member that states its generation.
    fn classic_consumer(
        &self,
        id: &MemberId,
        instance_id: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<&Classic, ErrorCode> {
        let consumers = self.consumers.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if let Some(instance_id) = instance_id {
            consumers.check_instance(instance_id, id)?;
        }
        let member = consumers.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        let classic = member.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if generation.0 != member.holding.epoch.0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(classic)
    }

    /// The member is told to join again, and has as long as a rebalance may take.
    fn must_join(&mut self, now: Millis, id: &MemberId) {
        let rebalance_timeout_ms = self.consumer(id).rebalance_timeout_ms;
        let due = self.consumers.as_mut().expect("the member is there").due(id);
        due.join.get_or_insert(after(now, rebalance_timeout_ms));
    }

    fn consumer(&self, id: &MemberId) -> &Member {
        &self.consumers.as_ref().expect("the member is there").members()[id]
    }

    fn consumer_epoch(&self) -> MemberEpoch {
        self.consumers.as_ref().map_or(MemberEpoch::JOIN, |consumers| consumers.epoch())
    }
}

/// Whether one of the protocols is known to every other classic member, so that the group can go back to it.
fn fits(consumers: &Consumers, protocols: &[Protocol], except: Option<&MemberId>) -> bool {
    let others = consumers.members().iter().filter(|(id, _)| Some(*id) != except);
    let classic: Vec<&Classic> = others.filter_map(|(_, member)| member.classic.as_ref()).collect();
    let knows =
        |classic: &&Classic, name: &Arc<str>| classic.protocols.iter().any(|known| known.name == *name);
    protocols.iter().any(|protocol| classic.iter().all(|classic| knows(classic, &protocol.name)))
}

fn leaves(consumers: &Consumers, leaving: &Leaving) -> Result<MemberId, ErrorCode> {
    let Some(instance_id) = &leaving.instance_id else {
        let known = consumers.member(&leaving.member_id).map(|_| leaving.member_id.clone());
        return known.ok_or(ErrorCode::UnknownMemberId);
    };
    let current = consumers.of_instance(instance_id).ok_or(ErrorCode::UnknownMemberId)?;
    // By its instance id alone a member is taken out whoever it is now.
    match leaving.member_id.is_empty() || leaving.member_id == *current {
        true => Ok(current.clone()),
        false => Err(ErrorCode::FencedInstanceId),
    }
}
