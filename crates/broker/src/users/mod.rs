//! Who can log in: names with keys that their passwords are checked by, and never the passwords.

mod offline;
mod stored;

pub use offline::{OfflineUsers, OfflineUsersError};

use crate::internal_topic::{InternalTopic, InternalTopicError};
use bytes::Bytes;
use keyway_access::{ScramCredential, ScramMechanism};
use keyway_runtime::World;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::Semaphore;

/// Most users; each login by PLAIN looks one up, and DescribeUserScramCredentials answers with all.
const USERS_MAX: usize = 100_000;

/// Longest name of a user, bytes: what a record's key may be beyond is of no use to anybody.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// How often the passwords are hashed that this broker itself makes keys of.
pub(crate) const ITERATIONS: u32 = 8_192;

/// Passwords that are checked at a time: each takes a processor for some milliseconds, which requests need too.
const CHECKS_AT_A_TIME: usize = 2;

/// What one user can log in with.
pub(crate) type Credentials = BTreeMap<ScramMechanism, ScramCredential>;

/// All users.
pub(crate) struct Users {
    records: Arc<InternalTopic>,
    all: RwLock<BTreeMap<String, Credentials>>,
    /// One change at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
    checks: Arc<Semaphore>,
    /// Counts the changes.
    state: AtomicU64,
    /// What users that do not exist get their keys from. New at each start.
    nobody: [u8; 32],
}

/// One change of a user.
#[derive(Debug)]
pub(crate) enum Change {
    /// Gives the user this credential, instead of the one of the same mechanism.
    Set { name: String, credential: ScramCredential },
    /// Takes away the credential of this mechanism.
    Remove { name: String, mechanism: ScramMechanism },
}

/// Why users did not change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("there are {USERS_MAX} users, which is the limit")]
    TooMany,
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

impl Users {
    /// The users in `records`.
    pub(crate) fn recover(world: &World, records: &Arc<InternalTopic>) -> Result<Self, InternalTopicError> {
        let mut all: BTreeMap<String, Credentials> = BTreeMap::new();
        for (key, value) in records.entries() {
            let decoded = stored::decode(&key, &value).map_err(|reason| records.malformed(reason))?;
            if let Some((name, credential)) = decoded {
                all.entry(name).or_default().insert(credential.mechanism, credential);
            }
        }
        Ok(Self {
            records: records.clone(),
            all: RwLock::new(all),
            changing: tokio::sync::Mutex::new(()),
            checks: Arc::new(Semaphore::new(CHECKS_AT_A_TIME)),
            state: AtomicU64::new(0),
            nobody: world.entropy.bytes(),
        })
    }

    /// Every user, by name, with the mechanisms that it can log in with.
    pub(crate) fn all(&self) -> Vec<(String, Credentials)> {
        let all = self.all.read().expect("no panic while users are locked");
        all.iter().map(|(name, credentials)| (name.clone(), credentials.clone())).collect()
    }

    /// What this user can log in with; empty for one that does not exist.
    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        self.all.read().expect("no panic while users are locked").get(name).cloned().unwrap_or_default()
    }

    /// What a login by SCRAM is checked with; of a user that does not exist, something that no password fits.
    pub(crate) fn scram(&self, name: &str, mechanism: ScramMechanism) -> ScramCredential {
        let found = self.credentials(name).remove(&mechanism);
        found.unwrap_or_else(|| ScramCredential::of_nobody(mechanism, &self.nobody, name, ITERATIONS))
    }

    /// Whether this is the user's password. Takes as long for a user that does not exist.
    pub(crate) async fn password_fits(&self, name: &str, password: &str) -> bool {
        self.proved(name, password).await.is_some()
    }

    /// What the user could log in with when this was its password; `None` if it is not.
    pub(crate) async fn proved(&self, name: &str, password: &str) -> Option<Credentials> {
        let credentials = self.credentials(name);
        let credential = match credentials.values().next() {
            Some(credential) => credential.clone(),
            None => self.scram(name, ScramMechanism::Sha256),
        };
        let checks = self.checks.clone();
        let check = checks.acquire_owned().await.expect("the semaphore is never closed");
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            // A client that gives up does not end this, so its place is free only afterwards.
            let _check = check;
            credential.matches(&password)
        });
        checked.await.expect("a password is checked without a panic").then_some(credentials)
    }

    /// A number that is another one after each change of a user.
    pub(crate) fn state(&self) -> u64 {
        self.state.load(Relaxed)
    }

    /// Whether the user can log in with exactly this.
    pub(crate) fn has(&self, name: &str, credentials: &Credentials) -> bool {
        self.all.read().expect("no panic while users are locked").get(name) == Some(credentials)
    }

    /// Makes all of these changes; durable when this returns.
    pub(crate) async fn change(&self, changes: Vec<Change>) -> Result<(), UserError> {
        let _changing = self.changing.lock().await;
        let mut all = self.all.read().expect("no panic while users are locked").clone();
        let mut records: Vec<(Bytes, Option<Bytes>)> = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Set { name, credential } => {
                    let key = stored::key(&name, credential.mechanism);
                    records.push((key, Some(stored::encode(&credential))));
                    all.entry(name).or_default().insert(credential.mechanism, credential);
                }
                Change::Remove { name, mechanism } => {
                    records.push((stored::key(&name, mechanism), None));
                    if let Some(credentials) = all.get_mut(&name) {
                        credentials.remove(&mechanism);
                        if credentials.is_empty() {
                            all.remove(&name);
                        }
                    }
                }
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        if all.len() > USERS_MAX {
            return Err(UserError::TooMany);
        }
        let apply = || {
            *self.all.write().expect("no panic while users are locked") = all;
            self.state.fetch_add(1, Relaxed);
        };
        Ok(self.records.put_and(records, apply).await?)
    }
}
