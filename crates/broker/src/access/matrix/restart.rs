//! What was decided about users and rules is there after a restart.

use super::*;
use crate::users::Change;
use keyway_access::{ScramCredential, ScramMechanism};

#[tokio::test]
async fn rules_and_users_outlive_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let rules = [rule(Pattern::prefixed(Topic, "own"), Operation::Read, Permission::Allow)];
    let credential = ScramCredential::of_password(ScramMechanism::Sha256, "secret", vec![7; 16], 4_096);
    let before = node_on(store.clone(), &[]).await;
    set_rules(&before, &rules).await;
    let change = Change::Set { name: "alice".to_owned(), credential: credential.clone() };
    before.users.change(vec![change]).await.expect("stored");
    drop(before);

    let after = node_on(store, &[]).await;
    assert_eq!(after.access.rules(&RuleFilter::ALL).expect("there is an authorizer"), rules);
    assert!(after.users.credentials("alice").values().eq([&credential]));
    assert!(after.access.allows(&caller("alice"), Operation::Read, Resource::topic("own-topic")));
    assert!(!after.access.allows(&caller("alice"), Operation::Write, Resource::topic("own-topic")));
}
