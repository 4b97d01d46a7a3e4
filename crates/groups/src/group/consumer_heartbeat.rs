//! `ConsumerGroupHeartbeat`: a member of a consumer group joins, says what it has, and hears what it is to have.

use super::{Group, Phase};
use crate::{
    catalog::Catalog,
    consumer::{
        Consumers,
        holding::Progress,
        member::{Deadlines, Member},
        subscription::{Pattern, Subscription},
    },
    ids::{CallerId, MemberEpoch, MemberId, Millis, after},
    message::{ConsumerBeat, ConsumerHeartbeat, Output, Reply},
};
use keyway_record::ErrorCode;
use std::sync::Arc;

impl Group {
    pub(super) fn consumer_heartbeat(
        &mut self,
        now: Millis,
        caller: CallerId,
        heartbeat: &ConsumerHeartbeat,
        out: &mut Vec<Output>,
    ) {
        let beat = if heartbeat.member_epoch < MemberEpoch::JOIN {
            self.leave_consumer(now, heartbeat, out)
        } else {
            self.try_consumer_heartbeat(now, heartbeat, out)
        };
        if let Err(error) = beat {
            return out.push(Output::Reply { caller, reply: Reply::ConsumerHeartbeat(Err(error)) });
        }
        self.persist_consumers(out);
        self.reply_once_stored(caller, Reply::ConsumerHeartbeat(beat), out);
    }

    /// The topics are these now.
    pub(super) fn topics(&mut self, now: Millis, catalog: Arc<Catalog>, out: &mut Vec<Output>) {
        self.catalog = catalog;
        if self.has_consumers()
            && let Some(consumers) = &mut self.consumers
        {
            consumers.catalog_changed(now, &self.catalog, &self.config);
            self.persist_consumers(out);
        }
    }

    /// Changes nothing if it is refused.
    fn try_consumer_heartbeat(
        &mut self,
        now: Millis,
        heartbeat: &ConsumerHeartbeat,
        out: &mut Vec<Output>,
    ) -> Result<ConsumerBeat, ErrorCode> {
        let joins = heartbeat.member_epoch == MemberEpoch::JOIN;
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let pattern = self.validate_consumer(heartbeat)?;
        self.has_room_for(heartbeat)?;
        match &self.consumers {
            Some(consumers) => check_identity(consumers, heartbeat)?,
            None if !joins => return Err(ErrorCode::GroupIdNotFound),
            None => self.become_consumer_group(now, out)?,
        }
        let id = &heartbeat.member_id;
        let consumers = self.consumers.as_mut().expect("made above if it was not there");
        replace_static(consumers, heartbeat);
        let before = consumers.member(id).map(|member| member.holding.assigned.clone());
        let resubscribed = update(consumers, now, heartbeat);
        if resubscribed || consumers.is_unplanned() {
            self.empty_since = None;
            let text = heartbeat.topic_pattern.clone();
            text.zip(pattern).into_iter().for_each(|(text, pattern)| consumers.learn(text, pattern));
            consumers.advance(now, &self.catalog, &self.config);
        }
        self.reconcile(now, id, heartbeat.owned.as_ref(), resubscribed);
        let session_ms = self.config.consumer_session_timeout_ms;
        let consumers = self.consumers.as_mut().expect("reconciling keeps them");
        consumers.due(id).session = after(now, session_ms);
        let heartbeat_interval_ms = self.heartbeat_interval_ms(now, id);
        let member = &self.consumers.as_ref().expect("reconciling keeps them").members()[id];
        // What a client says that starts anew, or that does not know whether its last words were heard.
        let says_all = heartbeat.rebalance_timeout_ms.is_some()
            && (heartbeat.topic_names.is_some() || heartbeat.topic_pattern.is_some())
            && heartbeat.owned.is_some();
        let tell = joins || says_all || before.as_ref() != Some(&member.holding.assigned);
        Ok(ConsumerBeat {
            member_id: id.clone(),
            member_epoch: member.holding.epoch,
            heartbeat_interval_ms,
            assignment: tell.then(|| member.holding.assigned.keys().copied().collect()),
        })
    }

