//! Topic by topic, each cut into as many ranges as it has subscribers.
//!
//! The order of the members is that of their instance ids, or else of their member ids, so topics with the same
//! subscribers and as many partitions are cut alike, and a static member keeps its ranges when it comes back.

use super::Subscriber;
use crate::{
    catalog::{Assignment, TopicIdPartition},
    ids::MemberId,
};
use keyway_record::{PartitionId, TopicId};
use std::collections::BTreeMap;

pub(super) fn assign(
    members: &BTreeMap<MemberId, Subscriber>,
    partitions: &BTreeMap<TopicId, i32>,
) -> BTreeMap<MemberId, Assignment> {
    let mut ordered: Vec<(&MemberId, &Subscriber)> = members.iter().collect();
    ordered.sort_by_key(|(id, member)| match &member.instance_id {
        Some(instance) => (instance.as_str(), id.as_str()),
        None => (id.as_str(), ""),
    });
    let mut assigned: BTreeMap<MemberId, Assignment> =
        members.keys().map(|id| (id.clone(), Assignment::new())).collect();
    for (&topic, &count) in partitions {
        let subscribers: Vec<_> =
            ordered.iter().filter(|(_, member)| member.topics.contains(&topic)).collect();
        let mut rest = 0..count;
        for (index, (id, _)) in subscribers.iter().enumerate() {
            let left = i32::try_from(subscribers.len() - index).unwrap_or(i32::MAX);
            // Rounded up: the first ones get what does not divide.
            let share = rest.len() as i32 / left + i32::from(rest.len() as i32 % left != 0);
            let range = rest.by_ref().take(share as usize).map(PartitionId);
            let own = assigned.get_mut(*id).expect("everyone has an entry");
            own.extend(range.map(|partition| TopicIdPartition { topic, partition }));
        }
    }
    assigned
}
