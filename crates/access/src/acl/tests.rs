//! The rules against a naive reading of Kafka's, and by name where Kafka's are surprising.

use super::*;
use crate::{Operation, Principal, Resource, ResourceType};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::net::IpAddr;

mod reference;

const NAMES: &[&str] = &["*", "a", "ab", "abc", "b", "ba", "h", "hardcode", "é", "éa", "kafka-cluster"];
const PRINCIPALS: &[&str] = &["User:*", "User:alice", "User:alice", "User:bob", "Group:alice", "User:a:b"];
const HOSTS: &[&str] =
    &["*", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "::1", "0:0:0:0:0:0:0:1", "localhost"];
/// Few, so that rules meet: what implies others, what is implied, and what is neither.
const OPERATIONS: &[Operation] = &[
    Operation::All,
    Operation::Read,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::Create,
];

const ADDRESSES: &[&str] = &["10.0.0.1", "10.0.0.2", "::1", "::ffff:10.0.0.2"];

fn rule() -> impl Strategy<Value = Rule> {
    let pattern = (select(&ResourceType::ALL[..2]), select(NAMES), any::<bool>());
    let operation = select(OPERATIONS);
    (pattern, select(PRINCIPALS), select(HOSTS), operation, select(vec![Permission::Allow, Permission::Deny]))
        .prop_map(|((kind, name, prefixed), principal, host, operation, permission)| Rule {
            pattern: if prefixed { Pattern::prefixed(kind, name) } else { Pattern::literal(kind, name) },
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation,
            permission,
        })
}

fn authorizer() -> impl Strategy<Value = (Vec<Rule>, Authorizer)> {
    let supers = vec(select(vec!["bob", "root"]), 0..2);
    let without = select(vec![Permission::Allow, Permission::Deny]);
    (vec(rule(), 0..12), supers, without).prop_map(|(list, supers, without_rule)| {
        let mut rules = Rules::default();
        list.iter().for_each(|rule| _ = rules.insert(rule.clone()));
        let super_users = supers.into_iter().map(Principal::user).collect();
        (list, Authorizer { rules, super_users, without_rule })
    })
}

