//! With an authorizer, HTTP asks the rules as every front does.

use crate::broker::{get, request, start_with};

const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// Every route that tells or changes something.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/metrics"),
    ("GET", "/api/v1/subscriptions"),
    ("GET", "/api/v1/topics/orders/subscriptions/s"),
    ("PUT", "/api/v1/topics/orders/subscriptions/s"),
    ("DELETE", "/api/v1/topics/orders/subscriptions/s"),
    ("GET", "/api/v1/topics/orders/subscriptions/s/keys"),
    ("GET", "/api/v1/topics/orders/subscriptions/s/key?key=k"),
    ("POST", "/api/v1/topics/orders/subscriptions/s/seek"),
    ("POST", "/api/v1/topics/orders/subscriptions/s/release"),
    ("GET", "/api/v1/topics/orders/subscriptions/s/policy"),
    ("PATCH", "/api/v1/topics/orders/subscriptions/s/policy"),
    ("GET", "/api/v1/damaged-records"),
    ("GET", "/api/v1/dead-letters"),
    ("GET", "/api/v1/dead-letters/orders.s.dlq"),
    ("POST", "/api/v1/dead-letters/orders.s.dlq/replay"),
    ("POST", "/api/v1/dead-letters/orders.s.dlq/purge"),
];

#[tokio::test]
async fn without_a_rule_nobody_is_told_anything() {
    let broker = start_with(&[("authorizer.class.name", AUTHORIZER)]).await;
    for (method, path) in ROUTES {
        request(&broker, method, path, "").await.is_refused(403, "denied");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&broker, path).await.status, 200, "{path}");
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_no_rule_is_about_may_be_left_to_everybody() {
    let everybody = [("authorizer.class.name", AUTHORIZER), ("allow.everyone.if.no.acl.found", "true")];
    let broker = start_with(&everybody).await;
    for (method, path) in ROUTES {
        assert_ne!(request(&broker, method, path, "").await.status, 403, "{method} {path}");
    }
    broker.shutdown().await.unwrap();
}
