//! Rules of a broker that does not run: how the first ones come to be, by which others can be made over the network.

use super::{Access, AuditLog, Caller, RuleChangeError};
use crate::{producer_ids::ProducerIdSource, settings::AuthorizerSettings};
use keyway_access::acl::{Permission, Rule, RuleError, RuleFilter};
use keyway_log::LogStore;
use keyway_runtime::World;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// The rules in the store of a broker that does not run.
pub struct OfflineRules {
    access: Access,
}

/// Why rules cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineRulesError {
    /// A rule cannot be.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The records cannot be read or written, or there are too many.
    #[error("the rules cannot be read or changed: {0}")]
    Store(String),
}

impl From<RuleChangeError> for OfflineRulesError {
    fn from(error: RuleChangeError) -> Self {
        Self::Store(error.to_string())
    }
}

impl OfflineRules {
    /// Reads the rules in `store`.
    pub fn open(world: &World, store: &Arc<dyn LogStore>) -> Result<Self, OfflineRulesError> {
        let failed =
            |error: crate::internal_topic::InternalTopicError| OfflineRulesError::Store(error.to_string());
        let records = ProducerIdSource::recover(world, store).map_err(failed)?;
        // Rules are kept whether or not the next start follows them.
        let settings = AuthorizerSettings { super_users: BTreeSet::new(), without_rule: Permission::Deny };
        let audit = AuditLog::new(None, true, world);
        let access = Access::recover(Some(&settings), &audit, records.records()).map_err(failed)?;
        Ok(Self { access })
    }

    /// The rules that match.
    #[must_use]
    pub fn list(&self, filter: &RuleFilter) -> Vec<Rule> {
        self.access.rules(filter).expect("rules are kept here")
    }

    /// Adds the rules that are not there yet; durable when this returns.
    pub async fn add(&self, rules: Vec<Rule>) -> Result<(), OfflineRulesError> {
        rules.iter().try_for_each(Rule::check)?;
        Ok(self.access.add(&operator(), rules).await?)
    }

    /// Removes the rules that match, and tells which they were; durable when this returns.
    pub async fn remove(&self, filter: &RuleFilter) -> Result<Vec<Rule>, OfflineRulesError> {
        let removed = self.access.remove(&operator(), std::slice::from_ref(filter)).await?;
        Ok(removed.into_iter().flatten().collect())
    }
}

/// Whoever has the broker's folder.
fn operator() -> Caller {
    Caller::anonymous(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "OFFLINE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_access::{
        Operation, ResourceType,
        acl::{Pattern, PatternFilter},
    };
    use keyway_log::MemoryStore;

    #[tokio::test]
    async fn rules_outlive_those_who_made_them() {
        let (world, store): (_, Arc<dyn LogStore>) = (World::real(), Arc::new(MemoryStore::new()));
        let rule = |name: &str| Rule {
            pattern: Pattern::prefixed(ResourceType::Topic, name),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        let rules = OfflineRules::open(&world, &store).unwrap();
        rules.add(vec![rule("a"), rule("b"), rule("a")]).await.unwrap();
        assert!(matches!(rules.add(vec![rule("")]).await, Err(OfflineRulesError::Rule(RuleError::NoName))));
        let a =
            RuleFilter { name: Some("a".to_owned()), pattern: PatternFilter::Prefixed, ..RuleFilter::ALL };
        assert_eq!(rules.remove(&a).await.unwrap(), [rule("a")]);
        assert!(rules.remove(&a).await.unwrap().is_empty());
        let again = OfflineRules::open(&world, &store).unwrap();
        assert_eq!(again.list(&RuleFilter::ALL), [rule("b")]);
    }
}
