//! Users of a broker that does not run: how the first one comes to be, who can then make others over the network.

use super::{Change, ITERATIONS, UserError, Users};
use crate::producer_ids::ProducerIdSource;
use keyway_access::{ScramCredential, ScramMechanism};
use keyway_log::LogStore;
use keyway_runtime::World;
use std::sync::Arc;

/// Random bytes that go in with a password.
const SALT_BYTES: usize = 24;

/// The users in the store of a broker that does not run.
pub struct OfflineUsers {
    world: World,
    users: Users,
}

/// Why users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineUsersError {
    /// The name is none that a user can have.
    #[error("a user's name has from 1 to {max} bytes", max = super::NAME_BYTES_MAX)]
    Name,
    /// There is no password.
    #[error("the password is empty")]
    NoPassword,
    /// There is no user of this name.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The records cannot be read or written, or there are too many.
    #[error("the users cannot be read or changed: {0}")]
    Store(String),
}

impl From<UserError> for OfflineUsersError {
    fn from(error: UserError) -> Self {
        Self::Store(error.to_string())
    }
}

impl OfflineUsers {
    /// Reads the users in `store`.
    pub fn open(world: &World, store: &Arc<dyn LogStore>) -> Result<Self, OfflineUsersError> {
        let failed =
            |error: crate::internal_topic::InternalTopicError| OfflineUsersError::Store(error.to_string());
        let records = ProducerIdSource::recover(world, store).map_err(failed)?;
        let users = Users::recover(world, records.records()).map_err(failed)?;
        Ok(Self { world: world.clone(), users })
    }

    /// The users' names, and the mechanisms that each can log in with besides PLAIN.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Vec<&'static str>)> {
        let of_one = |(name, credentials): (String, super::Credentials)| {
            (name, credentials.into_keys().map(ScramMechanism::name).collect())
        };
        self.users.all().into_iter().map(of_one).collect()
    }

    /// Gives the user this password, and makes the user if need be; durable when this returns.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), OfflineUsersError> {
        if name.is_empty() || name.len() > super::NAME_BYTES_MAX || name.contains('\0') {
            return Err(OfflineUsersError::Name);
        }
        if password.is_empty() {
            return Err(OfflineUsersError::NoPassword);
        }
        let set = |mechanism| {
            let salt: [u8; SALT_BYTES] = self.world.entropy.bytes();
            let credential = ScramCredential::of_password(mechanism, password, salt.to_vec(), ITERATIONS);
            Change::Set { name: name.to_owned(), credential }
        };
        Ok(self.users.change(ScramMechanism::ALL.map(set).into()).await?)
    }

    /// Removes the user; durable when this returns.
    pub async fn remove(&self, name: &str) -> Result<(), OfflineUsersError> {
        let credentials = self.users.credentials(name);
        if credentials.is_empty() {
            return Err(OfflineUsersError::Unknown(name.to_owned()));
        }
        let remove = |mechanism| Change::Remove { name: name.to_owned(), mechanism };
        Ok(self.users.change(credentials.into_keys().map(remove).collect()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_log::MemoryStore;

    #[tokio::test]
    async fn users_outlive_those_who_made_them() {
        let (world, store): (_, Arc<dyn LogStore>) = (World::real(), Arc::new(MemoryStore::new()));
        let users = OfflineUsers::open(&world, &store).unwrap();
        users.set_password("alice", "first").await.unwrap();
        users.set_password("alice", "second").await.unwrap();
        users.set_password("bob", "x").await.unwrap();
        users.remove("bob").await.unwrap();
        assert!(matches!(users.remove("bob").await, Err(OfflineUsersError::Unknown(_))));
        assert!(matches!(users.set_password("", "x").await, Err(OfflineUsersError::Name)));
        assert!(matches!(users.set_password("x", "").await, Err(OfflineUsersError::NoPassword)));
        let again = OfflineUsers::open(&world, &store).unwrap();
        assert_eq!(again.list(), [("alice".to_owned(), vec!["SCRAM-SHA-256", "SCRAM-SHA-512"])]);
        assert!(again.users.password_fits("alice", "second").await);
        assert!(!again.users.password_fits("alice", "first").await);
        assert!(!again.users.password_fits("nobody", "").await);
    }
}
