//! Subscriptions are created, described, moved and deleted.

use crate::{
    broker::{Answer, get, request, send, start},
    kafka::{connect, create, produce},
};
use krafka::Record;
use serde_json::json;

const BILLING: &str = "/api/v1/topics/orders/subscriptions/billing";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_created_moved_and_deleted() {
    let broker = start().await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 2).await;
    let records =
        (0..10).map(|index| Record::new("orders", "x").partition(index % 2).key(format!("k{index}")));
    produce(&kafka, records.collect()).await;
    assert_eq!(get(&broker, "/api/v1/subscriptions").await.json(), json!({"subscriptions": []}));
    get(&broker, BILLING).await.is_refused(404, "subscription_unknown");

    let created = request(&broker, "PUT", BILLING, r#"{"start": "offset:2"}"#).await;
    assert_eq!(created.status, 201, "{created:?}");
    let described = get(&broker, BILLING).await.json();
    assert_eq!(described["type"], "key_shared");
    assert_eq!((&described["partitions"], &described["lag_messages"]), (&json!(2), &json!(6)));
    assert_eq!(described["dead_letter_topic"], "orders.billing.dlq");
    assert_eq!(described["partition_views"][1]["cursor"], 2);
    assert_eq!(described["policy"]["is_set"], false);
    request(&broker, "PUT", BILLING, "{}").await.is_refused(409, "subscription_exists");
    let other =
        request(&broker, "PUT", "/api/v1/topics/orders/subscriptions/a%2Fb%20%22c", r#"{"type": "shared"}"#);
    assert_eq!(other.await.json()["subscription"], "a/b \"c");
    let listed = get(&broker, "/api/v1/subscriptions").await.json();
    assert_eq!(listed["subscriptions"].as_array().unwrap().len(), 2);

    assert_eq!(request(&broker, "DELETE", BILLING, "").await.status, 204);
    request(&broker, "DELETE", BILLING, "").await.is_refused(404, "subscription_unknown");
    get(&broker, BILLING).await.is_refused(404, "subscription_unknown");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_changed_field_by_field_and_checked() {
    let broker = start().await;
    create(&connect(&broker).await, "orders", 1).await;
    let path = format!("{BILLING}/policy");
    let before = get(&broker, &path).await.json();
    assert_eq!((&before["is_set"], &before["poison_policy"]), (&json!(false), &json!("block")));
    let change =
        r#"{"max_redelivery_count": 0, "poison_policy": "dead_letter", "dead_letter_topic": "lost"}"#;
    let after = request(&broker, "PATCH", &path, change).await.json();
    let mut expected = before;
    for (field, value) in [
        ("max_redelivery_count", json!(0)),
        ("poison_policy", json!("dead_letter")),
        ("dead_letter_topic", json!("lost")),
        ("is_set", json!(true)),
    ] {
        expected[field] = value;
    }
    assert_eq!(after, expected);
    let reset =
        request(&broker, "PATCH", &path, r#"{"dead_letter_topic": null, "flood_brake": false}"#).await;
    assert_eq!(
        (&reset.json()["dead_letter_topic"], &reset.json()["flood_brake"]),
        (&json!(null), &json!(false))
    );

    let patch = |body: &'static str| {
        request(&broker, "PATCH", "/api/v1/topics/orders/subscriptions/billing/policy", body)
    };
    patch(r#"{"ack_timeout_ms": 0}"#).await.is_refused(400, "policy");
    patch(r#"{"dead_letter_topic": "orders"}"#).await.is_refused(400, "policy");
    patch(r#"{"dead_letter_topic": "no/name"}"#).await.is_refused(400, "value_unknown");
    patch(r#"{"poison_policy": "shred"}"#).await.is_refused(400, "value_unknown");
    patch(r#"{"max_redelivery_count": -1}"#).await.is_refused(422, "request_unreadable");
    patch(r#"{"max_redeliveries": 1}"#).await.is_refused(422, "request_unreadable");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_with_their_reason() {
    let broker = start().await;
    create(&connect(&broker).await, "orders", 1).await;
    let put = |body: &'static str| request(&broker, "PUT", BILLING, body);
    put(r#"{"type": "keyed"}"#).await.is_refused(400, "value_unknown");
    put(r#"{"start": "yesterday"}"#).await.is_refused(400, "value_unknown");
    put(r#"{"start": 7}"#).await.is_refused(422, "request_unreadable");
    put("{\"start\"").await.is_refused(400, "request_unreadable");
    let nested = "[".repeat(60_000);
    request(&broker, "PUT", BILLING, &nested).await.is_refused(422, "request_unreadable");
    let huge = format!("{{\"start\": \"{}\"}}", "x".repeat(1_000_000));
    request(&broker, "PUT", BILLING, &huge).await.is_refused(413, "request_unreadable");
    // A web form of a foreign page cannot say that it is JSON.
    let form = format!(
        "PUT {BILLING} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    Answer::parse(send(&broker, form.as_bytes()).await).is_refused(415, "request_unreadable");

    request(&broker, "PUT", "/api/v1/topics/nowhere/subscriptions/s", "{}")
        .await
        .is_refused(404, "topic_unknown");
    request(&broker, "PUT", "/api/v1/topics/__groups/subscriptions/s", "{}")
        .await
        .is_refused(404, "topic_unknown");
    let long = format!("/api/v1/topics/orders/subscriptions/{}", "n".repeat(1_025));
    request(&broker, "PUT", &long, "{}").await.is_refused(400, "subscription_name");
    get(&broker, "/api/v1/topics/orders/subscriptions/%ff").await.is_refused(400, "request_unreadable");
    request(&broker, "POST", &format!("{BILLING}/seek"), "{}").await.is_refused(400, "value_unknown");
    request(&broker, "POST", &format!("{BILLING}/seek"), r#"{"to":"earliest"}"#)
        .await
        .is_refused(404, "subscription_unknown");
    get(&broker, &format!("{BILLING}/keys?order=size")).await.is_refused(400, "value_unknown");
    get(&broker, &format!("{BILLING}/keys?limit=1001")).await.is_refused(400, "out_of_range");
    get(&broker, &format!("{BILLING}/key")).await.is_refused(400, "request_unreadable");
    get(&broker, "/api/v1/topics/orders").await.is_refused(404, "path_unknown");
    request(&broker, "POST", BILLING, "{}").await.is_refused(405, "method_not_allowed");
    broker.shutdown().await.unwrap();
}
