//! The authorization matrix: every API × rules × resources against a reference that knows nothing but the rules and what
//! each API needs. An API that is advertised and has no row fails the test.

mod audited;
mod changes;
mod grpc;
mod holes;
mod http;
mod needs;
mod reference;
mod requests;
mod restart;

use super::Caller;
use crate::{
    kafka::{self, Reply},
    listeners::Listening,
    node::Node,
    quotas::Mute,
    topics::TopicSettings,
};
use bytes::Bytes;
use keyway_access::{
    Operation, Principal, Resource,
    ResourceType::{self, Cluster, Group, Topic, TransactionalId},
    acl::{Pattern, Permission, Rule, RuleFilter},
};
use keyway_kafka_wire::{
    API_VERSIONS, ApiKey, Decoder,
    messages::{Request, Response},
    request_frame,
};
use keyway_log::MemoryStore;
use keyway_record::TopicName;
use keyway_runtime::World;
use needs::{Need, ROWS, Row};
use reference::Reference;
use requests::Names;
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Codes of refusals: topic, group, cluster, transactional id.
const DENIED: [i16; 4] = [29, 30, 31, 53];

/// The names of a case; rules are about what begins with `own`.
const OWN: Names<'_> = Names { topic: "own-topic", group: "own-group", transactional_id: "own-id" };
const FOREIGN: Names<'_> =
    Names { topic: "foreign-topic", group: "foreign-group", transactional_id: "foreign-id" };
const MISSING: Names<'_> =
    Names { topic: "own-missing", group: "own-nobody", transactional_id: "own-unused" };

async fn node(settings: &[(&str, &str)]) -> Arc<Node> {
    node_on(Arc::new(MemoryStore::new()), settings).await
}

async fn node_on(store: Arc<MemoryStore>, settings: &[(&str, &str)]) -> Arc<Node> {
    node_of(config(settings), store).await
}

/// A broker with an authorizer, whose super user is root.
fn config(settings: &[(&str, &str)]) -> crate::Config {
    let authorizer = [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:root"),
    ];
    let settings = authorizer.iter().chain(settings);
    let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    crate::Config { settings, ..crate::Config::default() }
}

async fn node_of(config: crate::Config, store: Arc<MemoryStore>) -> Arc<Node> {
    let listening = Listening::planned(&config);
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    Node::recover(config, listening, World::real(), store, stopping, tasks).await.expect("a new store")
}

fn caller(user: &str) -> Caller {
    let address = "10.0.0.1:40000".parse().expect("an address");
    Caller { principal: Principal::user(user), address, listener: "PLAINTEXT".to_owned() }
}

/// The answer to a request, as its client reads it.
async fn answer(node: &Arc<Node>, caller: &Caller, request: &Request, version: i16) -> Response {
    let api = request.api_key();
    let body = |out: &mut _| request.encode(out, version);
    let frame = request_frame(api, version, 7, Some("matrix"), body);
    let frame = frame.unwrap_or_else(|error| panic!("{} {version}: {error}", api.name()));
    let pieces =
        match kafka::handle(node, &Arc::new(caller.clone()), &Mute::default(), frame.slice(4..)).await {
            Reply::Now(pieces) | Reply::Last(pieces, _) => pieces,
            Reply::Later(pieces) | Reply::Poll(pieces) => pieces.await.expect("an answer"),
            Reply::Nothing => panic!("{} {version} is not answered", api.name()),
            Reply::Close(reason) => panic!("{} {version} closes: {reason}", api.name()),
        };
    let head_len = 8 + usize::from(api.response_header_version(version) == 1);
    let mut body = Decoder::new(Bytes::from(pieces.concat()).slice(head_len..));
    Response::decode(api, &mut body, version)
        .unwrap_or_else(|error| panic!("{} {version}: {error}", api.name()))
}

/// All refusals that a response tells of, by their codes.
fn denials(response: &Response) -> BTreeSet<i16> {
    // That configs are not told is no refusal of the request.
    let text = format!("{response:?}").replace("topic_config_error_code", "");
    let codes = text.split("error_code: ").skip(1).map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '-').expect("more follows");
        rest[..digits].parse::<i16>().expect("a code")
    });
    codes.filter(|code| DENIED.contains(code)).collect()
}

fn code_of(kind: ResourceType) -> i16 {
    match kind {
        Topic => 29,
        Group => 30,
        TransactionalId => 53,
        _ => 31,
    }
}

