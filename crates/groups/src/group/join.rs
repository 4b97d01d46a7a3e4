//! `JoinGroup`: who gets in, and as whom.

use super::{
    Group, Phase, Standing,
    durable::refusal,
    member::{Member, common_protocols, vote},
};
use crate::{
    ids::{CallerId, InstanceId, MemberId, Millis, after},
    message::{Join, Output, Refused, Reply},
};
use keyway_record::ErrorCode;

impl Group {
    pub(super) fn join(&mut self, now: Millis, caller: CallerId, join: &Join, out: &mut Vec<Output>) {
        if let Err(refused) = self.try_join(now, caller, join, out) {
            out.push(Output::Reply { caller, reply: Reply::Join(Err(refused)) });
        }
    }

    /// `Ok` if the caller is answered, or will be.
    fn try_join(
        &mut self,
        now: Millis,
        caller: CallerId,
        join: &Join,
        out: &mut Vec<Output>,
    ) -> Result<(), Refused> {
        let refused = |error| Refused { error, member_id: join.member_id.clone() };
        self.validate(join).map_err(refused)?;
        if self.pending.contains_key(&join.member_id) {
            if join.instance_id.is_some() {
                return Err(refused(ErrorCode::UnknownMemberId));
            }
            self.admit(now, caller, join.member_id.clone(), join, out).map_err(refused)
        } else if !join.member_id.is_empty() {
            self.identify(&join.member_id, join.instance_id.as_ref()).map_err(refused)?;
            self.fits(join, Some(&join.member_id)).map_err(refused)?;
            self.rejoin(now, caller, join, out);
            Ok(())
        } else if let Some(instance_id) = &join.instance_id {
            let new_id = MemberId::fresh(instance_id.as_str(), join.random);
            match self.statics.get(instance_id).cloned() {
                None => self.admit(now, caller, new_id, join, out).map_err(refused),
                Some(old_id) => {
                    self.fits(join, Some(&old_id)).map_err(refused)?;
                    self.replace(now, caller, (instance_id, &old_id, new_id), join, out);
                    Ok(())
                }
            }
        } else {
            let new_id = MemberId::fresh(&join.client_id, join.random);
            if !join.require_known_member_id {
                return self.admit(now, caller, new_id, join, out).map_err(refused);
            }
            self.fits(join, None).map_err(refused)?;
            let full = self.members.len().max(self.pending.len()) >= self.config.members_max;
            if full {
                return Err(refused(ErrorCode::GroupMaxSizeReached));
            }
            self.pending.insert(new_id.clone(), after(now, join.session_timeout_ms));
            Err(Refused { error: ErrorCode::MemberIdRequired, member_id: new_id })
        }
    }

