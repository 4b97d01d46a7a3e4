//! The authorization matrix over HTTP: every route × logins × rules × resources. A route that is served and has no row here
//! fails the test.

use super::*;
use crate::{admin, fronts::Peer, users::Change};
use axum::{
    Router,
    body::Body,
    http::{
        self, Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    },
};
use keyway_access::{
    Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read},
    ScramCredential, ScramMechanism,
};
use tonic::codegen::Service;

/// What HTTP clients have to log in with; a wrong login does not wait.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,HTTP:SASL_PLAINTEXT"),
    ("listener.name.http.sasl.enabled.mechanisms", "PLAIN"),
    ("connection.failed.authentication.delay.ms", "0"),
];

/// Who may not come in, whatever the rules say.
const NOBODY: [(&str, &str); 4] = [
    ("no login", ""),
    ("a wrong password", "Bearer alice:wrong"),
    ("an unknown user", "Bearer nobody:secret"),
    ("a wrong super user", "Bearer root:wrong"),
];

/// A route and what it takes, all of it; a subscription is a group.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    needs: &'static [(Operation, ResourceType)],
    body: &'static str,
}

const fn get(path: &'static str, needs: &'static [(Operation, ResourceType)]) -> Route {
    Route { method: Method::GET, path, needs, body: "" }
}

const fn change(
    method: Method,
    path: &'static str,
    needs: &'static [(Operation, ResourceType)],
    body: &'static str,
) -> Route {
    Route { method, path, needs, body }
}

const SEE_ALL: &[(Operation, ResourceType)] = &[(Describe, Cluster)];
const WORK: &[(Operation, ResourceType)] = &[(Read, Topic), (Read, Group)];

