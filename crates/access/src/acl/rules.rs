//! All rules, and what they say: the decisions of Kafka's StandardAuthorizer.
//!
//! Rules lie by their pattern and, inside it, by their user, so that a decision looks at those alone that may be about it.
//! The prefixes of a name are found in the sorted patterns by jumps: from the name to the greatest pattern that is not
//! after it, and where that is no prefix on to what the two have in common.

use super::{Pattern, PatternType, Permission, Rule, pattern::EVERY_NAME, rule::host_matches};
use crate::{Operation, Principal, Resource, ResourceType};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

/// The user that stands for everybody.
const EVERYBODY: &str = "*";

/// The rules of patterns of one kind, by name. Bytes, as what two names have in common may end inside a character.
type ByName = BTreeMap<Box<[u8]>, OfPattern>;

/// The rules of one pattern.
#[derive(Clone, Debug, Default)]
struct OfPattern {
    users: BTreeMap<Box<str>, Vec<Rule>>,
    /// Those about principals of another type, which nobody is.
    others: Vec<Rule>,
}

impl OfPattern {
    /// The rules about a user, and those about everybody.
    fn about(&self, principal: &Principal) -> impl Iterator<Item = &Rule> {
        let everybody = (principal.name() != EVERYBODY).then(|| self.users.get(EVERYBODY)).flatten();
        self.users.get(principal.name()).into_iter().chain(everybody).flatten()
    }

    fn all(&self) -> impl Iterator<Item = &Rule> {
        self.users.values().flatten().chain(&self.others)
    }

    /// The rules of the same principal as `rule`, or of the same kind of principal.
    fn beside(&self, rule: &Rule) -> &[Rule] {
        match rule.user() {
            Some(user) => self.users.get(user).map_or(&[], Vec::as_slice),
            None => &self.others,
        }
    }

    fn insert(&mut self, rule: Rule) {
        match rule.user() {
            Some(user) => self.users.entry(user.into()).or_default().push(rule),
            None => self.others.push(rule),
        }
    }

    fn remove(&mut self, rule: &Rule) {
        match rule.user() {
            Some(user) => {
                let rules = self.users.get_mut(user).expect("the rule is there");
                rules.retain(|one| one != rule);
                if rules.is_empty() {
                    self.users.remove(user);
                }
            }
            None => self.others.retain(|one| one != rule),
        }
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.others.is_empty()
    }
}

/// Every rule there is.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    literal: [ByName; ResourceType::ALL.len()],
    prefixed: [ByName; ResourceType::ALL.len()],
    len: usize,
}

/// Who wants something done, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// From where.
    pub address: IpAddr,
}

/// What decides about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<'a> {
    /// Super users may do everything.
    SuperUser,
    /// This rule grants or takes it.
    Rule(&'a Rule),
    /// There are rules about the resource, and none of them grants it.
    NotGranted,
    /// There is no rule about the resource, and without one everybody may or nobody.
    NoRule(Permission),
}

impl Decision<'_> {
    /// Whether it may be done.
    #[must_use]
    pub fn allowed(&self) -> bool {
        match self {
            Self::SuperUser | Self::NoRule(Permission::Allow) => true,
            Self::Rule(rule) => rule.permission == Permission::Allow,
            Self::NotGranted | Self::NoRule(Permission::Deny) => false,
        }
    }
}

/// The rules, and what holds besides them.
#[derive(Clone, Debug)]
pub struct Authorizer {
    /// The rules.
    pub rules: Rules,
    /// Who may do everything.
    pub super_users: BTreeSet<Principal>,
    /// What holds for resources that no rule is about.
    pub without_rule: Permission,
}