fn name_of(kind: ResourceType, names: Names<'_>) -> String {
    match kind {
        Topic => names.topic,
        Group => names.group,
        TransactionalId => names.transactional_id,
        _ => Resource::CLUSTER.name,
    }
    .to_owned()
}

/// What is refused, by its code; nothing if everything that the row needs is allowed.
fn expected(row: &Row, names: Names<'_>, reference: &Reference<'_>) -> BTreeSet<i16> {
    let met = |need: &Need| match *need {
        Need::On(operation, kind) => reference.allows(operation, kind, &name_of(kind, names)),
        Need::DeleteExisting => {
            names.topic == MISSING.topic || reference.allows(Operation::Delete, Topic, names.topic)
        }
        Need::WriteSomewhere => reference.may_write_somewhere(),
    };
    let unmet = row.needs.iter().find(|ways| !ways.iter().any(met));
    let code = unmet.and_then(|ways| ways.last()).map(|need| match need {
        Need::On(_, kind) => code_of(*kind),
        Need::DeleteExisting | Need::WriteSomewhere => code_of(Topic),
    });
    code.into_iter().collect()
}

fn rule(pattern: Pattern, operation: Operation, permission: Permission) -> Rule {
    let (principal, host) = ("User:alice".to_owned(), "*".to_owned());
    Rule { pattern, principal, host, operation, permission }
}

/// Rules about one need: how its grant and its denial may look. They are about what is called `own…`.
fn grants(operation: Operation, kind: ResourceType, names: Names<'_>) -> Vec<(&'static str, Vec<Rule>)> {
    let name = name_of(kind, names);
    let prefix: String = name.chars().take(3).collect();
    let (literal, prefixed) = (Pattern::literal(kind, name), Pattern::prefixed(kind, prefix));
    let every = Pattern::literal(kind, "*");
    let allow = |pattern: &Pattern| rule(pattern.clone(), operation, Permission::Allow);
    let deny = |pattern: &Pattern| rule(pattern.clone(), operation, Permission::Deny);
    let all = |pattern: &Pattern| rule(pattern.clone(), Operation::All, Permission::Allow);
    vec![
        ("no rule", vec![]),
        ("literal", vec![allow(&literal)]),
        ("prefixed", vec![allow(&prefixed)]),
        ("wildcard", vec![allow(&every)]),
        ("every operation", vec![all(&literal)]),
        ("deny over allow", vec![allow(&literal), deny(&literal)]),
        ("deny of a prefix over allow", vec![allow(&literal), all(&every), deny(&prefixed)]),
        ("deny of all over allow", vec![allow(&literal), deny(&every)]),
        ("everybody", vec![Rule { principal: "User:*".to_owned(), ..allow(&literal) }]),
        ("own host", vec![Rule { host: "10.0.0.1".to_owned(), ..allow(&literal) }]),
        ("other host", vec![Rule { host: "10.0.0.2".to_owned(), ..allow(&literal) }]),
        ("other user", vec![Rule { principal: "User:bob".to_owned(), ..all(&literal) }]),
        (
            "deny of another",
            vec![
                allow(&literal),
                Rule { principal: "User:bob".to_owned(), ..deny(&literal) },
                Rule { host: "10.0.0.2".to_owned(), ..deny(&literal) },
            ],
        ),
    ]
}

/// What a row may ask for.
fn needs_of(row: &Row) -> Vec<(Operation, ResourceType)> {
    (row.needs.iter().flat_map(|ways| ways.iter()))
        .map(|need| match *need {
            Need::On(operation, kind) => (operation, kind),
            Need::DeleteExisting => (Operation::Delete, Topic),
            Need::WriteSomewhere => (Operation::Write, Topic),
        })
        .collect()
}

/// Rule sets: for each need every form of its grant, while the others are granted.
fn rule_sets(needs: &[(Operation, ResourceType)], names: Names<'_>) -> Vec<(String, Vec<Rule>)> {
    let granted = |&(operation, kind): &(Operation, ResourceType)| {
        rule(Pattern::literal(kind, name_of(kind, names)), operation, Permission::Allow)
    };
    let mut sets = vec![("nothing".to_owned(), Vec::new())];
    for (place, &(operation, kind)) in needs.iter().enumerate() {
        let others: Vec<_> =
            (needs.iter().enumerate()).filter(|(at, _)| *at != place).map(|(_, one)| one).collect();
        for (form, rules) in grants(operation, kind, names) {
            // With the other needs granted, and where they are other ways to the same, without.
            let with = others.iter().map(|other| granted(other)).chain(rules.iter().cloned()).collect();
            sets.push((format!("{form} for {operation:?} {kind:?}"), with));
            sets.push((format!("only {form} for {operation:?} {kind:?}"), rules));
        }
    }
    sets
}