    pub(super) fn validate(&self, join: &Join) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let session_ms = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if !session_ms.contains(&join.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let protocols = join.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len());
        if protocols.sum::<usize>() > self.config.member_metadata_bytes_max {
            return Err(ErrorCode::InvalidRequest);
        }
        Ok(())
    }

    /// Whether the protocols leave one in common with everyone but `except`, whom the join is for.
    fn fits(&self, join: &Join, except: Option<&MemberId>) -> Result<(), ErrorCode> {
        let refused = Err(ErrorCode::InconsistentGroupProtocol);
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return refused;
        }
        if !self.members.is_empty() && join.protocol_type != self.protocol_type {
            return refused;
        }
        let others = || self.members.iter().filter(|(id, _)| Some(*id) != except).map(|(_, member)| member);
        let common = common_protocols(others());
        let shared = join.protocols.iter().any(|protocol| common.contains(&protocol.name));
        if shared || others().next().is_none() { Ok(()) } else { refused }
    }

    /// Lets a new member in, which starts a rebalance.
    fn admit(
        &mut self,
        now: Millis,
        caller: CallerId,
        id: MemberId,
        join: &Join,
        out: &mut Vec<Output>,
    ) -> Result<(), ErrorCode> {
        self.fits(join, None)?;
        if self.members.len() >= self.config.members_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if self.members.contains_key(&id) {
            // Only broken entropy makes an id twice.
            return Err(ErrorCode::UnknownServerError);
        }
        self.pending.remove(&id);
        self.empty_since = None;
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type.clone();
        }
        if let Phase::Preparing { gathering: Some(gathering), .. } = &mut self.phase {
            gathering.joined_since = true;
        }
        if let Some(instance_id) = &join.instance_id {
            let taken = self.statics.insert(instance_id.clone(), id.clone());
            assert_eq!(taken, None, "a known instance id is replaced, not admitted");
        }
        self.leader.get_or_insert_with(|| id.clone());
        let expires = Some(after(now, self.config.new_member_join_timeout_ms));
        self.members.insert(id, Member::new(join, Standing::Joining { caller, expires }));
        self.rebalance(now, out);
        Ok(())
    }

    /// A member joins again: it follows a rebalance, asks for one, or lost the last answer.
    fn rejoin(&mut self, now: Millis, caller: CallerId, join: &Join, out: &mut Vec<Output>) {
        let id = &join.member_id;
        let unchanged = self.members[id].protocols == join.protocols;
        let leads = self.leader.as_ref() == Some(id);
        let answer_again = match self.phase {
            Phase::Completing { .. } => unchanged,
            // A leader joins again because something changed that only it can see, such as a topic's partitions.
            Phase::Stable { .. } => unchanged && !leads,
            Phase::Preparing { .. } => false,
            Phase::Empty | Phase::Dead => unreachable!("neither has members"),
        };
        if answer_again {
            let joined = self.joined(id);
            self.member(id).touch(now);
            out.push(Output::Reply { caller, reply: Reply::Join(Ok(joined)) });
            return;
        }
        let member = self.member(id);
        let expires = match member.standing {
            Standing::Joining { expires, .. } => expires,
            Standing::Idle { .. } | Standing::Syncing { .. } => None,
        };
        // The client gave up on its earlier request.
        out.extend(refusal(id, member.standing, ErrorCode::RebalanceInProgress));
        member.update(join);
        member.standing = Standing::Joining { caller, expires };
        self.rebalance(now, out);
    }

    /// A static member came back without its member id: it takes its old place under a new one, and what still acts
    /// under the old one is fenced.
    fn replace(
        &mut self,
        now: Millis,
        caller: CallerId,
        (instance_id, old_id, new_id): (&InstanceId, &MemberId, MemberId),
        join: &Join,
        out: &mut Vec<Output>,
    ) {
        if self.members.contains_key(&new_id) {
            // Only broken entropy makes an id twice.
            let refused = Refused { error: ErrorCode::UnknownServerError, member_id: join.member_id.clone() };
            out.push(Output::Reply { caller, reply: Reply::Join(Err(refused)) });
            return;
        }
        let mut member = self.members.remove(old_id).expect("instance ids lead to members");
        out.extend(refusal(old_id, member.standing, ErrorCode::FencedInstanceId));
        let led = self.leader.as_ref() == Some(old_id);
        if led {
            self.leader = Some(new_id.clone());
        }
        self.statics.insert(instance_id.clone(), new_id.clone());
        let expires = match member.standing {
            Standing::Joining { expires, .. } => expires,
            Standing::Idle { .. } | Standing::Syncing { .. } => None,
        };
        member.update(join);
        member.idle(now);
        self.members.insert(new_id.clone(), member);
        if !self.keeps_generation() {
            self.member(&new_id).standing = Standing::Joining { caller, expires };
            return self.rebalance(now, out);
        }
        self.persist_membership(out);
        let mut joined = self.joined(&new_id);
        if led && join.supports_skip_assignment {
            joined.skip_assignment = true;
        } else if led {
            // A client that cannot skip must not take itself for the leader, or it would assign anew.
            joined.leader = old_id.clone();
            joined.members = Vec::new();
        }
        self.reply_once_stored(caller, Reply::Join(Ok(joined)), out);
    }

    /// Whether the group may stay in its generation with the members it has now.
    fn keeps_generation(&self) -> bool {
        let stable = matches!(self.phase, Phase::Stable { .. });
        stable
            && self.protocol == Some(vote(&self.members))
            && self.store().encoded_len() <= self.config.group_record_bytes_max
    }
}