impl Authorizer {
    /// Whether `subject` may do `operation` to `resource`, and why.
    #[must_use]
    pub fn decide(&self, subject: Subject<'_>, operation: Operation, resource: Resource<'_>) -> Decision<'_> {
        if self.super_users.contains(subject.principal) {
            return Decision::SuperUser;
        }
        let mut about = false;
        let mut granted = None;
        for rules in self.rules.about(resource) {
            about = true;
            for rule in rules.about(subject.principal) {
                match rule.says(operation, subject.address) {
                    Some(Permission::Deny) => return Decision::Rule(rule),
                    Some(Permission::Allow) => granted = granted.or(Some(rule)),
                    None => {}
                }
            }
        }
        match granted {
            Some(rule) => Decision::Rule(rule),
            None if about => Decision::NotGranted,
            None => Decision::NoRule(self.without_rule),
        }
    }

    /// Whether `subject` may do `operation` to at least one resource of this type that there might be.
    #[must_use]
    pub fn may_somewhere(&self, subject: Subject<'_>, operation: Operation, kind: ResourceType) -> bool {
        // Kafka asks first about a name that nobody has: super users may, and everybody where rules are missing.
        let nobodys = Resource { kind, name: "hardcode" };
        if self.decide(subject, operation, nobodys).allowed() {
            return true;
        }
        // What an operation implies does not count here.
        let says = |rules: &OfPattern, permission| {
            rules.about(subject.principal).any(|rule| {
                rule.permission == permission
                    && (rule.operation == operation || rule.operation == Operation::All)
                    && host_matches(&rule.host, subject.address)
            })
        };
        let (literal, prefixed) = (&self.rules.literal[index(kind)], &self.rules.prefixed[index(kind)]);
        let every = literal.get(EVERY_NAME.as_bytes());
        if every.is_some_and(|rules| says(rules, Permission::Deny)) {
            return false;
        }
        if every.is_some_and(|rules| says(rules, Permission::Allow)) {
            return true;
        }
        let denied_prefix = |name: &[u8]| prefixes(prefixed, name).any(|rules| says(rules, Permission::Deny));
        let allowed = |name: &[u8], rules| says(rules, Permission::Allow) && !denied_prefix(name);
        literal.iter().any(|(name, rules)| allowed(name, rules) && !says(rules, Permission::Deny))
            || prefixed.iter().any(|(name, rules)| allowed(name, rules))
    }
}

impl Rules {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in an order of their own.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        let names = self.literal.iter().chain(&self.prefixed).flat_map(BTreeMap::values);
        names.flat_map(OfPattern::all)
    }

    /// Whether this very rule is there.
    #[must_use]
    pub fn contains(&self, rule: &Rule) -> bool {
        let rules = self.names(&rule.pattern).get(rule.pattern.name.as_bytes());
        rules.is_some_and(|rules| rules.beside(rule).contains(rule))
    }

    /// Adds a rule; false if it is there already.
    pub fn insert(&mut self, rule: Rule) -> bool {
        if self.contains(&rule) {
            return false;
        }
        let names = self.names_mut(&rule.pattern);
        names.entry(rule.pattern.name.as_bytes().into()).or_default().insert(rule);
        self.len += 1;
        true
    }

    /// Takes a rule away; false if it is not there.
    pub fn remove(&mut self, rule: &Rule) -> bool {
        if !self.contains(rule) {
            return false;
        }
        let name = rule.pattern.name.as_bytes();
        let names = self.names_mut(&rule.pattern);
        let rules = names.get_mut(name).expect("the rule is there");
        rules.remove(rule);
        if rules.is_empty() {
            names.remove(name);
        }
        self.len -= 1;
        true
    }

    /// The rules whose patterns match `resource`, those of longer names first.
    fn about(&self, resource: Resource<'_>) -> impl Iterator<Item = &OfPattern> {
        let index = index(resource.kind);
        let literal = &self.literal[index];
        let every = (resource.name != EVERY_NAME).then(|| literal.get(EVERY_NAME.as_bytes())).flatten();
        let exact = literal.get(resource.name.as_bytes());
        exact.into_iter().chain(prefixes(&self.prefixed[index], resource.name.as_bytes())).chain(every)
    }

    fn names(&self, pattern: &Pattern) -> &ByName {
        match pattern.pattern_type {
            PatternType::Literal => &self.literal[index(pattern.resource_type)],
            PatternType::Prefixed => &self.prefixed[index(pattern.resource_type)],
        }
    }

    fn names_mut(&mut self, pattern: &Pattern) -> &mut ByName {
        match pattern.pattern_type {
            PatternType::Literal => &mut self.literal[index(pattern.resource_type)],
            PatternType::Prefixed => &mut self.prefixed[index(pattern.resource_type)],
        }
    }
}

fn index(kind: ResourceType) -> usize {
    (kind.code() - ResourceType::ALL[0].code()) as usize
}

/// The patterns that `name` begins with, longer ones first.
fn prefixes<'a>(patterns: &'a ByName, name: &[u8]) -> impl Iterator<Item = &'a OfPattern> {
    let mut rest = name;
    let mut bound = Bound::Included(name);
    std::iter::from_fn(move || {
        loop {
            let (found, rules) = patterns.range::<[u8], _>((Bound::Unbounded, bound)).next_back()?;
            let common = rest.iter().zip(&**found).take_while(|(a, b)| a == b).count();
            rest = &rest[..common];
            if common == found.len() {
                bound = Bound::Excluded(rest);
                return Some(rules);
            }
            bound = Bound::Included(rest);
        }
    })
}