    /// How soon a member is to be heard of again: sooner than usual while it has, or may soon have, something to hear.
    fn heartbeat_interval_ms(&self, now: Millis, id: &MemberId) -> i32 {
        /// By how much sooner.
        const SOONER: i32 = 10;
        let usual = self.config.consumer_heartbeat_interval_ms;
        let consumers = self.consumers.as_ref().expect("the member is there");
        let is_settled = consumers.members()[id].holding.is_settled(consumers.epoch());
        if is_settled && !consumers.is_moving(now, usual) { usual } else { (usual / SOONER).max(1) }
    }

    /// Bounds what a member may say. Returns its expression, if it brings one.
    fn validate_consumer(&self, heartbeat: &ConsumerHeartbeat) -> Result<Option<Pattern>, ErrorCode> {
        let names = heartbeat.topic_names.iter().flatten().map(|name| name.len()).sum::<usize>();
        let said = names
            + heartbeat.topic_pattern.as_ref().map_or(0, |text| text.len())
            + heartbeat.member_id.as_str().len()
            + heartbeat.rack_id.as_ref().map_or(0, |rack| rack.len());
        if said > self.config.member_metadata_bytes_max {
            return Err(ErrorCode::InvalidRequest);
        }
        let text = heartbeat.topic_pattern.as_ref().filter(|text| !text.is_empty());
        text.map(|text| Pattern::new(text)).transpose()
    }

    fn has_room_for(&self, heartbeat: &ConsumerHeartbeat) -> Result<(), ErrorCode> {
        let (count, is_known) = match &self.consumers {
            None => (
                self.members.len(),
                heartbeat.instance_id.as_ref().is_some_and(|id| self.statics.contains_key(id)),
            ),
            Some(consumers) => {
                let by_instance = heartbeat.instance_id.as_ref().and_then(|id| consumers.of_instance(id));
                (consumers.len(), by_instance.is_some() || consumers.member(&heartbeat.member_id).is_some())
            }
        };
        let full = count >= self.config.members_max && !is_known;
        if full { Err(ErrorCode::GroupMaxSizeReached) } else { Ok(()) }
    }

    /// Moves a member towards its target, and sees to the time it has for giving partitions up.
    pub(super) fn reconcile(
        &mut self,
        now: Millis,
        id: &MemberId,
        owned: Option<&crate::catalog::Assignment>,
        resubscribed: bool,
    ) {
        let consumers = self.consumers.as_mut().expect("a member is reconciled where members are");
        if !consumers.reconcile(id, owned, resubscribed) {
            return;
        }
        let member = &consumers.members()[id];
        // A classic member has its times to join and to sync instead.
        let must_revoke = member.holding.progress == Progress::Unrevoked && member.classic.is_none();
        let revoke = must_revoke.then(|| after(now, member.rebalance_timeout_ms));
        consumers.due(id).revoke = revoke;
    }

    fn leave_consumer(
        &mut self,
        now: Millis,
        heartbeat: &ConsumerHeartbeat,
        out: &mut Vec<Output>,
    ) -> Result<ConsumerBeat, ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let consumers = self.consumers.as_mut().ok_or(ErrorCode::GroupIdNotFound)?;
        let id = &heartbeat.member_id;
        match &heartbeat.instance_id {
            None if consumers.member(id).is_none() => return Err(ErrorCode::UnknownMemberId),
            None => {}
            Some(instance) => consumers.check_instance(instance, id)?,
        }
        match (heartbeat.member_epoch, &heartbeat.instance_id) {
            (MemberEpoch::LEAVE, _) => self.fence(now, vec![id.clone()], out),
            (MemberEpoch::LEAVE_FOR_A_WHILE, Some(_)) => {
                // It keeps its place until its session ends; what it was to give up it has given up.
                let mut holding = consumers.members()[id].holding.released();
                holding.epoch = MemberEpoch::LEAVE_FOR_A_WHILE;
                consumers.set_holding(id, holding);
                consumers.due(id).revoke = None;
            }
            _ => return Err(ErrorCode::InvalidRequest),
        }
        Ok(ConsumerBeat {
            member_id: id.clone(),
            member_epoch: heartbeat.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        })
    }
}

