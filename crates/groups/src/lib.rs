//! Consumer-group membership, offsets, producer ids and transactions as pure state machines.
//!
//! A [`Group`] takes an [`Input`] at a time that its owner states, and answers with [`Output`]s: replies to callers,
//! and records to make durable. Whatever a client may not see undone by a crash waits for [`Input::Persisted`].
//! After a restart [`Recovery`] makes the groups anew from their [`GroupRecord`]s.

mod assignor;
mod catalog;
mod config;
mod consumer;
mod consumer_protocol;
#[cfg(test)]
mod dice;
mod group;
mod ids;
mod message;
mod name_pattern;
mod offsets;
mod producer_ids;
mod recovery;
mod stored;
pub mod transaction;

pub use assignor::Assignor;
pub use catalog::{Assignment, Catalog, CatalogTopic, TopicIdPartition};
pub use config::GroupConfig;
pub use consumer::stored::StoredConsumer;
pub use group::Group;
pub use ids::{
    CallerId, Generation, GroupId, InstanceId, MemberEpoch, MemberId, Millis, PersistId, TransactionalId,
};
pub use message::{
    Commit, ConsumerBeat, ConsumerDescription, ConsumerHeartbeat, ConsumerMemberDescription, Description,
    GroupKind, Heartbeat, Input, Join, Joined, JoinedMember, Leaving, MemberDescription, Output, Protocol,
    Refused, Reply, State, Sync, Synced,
};
pub use name_pattern::NamePattern;
pub use offsets::{Committed, Offsets, WaitingOffsets};
pub use producer_ids::{Allocation, BLOCK_LEN, HighWater, HighWaterError, ProducerIds};
pub use recovery::Recovery;
pub use stored::{GroupRecord, GroupRecordError, StoredConsumers, StoredGroup, StoredMember};