pub(super) const ROUTES: &[Route] = &[
    get("/healthz", &[]),
    get("/readyz", &[]),
    get("/metrics", SEE_ALL),
    get("/api/v1/subscriptions", SEE_ALL),
    get("/api/v1/topics/{topic}/subscriptions/{name}", &[(Describe, Topic), (Describe, Group)]),
    change(Method::PUT, "/api/v1/topics/{topic}/subscriptions/{name}", WORK, "{}"),
    change(
        Method::DELETE,
        "/api/v1/topics/{topic}/subscriptions/{name}",
        &[(Describe, Topic), (Delete, Group)],
        "",
    ),
    get("/api/v1/topics/{topic}/subscriptions/{name}/keys", WORK),
    get("/api/v1/topics/{topic}/subscriptions/{name}/key", WORK),
    change(Method::POST, "/api/v1/topics/{topic}/subscriptions/{name}/seek", WORK, r#"{"to":"latest"}"#),
    change(Method::POST, "/api/v1/topics/{topic}/subscriptions/{name}/release", WORK, "{}"),
    get("/api/v1/topics/{topic}/subscriptions/{name}/policy", &[(Describe, Topic), (DescribeConfigs, Group)]),
    change(
        Method::PATCH,
        "/api/v1/topics/{topic}/subscriptions/{name}/policy",
        &[(Describe, Topic), (AlterConfigs, Group)],
        r#"{"unacked_max":5}"#,
    ),
    get("/api/v1/damaged-records", SEE_ALL),
    get("/api/v1/dead-letters", SEE_ALL),
    get("/api/v1/dead-letters/{topic}", &[(Read, Topic)]),
    change(
        Method::POST,
        "/api/v1/dead-letters/{topic}/replay",
        &[(Read, Topic), (Delete, Topic), (Alter, Cluster)],
        r#"{"to":"foreign-topic"}"#,
    ),
    change(Method::POST, "/api/v1/dead-letters/{topic}/purge", &[(Read, Topic), (Delete, Topic)], "{}"),
];

/// The HTTP port without its socket.
pub(super) struct Port {
    node: Arc<Node>,
    router: Router,
}

impl Port {
    /// With the users alice and root, whose password is `secret`.
    pub(super) async fn of(node: &Arc<Node>) -> Self {
        let set = |name: &str| {
            let mechanism = ScramMechanism::Sha256;
            let credential = ScramCredential::of_password(mechanism, "secret", vec![7; 16], 4_096);
            Change::Set { name: name.to_owned(), credential }
        };
        node.users.change(["alice", "root"].map(set).into()).await.expect("stored");
        let router = admin::router(node.clone(), "127.0.0.1:8080".parse().expect("an address"));
        Self { node: node.clone(), router }
    }

    /// A connection of a client that has not logged in yet.
    pub(super) fn connect(&self) -> Arc<Peer> {
        let endpoint = &self.node.listeners.http;
        let address = "10.0.0.1:40000".parse().expect("an address");
        Arc::new(Peer::new(endpoint.clone(), Caller::anonymous(address, endpoint.name.clone())))
    }

    /// The answer's status.
    pub(super) async fn ask(
        &mut self,
        peer: &Arc<Peer>,
        login: &str,
        route: &Route,
        names: Names<'_>,
    ) -> StatusCode {
        let path = route.path.replace("{topic}", names.topic).replace("{name}", names.group);
        let query = if path.ends_with("/key") { "?key=k" } else { "" };
        let mut request = http::Request::builder()
            .method(route.method.clone())
            .uri(format!("{path}{query}"))
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json");
        if !login.is_empty() {
            request = request.header(AUTHORIZATION, login);
        }
        let mut request = request.body(Body::from(route.body)).expect("a request");
        request.extensions_mut().insert(peer.clone());
        self.router.call(request).await.expect("never fails").status()
    }
}

#[tokio::test]
async fn every_route_has_a_row() {
    let listed = |method: &Method, path: &str| format!("{method} {path}");
    let rows: BTreeSet<String> = ROUTES.iter().map(|route| listed(&route.method, route.path)).collect();
    assert_eq!(rows.len(), ROUTES.len(), "a route has two rows");
    let served = admin::listed(node(&[]).await);
    assert_eq!(rows, served.iter().map(|(method, path)| listed(method, path)).collect());
}

#[tokio::test]
async fn who_proves_nothing_is_asked_for_a_login_before_anything_else() {
    let node = node(SETTINGS).await;
    let mut port = Port::of(&node).await;
    restore(&node).await;
    let everything = [Topic, Group, Cluster].map(|kind| {
        let name = if kind == Cluster { Resource::CLUSTER.name } else { "*" };
        let principal = "User:*".to_owned();
        Rule { principal, ..rule(Pattern::literal(kind, name), Operation::All, Permission::Allow) }
    });
    for rules in [&everything[..], &[]] {
        set_rules(&node, rules).await;
        for route in ROUTES {
            for names in [OWN, FOREIGN, MISSING] {
                for (who, login) in NOBODY {
                    let peer = port.connect();
                    let status = port.ask(&peer, login, route, names).await;
                    let wanted =
                        if route.needs.is_empty() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                    assert_eq!(status, wanted, "{} {} with {who}", route.method, route.path);
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_may_over_http_what_the_rules_do_not_grant_and_everybody_what_they_do() {
    let node = node(SETTINGS).await;
    let mut port = Port::of(&node).await;
    let clients = ["alice", "root"].map(|user| (user, port.connect(), format!("Bearer {user}:secret")));
    let mut tally = Tally::default();
    for route in ROUTES {
        for (which, own) in [("own", OWN), ("missing", MISSING)] {
            for (form, rules) in rule_sets(route.needs, own) {
                set_rules(&node, &rules).await;
                for (which, names) in [("foreign", FOREIGN), (which, own)] {
                    for (user, peer, login) in &clients {
                        restore(&node).await;
                        let reference = Reference { rules: &rules, is_super_user: *user == "root" };
                        let met = |&(operation, kind): &(Operation, ResourceType)| {
                            reference.allows(operation, kind, &name_of(kind, names))
                        };
                        let wanted = route.needs.iter().all(met);
                        let status = port.ask(peer, login, route, names).await;
                        let may = ![StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status);
                        let bypass = (may != wanted).then(|| {
                            format!(
                                "{} {} as {user} of {which} with {form}: {status}, may: {wanted}",
                                route.method, route.path
                            )
                        });
                        tally.count(!wanted, bypass);
                    }
                }
            }
        }
    }
    tally.check();
}

/// Whoever may set a subscription's policy has the broker write to a topic.
#[tokio::test]
async fn a_policy_sends_dead_letters_only_where_its_maker_may_write() {
    let node = node(SETTINGS).await;
    let mut port = Port::of(&node).await;
    restore(&node).await;
    let (alice, login) = (port.connect(), "Bearer alice:secret");
    let allow =
        |kind, name: &str, operation| rule(Pattern::literal(kind, name), operation, Permission::Allow);
    let mut rules = vec![allow(Topic, OWN.topic, Describe), allow(Group, OWN.group, AlterConfigs)];
    let path = "/api/v1/topics/{topic}/subscriptions/{name}/policy";
    let foreign = change(Method::PATCH, path, &[], r#"{"dead_letter_topic":"foreign-topic"}"#);
    let missing = change(Method::PATCH, path, &[], r#"{"dead_letter_topic":"own-missing"}"#);
    let other = change(Method::PATCH, path, &[], r#"{"unacked_max":9}"#);
    set_rules(&node, &rules).await;
    assert_eq!(port.ask(&alice, login, &foreign, OWN).await, StatusCode::FORBIDDEN);
    rules.push(allow(Topic, FOREIGN.topic, Operation::Write));
    rules.push(allow(Topic, MISSING.topic, Operation::Write));
    set_rules(&node, &rules).await;
    assert_eq!(port.ask(&alice, login, &foreign, OWN).await, StatusCode::OK);
    assert_eq!(port.ask(&alice, login, &missing, OWN).await, StatusCode::FORBIDDEN, "it would be made");
    set_rules(&node, &rules[..2]).await;
    assert_eq!(port.ask(&alice, login, &other, OWN).await, StatusCode::OK, "what stays as it is");
    rules.push(allow(Topic, MISSING.topic, Operation::Create));
    set_rules(&node, &rules).await;
    assert_eq!(port.ask(&alice, login, &missing, OWN).await, StatusCode::OK);
}