fn subject_of(name: &str, address: &str) -> (Principal, IpAddr) {
    (Principal::user(name), address.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn decisions_are_those_of_the_reference(
        (list, authorizer) in authorizer(),
        user in select(vec!["alice", "alice", "bob", "*", "a:b"]),
        address in select(ADDRESSES),
        operation in select(&OPERATIONS[1..]),
        kind in select(&ResourceType::ALL[..3]),
        name in select(NAMES),
    ) {
        let (principal, address) = subject_of(user, address);
        let subject = Subject { principal: &principal, address };
        let resource = Resource { kind, name };
        let reference = reference::Reference { rules: &list, authorizer: &authorizer };
        let decision = authorizer.decide(subject, operation, resource);
        prop_assert_eq!(decision.allowed(), reference.allows(user, address, operation, kind, name));
        if let Decision::Rule(rule) = decision {
            prop_assert!(list.contains(rule) && rule.pattern.matches(resource));
        }
        let explained = authorizer.explain(subject, operation, resource);
        prop_assert_eq!(explained.decision, decision);
        let denied = matches!(decision, Decision::Rule(rule) if rule.permission == Permission::Deny);
        let mut without_denials = authorizer.clone();
        for rule in list.iter().filter(|rule| rule.permission == Permission::Deny) {
            without_denials.rules.remove(rule);
        }
        let would = matches!(without_denials.decide(subject, operation, resource), Decision::Rule(_));
        prop_assert_eq!(!explained.overridden.is_empty(), denied && would);
        let somewhere = authorizer.may_somewhere(subject, operation, kind);
        prop_assert_eq!(somewhere, reference.allows_somewhere(user, address, operation, kind));
    }

    #[test]
    fn rules_come_and_go_as_in_a_list(changes in vec((rule(), any::<bool>()), 0..60)) {
        let (mut rules, mut list) = (Rules::default(), Vec::<Rule>::new());
        for (rule, add) in changes {
            let there = list.contains(&rule);
            prop_assert_eq!(rules.contains(&rule), there);
            if add {
                prop_assert_eq!(rules.insert(rule.clone()), !there);
                list.retain(|one| *one != rule);
                list.push(rule);
            } else {
                prop_assert_eq!(rules.remove(&rule), there);
                list.retain(|one| *one != rule);
            }
            prop_assert_eq!(rules.len(), list.len());
        }
        let mut found: Vec<&Rule> = rules.iter().collect();
        found.sort_unstable();
        list.sort_unstable();
        prop_assert_eq!(found, list.iter().collect::<Vec<_>>());
        list.iter().for_each(|rule| _ = rules.remove(rule));
        prop_assert!(rules.is_empty() && rules.iter().next().is_none());
    }

    #[test]
    fn a_filter_that_matches_names_finds_what_decides(
        (list, authorizer) in authorizer(),
        name in option::of(select(NAMES)),
        kind in option::of(select(&ResourceType::ALL[..2])),
    ) {
        let name = name.map(str::to_owned);
        let by = |pattern| RuleFilter { resource_type: kind, name: name.clone(), pattern, ..RuleFilter::ALL };
        for rule in authorizer.rules.iter() {
            let of_kind = kind.is_none_or(|kind| kind == rule.pattern.resource_type);
            let same_name = name.as_ref().is_none_or(|name| *name == rule.pattern.name);
            let literal = rule.pattern.pattern_type == PatternType::Literal;
            prop_assert_eq!(by(PatternFilter::Any).matches(rule), of_kind && same_name);
            prop_assert_eq!(by(PatternFilter::Literal).matches(rule), of_kind && same_name && literal);
            prop_assert_eq!(by(PatternFilter::Prefixed).matches(rule), of_kind && same_name && !literal);
            let matched = name.as_ref().is_none_or(|name| {
                let resource = Resource { kind: rule.pattern.resource_type, name };
                rule.pattern.matches(resource)
            });
            prop_assert_eq!(by(PatternFilter::Match).matches(rule), of_kind && matched);
        }
        prop_assert_eq!(list.iter().all(|rule| RuleFilter::ALL.matches(rule)), true);
    }
}

#[test]
fn a_rule_that_cannot_be_is_refused() {
    let good = Rule {
        pattern: Pattern::literal(ResourceType::Topic, "orders"),
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: Operation::Read,
        permission: Permission::Allow,
    };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(good.to_string(), "User:alice may Read Topic orders from *");
    let named = |kind, name: &str| Rule { pattern: Pattern::literal(kind, name), ..good.clone() };
    assert_eq!(named(ResourceType::Topic, "").check(), Err(RuleError::NoName));
    assert_eq!(named(ResourceType::Cluster, "orders").check(), Err(RuleError::Cluster));
    assert_eq!(named(ResourceType::Cluster, "kafka-cluster").check(), Ok(()));
    assert_eq!(Rule { host: String::new(), ..good.clone() }.check(), Err(RuleError::NoHost));
    let nobody = Rule { principal: "alice".to_owned(), ..good.clone() };
    assert_eq!(nobody.check(), Err(RuleError::Principal { principal: "alice".to_owned() }));
    let long = Rule { principal: format!("User:{}", "a".repeat(5_000)), ..good };
    assert_eq!(long.check(), Err(RuleError::TooLong { what: "principal", bytes: 5_005 }));
}

#[test]
fn codes_are_kafkas() {
    assert_eq!(Permission::from_code(2), Some(Permission::Deny));
    assert_eq!(Permission::from_code(1), None);
    assert_eq!(PatternType::from_code(4), Some(PatternType::Prefixed));
    assert_eq!(PatternType::from_code(2), None);
    assert_eq!(PatternFilter::from_code(2), Some(PatternFilter::Match));
    assert_eq!(PatternFilter::from_code(0), None);
}
