//! Who may do what: one place that every front asks.

mod audit;
mod caller;
#[cfg(test)]
mod matrix;
mod offline;
mod stored;

pub use audit::AuditSink;
#[cfg(test)]
use audit::Lines;
pub(crate) use audit::{AuditEvent, AuditLog, Change, watch as watch_audit};
pub(crate) use caller::Caller;
pub use offline::{OfflineRules, OfflineRulesError};

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    settings::AuthorizerSettings,
};
use keyway_access::{
    Operation, Resource, ResourceType,
    acl::{Authorizer, Decision, Rule, RuleFilter, Rules, Subject},
};
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// Most rules that are kept, so that they do not use up the memory.
const RULES_MAX: usize = 100_000;

/// The access rules of this broker. Without an authorizer everybody may do everything, and there are no rules.
pub(crate) struct Access {
    authorizer: Option<RwLock<Authorizer>>,
    audit: Arc<AuditLog>,
    records: Arc<InternalTopic>,
    /// One change at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
}

/// Why rules were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuleChangeError {
    #[error("no authorizer is configured; set authorizer.class.name where the broker is started")]
    Disabled,
    #[error("there would be more than {RULES_MAX} rules, which is the limit")]
    TooMany,
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

impl Access {
    /// The rules in `records`, which are looked at only if the settings have an authorizer.
    pub(crate) fn recover(
        settings: Option<&AuthorizerSettings>,
        audit: &Arc<AuditLog>,
        records: &Arc<InternalTopic>,
    ) -> Result<Self, InternalTopicError> {
        let authorizer = match settings {
            None => None,
            Some(settings) => {
                let mut rules = Rules::default();
                for (key, value) in records.entries() {
                    let rule = stored::decode(&key, &value).map_err(|reason| records.malformed(reason))?;
                    rule.into_iter().for_each(|rule| _ = rules.insert(rule));
                }
                let (super_users, without_rule) = (settings.super_users.clone(), settings.without_rule);
                Some(RwLock::new(Authorizer { rules, super_users, without_rule }))
            }
        };
        let (audit, records) = (audit.clone(), records.clone());
        Ok(Self { authorizer, audit, records, changing: tokio::sync::Mutex::new(()) })
    }

    /// Whether there are rules to follow.
    pub(crate) fn is_enforced(&self) -> bool {
        self.authorizer.is_some()
    }

    /// Whether `caller` may do `operation` to `resource`. A denial is written to the audit log.
    pub(crate) fn allows(&self, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
        self.decide(caller, operation, resource, |decision| {
            if !decision.allowed() {
                self.audit.note(caller, AuditEvent::Denied { operation, resource, decision });
            }
            decision.allowed()
        })
        .unwrap_or(true)
    }

    /// [`Access::allows`] for what is left out of an answer without a word: nobody was denied what it asked for.
    pub(crate) fn shows(&self, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
        self.decide(caller, operation, resource, |decision| decision.allowed()).unwrap_or(true)
    }

    /// Whether `caller` may do `operation` to some resource of this type.
    pub(crate) fn allows_somewhere(&self, caller: &Caller, operation: Operation, kind: ResourceType) -> bool {
        self.authorizer.as_ref().is_none_or(|authorizer| {
            let subject = Subject { principal: &caller.principal, address: caller.address.ip() };
            read(authorizer).may_somewhere(subject, operation, kind)
        })
    }

    /// Hands what decides about a request to `told`; `None` without an authorizer.
    pub(crate) fn decide<T>(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
        told: impl FnOnce(Decision<'_>) -> T,
    ) -> Option<T> {
        let authorizer = read(self.authorizer.as_ref()?);
        let subject = Subject { principal: &caller.principal, address: caller.address.ip() };
        Some(told(authorizer.decide(subject, operation, resource)))
    }

    /// The rules that match; `None` without an authorizer.
    pub(crate) fn rules(&self, filter: &RuleFilter) -> Option<Vec<Rule>> {
        let authorizer = read(self.authorizer.as_ref()?);
        Some(authorizer.rules.iter().filter(|rule| filter.matches(rule)).cloned().collect())
    }

    /// Adds rules, each of which must have passed its check; durable when this returns.
    pub(crate) async fn add(&self, caller: &Caller, rules: Vec<Rule>) -> Result<(), RuleChangeError> {
        let authorizer = self.authorizer.as_ref().ok_or(RuleChangeError::Disabled)?;
        let _changing = self.changing.lock().await;
        let mut new: Vec<Rule> = Vec::new();
        let known = |rule: &Rule| read(authorizer).rules.contains(rule);
        for rule in rules.into_iter().filter(|rule| !known(rule)) {
            if !new.contains(&rule) {
                new.push(rule);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        if read(authorizer).rules.len() + new.len() > RULES_MAX {
            return Err(RuleChangeError::TooMany);
        }
        let entry = |rule: &Rule| (stored::key(rule), Some(stored::VALUE));
        let entries = new.iter().map(entry).collect();
        let apply = || {
            for rule in new {
                self.audit.note(caller, AuditEvent::RuleAdded(&rule));
                write(authorizer).rules.insert(rule);
            }
        };
        Ok(self.records.put_and(entries, apply).await?)
    }

    /// Removes the rules that match, and tells for each filter which it matches, whatever others match too; durable when
    /// this returns.
    pub(crate) async fn remove(
        &self,
        caller: &Caller,
        filters: &[RuleFilter],
    ) -> Result<Vec<Vec<Rule>>, RuleChangeError> {
        let authorizer = self.authorizer.as_ref().ok_or(RuleChangeError::Disabled)?;
        let _changing = self.changing.lock().await;
        let removed: Vec<Vec<Rule>> =
            filters.iter().map(|filter| self.rules(filter).unwrap_or_default()).collect();
        let entries: Vec<_> = removed.iter().flatten().map(|rule| (stored::key(rule), None)).collect();
        if entries.is_empty() {
            return Ok(removed);
        }
        let apply = || {
            for rule in removed.iter().flatten() {
                if write(authorizer).rules.remove(rule) {
                    self.audit.note(caller, AuditEvent::RuleRemoved(rule));
                }
            }
        };
        self.records.put_and(entries, apply).await?;
        Ok(removed)
    }
}

fn read(authorizer: &RwLock<Authorizer>) -> RwLockReadGuard<'_, Authorizer> {
    authorizer.read().expect("no panic while the rules are locked")
}

fn write(authorizer: &RwLock<Authorizer>) -> std::sync::RwLockWriteGuard<'_, Authorizer> {
    authorizer.write().expect("no panic while the rules are locked")
}