/// The topics that a case expects: those that others made or deleted are as before.
async fn restore(node: &Arc<Node>) {
    for name in [OWN.topic, FOREIGN.topic] {
        if node.topics.named(name).is_none() {
            let name = TopicName::new(name).expect("a name");
            node.topics.create(name, 1, TopicSettings::default()).await.expect("created");
        }
    }
    if let Some(topic) = node.topics.named(MISSING.topic) {
        node.delete_topic(&topic).await.expect("deleted");
    }
}

/// Makes a group, so that a request is not refused for its absence before its topics are looked at.
async fn commit(node: &Arc<Node>, group: &str) {
    let row = ROWS.iter().find(|row| row.api == ApiKey::OffsetCommit).expect("there is a row");
    let request = requests::request(row, 8, Names { group, ..OWN });
    assert!(denials(&answer(node, &caller("root"), &request, 8).await).is_empty());
}

async fn set_rules(node: &Arc<Node>, rules: &[Rule]) {
    let root = caller("root");
    node.access.remove(&root, &[RuleFilter::ALL]).await.expect("removed");
    node.access.add(&root, rules.to_vec()).await.expect("added");
}

/// What became of the cases of a matrix.
#[derive(Default)]
struct Tally {
    cases: u32,
    refused: u32,
    bypasses: Vec<String>,
}

impl Tally {
    /// Counts a case: whether it had to be refused, and what was done instead of what had to be.
    fn count(&mut self, is_refused: bool, bypass: Option<String>) {
        self.cases += 1;
        self.refused += u32::from(is_refused);
        self.bypasses.extend(bypass);
    }

    /// Fails if there was a bypass, or too few cases to tell.
    fn check(&self) {
        let Self { cases, refused, bypasses } = self;
        println!("{cases} cases, {refused} of them refused");
        let first = &bypasses[..bypasses.len().min(40)];
        assert!(
            bypasses.is_empty(),
            "{} of {cases} cases are not as they should be: {first:#?}",
            bypasses.len()
        );
        assert!(*cases >= 5_000 && *refused >= cases / 4, "{cases} cases, {refused} of them refused");
    }
}

#[tokio::test]
async fn nobody_may_what_the_rules_do_not_grant_and_everybody_what_they_do() {
    for advertised in API_VERSIONS {
        let has_row = ROWS.iter().any(|row| row.api == advertised.api);
        // Whoever logs in has no rights yet to be asked for.
        let is_login = advertised.api.name().starts_with("Sasl");
        assert!(has_row || is_login, "{} has no row in the authorization matrix", advertised.api.name());
    }
    let node = node(&[("auto.create.topics.enable", "false")]).await;
    let mut tally = Tally::default();
    for row in ROWS {
        for (rules_of, rules_for) in [("own", OWN), ("missing", MISSING)] {
            for (form, rules) in rule_sets(&needs_of(row), rules_for) {
                set_rules(&node, &rules).await;
                let mut names = vec![("foreign", FOREIGN)];
                names.push((rules_of, rules_for));
                for (which, names) in names {
                    for version in row.versions.clone() {
                        for user in ["alice", "root"] {
                            if user == "root" && version != *row.versions.end() {
                                continue;
                            }
                            restore(&node).await;
                            if row.api == ApiKey::OffsetDelete {
                                commit(&node, names.group).await;
                            }
                            let reference = Reference { rules: &rules, is_super_user: user == "root" };
                            let request = requests::request(row, version, names);
                            let response = answer(&node, &caller(user), &request, version).await;
                            let wanted = expected(row, names, &reference);
                            let found = denials(&response);
                            let bypass = (found != wanted).then(|| format!(
                                    "{} {version} {} as {user} of {which} with {form}: {found:?}, not {wanted:?}",
                                    row.api.name(),
                                    row.variant,
                                ));
                            tally.count(!wanted.is_empty(), bypass);
                        }
                    }
                }
            }
        }
    }
    tally.check();
}