/// Whether the request comes from a member, or may become one.
fn check_identity(consumers: &Consumers, heartbeat: &ConsumerHeartbeat) -> Result<(), ErrorCode> {
    let joins = heartbeat.member_epoch == MemberEpoch::JOIN;
    let id = &heartbeat.member_id;
    let current = heartbeat.instance_id.as_ref().map(|instance| consumers.of_instance(instance));
    match current {
        Some(Some(current)) if current != id => {
            let current = &consumers.members()[current];
            let is_away = current.holding.epoch == MemberEpoch::LEAVE_FOR_A_WHILE;
            return match joins {
                false => Err(ErrorCode::FencedInstanceId),
                true if is_away || current.classic.is_some() => Ok(()),
                true => Err(ErrorCode::UnreleasedInstanceId),
            };
        }
        Some(None) if !joins => return Err(ErrorCode::UnknownMemberId),
        _ if joins => return Ok(()),
        _ => {}
    }
    let holding = &consumers.member(id).ok_or(ErrorCode::UnknownMemberId)?.holding;
    let stated = heartbeat.member_epoch;
    // The answer with the newer epoch may have been lost; then the client uses nothing that it was not given.
    let lost_answer = stated == holding.previous_epoch
        && stated < holding.epoch
        && heartbeat
            .owned
            .as_ref()
            .is_some_and(|owned| owned.iter().all(|at| holding.assigned.contains_key(at)));
    if stated == holding.epoch || lost_answer { Ok(()) } else { Err(ErrorCode::FencedMemberEpoch) }
}

/// A static member that comes back under another id gets its old place.
fn replace_static(consumers: &mut Consumers, heartbeat: &ConsumerHeartbeat) {
    let Some(instance) = &heartbeat.instance_id else { return };
    let Some(current) = consumers.of_instance(instance).cloned() else { return };
    if current != heartbeat.member_id {
        consumers.replace(&current, heartbeat.member_id.clone(), |_| {});
    }
}

/// Takes over what the member says of itself. Whether it is new or wants other topics than before.
fn update(consumers: &mut Consumers, now: Millis, heartbeat: &ConsumerHeartbeat) -> bool {
    let ConsumerHeartbeat { member_id: id, rebalance_timeout_ms, topic_names, topic_pattern, .. } = heartbeat;
    let before = consumers.member(id);
    let says = rebalance_timeout_ms.is_some()
        || topic_names.is_some()
        || topic_pattern.is_some()
        || heartbeat.assignor.is_some()
        || heartbeat.rack_id.is_some();
    if let Some(before) = before
        && !says
        && before.classic.is_none()
        && before.instance_id == heartbeat.instance_id
    {
        return false;
    }
    let subscription = before.map(|member| member.subscription.clone()).unwrap_or_default();
    let subscription = Subscription {
        names: match topic_names {
            Some(names) => names.iter().cloned().collect(),
            None => subscription.names,
        },
        pattern: match topic_pattern {
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            None => subscription.pattern,
        },
    };
    let member = Member {
        instance_id: heartbeat.instance_id.clone().or_else(|| before?.instance_id.clone()),
        rack_id: heartbeat.rack_id.clone().or_else(|| before?.rack_id.clone()),
        client_id: heartbeat.client_id.clone(),
        client_host: heartbeat.client_host.clone(),
        rebalance_timeout_ms: rebalance_timeout_ms
            .or(before.map(|member| member.rebalance_timeout_ms))
            .unwrap_or(0),
        assignor: heartbeat.assignor.or_else(|| before?.assignor),
        subscription,
        classic: None,
        holding: before.map(|member| member.holding.clone()).unwrap_or_default(),
        due: Deadlines {
            revoke: before.and_then(|member| member.due.revoke),
            ..Deadlines::new(before.map_or(now, |member| member.due.session))
        },
    };
    let resubscribed = before.is_none_or(|before| before.subscription != member.subscription);
    if before.is_none_or(|before| !before.says_same(&member)) {
        consumers.insert(id.clone(), member);
    }
    resubscribed
}
