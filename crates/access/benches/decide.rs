//! What one decision costs with 1,000 rules.
//!
//! ```sh
//! cargo bench -p keyway-access
//! ```
//!
//! Nanoseconds by the wall clock, the least of several passes.
#![allow(clippy::disallowed_methods)]

use keyway_access::{
    Operation, Principal, Resource, ResourceType,
    acl::{Authorizer, Pattern, Permission, Rule, Rules, Subject},
};
use std::{hint::black_box, time::Instant};

const RULES: usize = 1_000;
const DECISIONS: u32 = 20_000;
const PASSES: usize = 5;

/// Its name, the topic asked for, and the rule of each number.
type Case<'a> = (&'a str, &'a str, fn(usize) -> Rule);

fn main() {
    let own_name = "o".repeat(RULES);
    let cases: [Case<'_>; 4] = [
        ("a literal rule each for 1,000 topics", "orders-500", |n| {
            rule(Pattern::literal(ResourceType::Topic, format!("orders-{n}")), "alice")
        }),
        ("1,000 rules of other prefixes", "orders-500", |n| {
            rule(Pattern::prefixed(ResourceType::Topic, format!("team-{n}-")), "alice")
        }),
        ("1,000 users of one topic", "orders-500", |n| {
            rule(Pattern::literal(ResourceType::Topic, "orders-500"), &format!("user-{n}"))
        }),
        ("1,000 prefixes of the topic's own name", &own_name, |n| {
            rule(Pattern::prefixed(ResourceType::Topic, "o".repeat(n + 1)), "bob")
        }),
    ];
    for (name, topic, make) in cases {
        let mut rules = Rules::default();
        (0..RULES).for_each(|n| assert!(rules.insert(make(n))));
        rules.insert(rule(Pattern::prefixed(ResourceType::Topic, "orders-"), "alice"));
        let authorizer = Authorizer { rules, super_users: [].into(), without_rule: Permission::Deny };
        let principal = Principal::user("alice");
        let subject = Subject { principal: &principal, address: [127, 0, 0, 1].into() };
        let pass = || {
            let begin = Instant::now();
            for _ in 0..DECISIONS {
                black_box(authorizer.decide(subject, Operation::Write, black_box(Resource::topic(topic))));
            }
            begin.elapsed().as_nanos() / u128::from(DECISIONS)
        };
        let least = (0..PASSES).map(|_| pass()).min().expect("there are passes");
        println!("{least:>7} ns  {name}");
    }
}

fn rule(pattern: Pattern, user: &str) -> Rule {
    let (principal, host) = (format!("User:{user}"), "*".to_owned());
    Rule { pattern, principal, host, operation: Operation::Write, permission: Permission::Allow }
}
