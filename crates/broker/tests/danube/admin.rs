//! What `danube-admin` asks for, called by hand.

use crate::support::{Spec, TestBroker, code, send};
use keyway_danube_wire::{
    admin::{
        BrokerRequest, DescribeTopicRequest, Empty, GetSubscriptionDispatchConfigRequest,
        GetSubscriptionFailurePolicyRequest, NamespaceRequest, NewTopicRequest, PartitionedTopicRequest,
        SetSubscriptionDispatchConfigRequest, SetSubscriptionFailurePolicyRequest,
        SubscriptionDispatchConfig, SubscriptionFailurePolicy, SubscriptionPoisonPolicy, SubscriptionRequest,
        TopicRequest, broker_admin_client::BrokerAdminClient, namespace_admin_client::NamespaceAdminClient,
        topic_admin_client::TopicAdminClient,
    },
    schema::{RegisterSchemaRequest, schema_registry_client::SchemaRegistryClient},
};
use tonic::{Code, transport::Channel};

const TOPIC: &str = "/default/orders";

async fn topics(broker: &TestBroker) -> TopicAdminClient<Channel> {
    TopicAdminClient::new(broker.admin().await)
}

fn topic(name: &str) -> TopicRequest {
    TopicRequest { name: name.to_owned() }
}

fn plain(name: &str, dispatch_strategy: i32) -> NewTopicRequest {
    NewTopicRequest { name: name.to_owned(), schema_subject: None, dispatch_strategy }
}

fn subscription(name: &str) -> SubscriptionRequest {
    SubscriptionRequest { topic: TOPIC.to_owned(), subscription: name.to_owned() }
}

fn dead_letters() -> SubscriptionFailurePolicy {
    SubscriptionFailurePolicy {
        max_redelivery_count: 1,
        ack_timeout_ms: 5_000,
        base_redelivery_delay_ms: 10,
        max_redelivery_delay_ms: 20,
        backoff_strategy: 0,
        dead_letter_topic: Some("/default/graveyard".to_owned()),
        poison_policy: SubscriptionPoisonPolicy::DeadLetter.into(),
    }
}

fn set(subscription: &str, policy: SubscriptionFailurePolicy) -> SetSubscriptionFailurePolicyRequest {
    SetSubscriptionFailurePolicyRequest {
        topic: TOPIC.to_owned(),
        subscription: subscription.to_owned(),
        failure_policy: Some(policy),
    }
}

fn get(subscription: &str) -> GetSubscriptionFailurePolicyRequest {
    GetSubscriptionFailurePolicyRequest { topic: TOPIC.to_owned(), subscription: subscription.to_owned() }
}

fn namespace(name: &str) -> NamespaceRequest {
    NamespaceRequest { name: name.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_broker_is_listed_and_cannot_hand_over_to_another() {
    let broker = TestBroker::start().await;
    let mut brokers = BrokerAdminClient::new(broker.admin().await);
    let all = brokers.list_brokers(Empty {}).await.expect("listed").into_inner().brokers;
    let leader = brokers.get_leader_broker(Empty {}).await.expect("answered").into_inner().leader;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].broker_id, leader);
    assert_eq!(all[0].broker_addr, broker.url);
    assert_eq!(all[0].admin_addr, format!("http://{}", broker.broker.danube_admin_address()));
    assert_eq!(code(brokers.unload_broker(Empty {}).await), Code::FailedPrecondition);
    assert_eq!(code(brokers.trigger_rebalance(Empty {}).await), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_made_listed_and_deleted_when_empty() {
    let broker = TestBroker::start().await;
    let mut namespaces = NamespaceAdminClient::new(broker.admin().await);
    let mut brokers = BrokerAdminClient::new(broker.admin().await);
    for illegal in ["", "a b", "a/b", "a.b", "__own", &"x".repeat(300)] {
        let answer = namespaces.create_namespace(namespace(illegal)).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{illegal:?}");
    }
    namespaces.create_namespace(namespace("shop")).await.expect("made");
    assert_eq!(code(namespaces.create_namespace(namespace("shop")).await), Code::AlreadyExists);
    assert_eq!(code(namespaces.create_namespace(namespace("default")).await), Code::AlreadyExists);
    let all = brokers.list_namespaces(Empty {}).await.expect("listed").into_inner().namespaces;
    assert_eq!(all, ["default", "shop", "system"]);

    let _producer = broker.producer("/shop/orders").await;
    let topics = namespaces.get_namespace_topics(namespace("shop")).await.expect("listed").into_inner();
    assert_eq!(topics.topics, ["/shop/orders"]);
    assert_eq!(code(namespaces.get_namespace_topics(namespace("nowhere")).await), Code::NotFound);
    assert_eq!(code(namespaces.delete_namespace(namespace("shop")).await), Code::FailedPrecondition);
    assert_eq!(code(namespaces.delete_namespace(namespace("system")).await), Code::FailedPrecondition);
    assert_eq!(code(namespaces.delete_namespace(namespace("nowhere")).await), Code::NotFound);
    namespaces.create_namespace(namespace("empty")).await.expect("made");
    namespaces.delete_namespace(namespace("empty")).await.expect("deleted");
    assert_eq!(code(namespaces.get_namespace_policies(namespace("empty")).await), Code::NotFound);
    let policies = namespaces.get_namespace_policies(namespace("shop")).await.expect("answered").into_inner();
    assert!(policies.policies.starts_with('{') && policies.policies.contains("max_message_size"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_listed_described_and_deleted() {
    let broker = TestBroker::start().await;
    let mut admin = topics(&broker).await;
    admin.create_topic(plain(TOPIC, 1)).await.expect("made");
    admin.create_topic(plain("/default/fast", 0)).await.expect("made");
    let parts = |name: &str, partitions| PartitionedTopicRequest {
        base_name: name.to_owned(),
        partitions,
        schema_subject: None,
        dispatch_strategy: 1,
    };
    admin.create_partitioned_topic(parts("/default/parts", 3)).await.expect("made");
    assert_eq!(code(admin.create_topic(plain(TOPIC, 1)).await), Code::AlreadyExists);
    assert_eq!(code(admin.create_topic(plain("/nowhere/orders", 1)).await), Code::NotFound);
    for (name, strategy) in [("orders", 1), ("/default/a b", 1), ("/default/x", 7), ("/default/x-part-1", 1)]
    {
        assert_eq!(code(admin.create_topic(plain(name, strategy)).await), Code::InvalidArgument, "{name}");
    }
    for partitions in [0, 10_001, u32::MAX] {
        let answer = admin.create_partitioned_topic(parts("/default/many", partitions)).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{partitions}");
    }

    let listed = admin.list_namespace_topics(namespace("default")).await.expect("listed").into_inner().topics;
    let names: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.delivery.as_str())).collect();
    let all = [
        ("/default/fast", "NonReliable"),
        (TOPIC, "Reliable"),
        ("/default/parts-part-0", "Reliable"),
        ("/default/parts-part-1", "Reliable"),
        ("/default/parts-part-2", "Reliable"),
    ];
    assert_eq!(names, all);
    let on = |id: &str| BrokerRequest { broker_id: id.to_owned() };
    let here = admin.list_broker_topics(on(&listed[0].broker_id)).await.expect("listed").into_inner().topics;
    assert_eq!(here, listed);
    assert_eq!(code(admin.list_broker_topics(on("42")).await), Code::NotFound);

    let part = admin.delete_topic(topic("/default/parts-part-1")).await.unwrap_err();
    assert!(part.message().contains("Cannot delete individual partition"), "{part}");
    assert_eq!(code(admin.delete_topic(topic("/default/nowhere")).await), Code::NotFound);
    assert_eq!(code(admin.unload_topic(topic(TOPIC)).await), Code::FailedPrecondition);
    assert_eq!(code(admin.unload_topic(topic("/default/nowhere")).await), Code::NotFound);
    admin.delete_topic(topic("/default/parts")).await.expect("deleted");
    admin.delete_topic(topic("/default/fast")).await.expect("deleted");
    let left = admin.list_namespace_topics(namespace("default")).await.expect("listed").into_inner().topics;
    assert_eq!(left.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), [TOPIC]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_described_with_its_schema_and_subscriptions() {
    let broker = TestBroker::start().await;
    let mut admin = topics(&broker).await;
    let with_schema = NewTopicRequest { schema_subject: Some("orders".to_owned()), ..plain(TOPIC, 1) };
    assert_eq!(code(admin.create_topic(with_schema.clone()).await), Code::NotFound, "no such subject");
    let mut schemas = SchemaRegistryClient::new(broker.channel().await);
    let register = RegisterSchemaRequest {
        subject: "orders".to_owned(),
        schema_type: "avro".to_owned(),
        schema_definition: br#""string""#.to_vec().into(),
        ..RegisterSchemaRequest::default()
    };
    let schema = schemas.register_schema(register).await.expect("registered").into_inner();
    admin.create_topic(with_schema).await.expect("made");
    let _worker = broker.worker(TOPIC, "a").await;
    let described = admin.describe_topic(DescribeTopicRequest { name: TOPIC.to_owned() }).await;
    let described = described.expect("described").into_inner();
    assert_eq!(described.subscriptions, ["sub"]);
    assert_eq!((described.name.as_str(), described.delivery.as_str()), (TOPIC, "Reliable"));
    assert_eq!(described.schema_subject.as_deref(), Some("orders"));
    assert_eq!((described.schema_id, described.schema_version), (Some(schema.schema_id), Some(1)));
    assert_eq!(described.schema_type.as_deref(), Some("avro"));
    assert_eq!(described.compatibility_mode.as_deref(), Some("BACKWARD"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_listed_and_deleted() {
    let broker = TestBroker::start().await;
    let mut admin = topics(&broker).await;
    let producer = broker.producer(TOPIC).await;
    let worker = broker.worker(TOPIC, "a").await;
    let listed = admin.list_subscriptions(topic(TOPIC)).await.expect("listed").into_inner();
    assert_eq!(listed.subscriptions, ["sub"]);
    worker.close().await;
    assert_eq!(code(admin.unsubscribe(subscription("other")).await), Code::NotFound);
    admin.unsubscribe(subscription("sub")).await.expect("deleted");
    assert_eq!(code(admin.unsubscribe(subscription("sub")).await), Code::NotFound);
    let listed = admin.list_subscriptions(topic(TOPIC)).await.expect("listed").into_inner();
    assert!(listed.subscriptions.is_empty());
    // The name is free for a new one, which begins with the next message.
    send(&producer, "k", "missed").await;
    let mut worker = broker.worker(TOPIC, "a").await;
    send(&producer, "k", "first").await;
    assert_eq!(worker.next().await.payload, "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_policy_is_set_before_its_subscription_and_followed() {
    let broker = TestBroker::start().await;
    let mut admin = topics(&broker).await;
    let producer = broker.producer(TOPIC).await;
    assert_eq!(code(admin.get_subscription_failure_policy(get("sub")).await), Code::NotFound);
    admin.set_subscription_failure_policy(set("sub", dead_letters())).await.expect("set");
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    let has = admin.get_subscription_failure_policy(get("sub")).await.expect("answered").into_inner();
    assert_eq!(has.failure_policy, Some(dead_letters()));
    assert_eq!(has.subscription_type, 3, "key-shared");

    let _graveyard = broker.producer("/default/graveyard").await;
    let mut dead = broker.worker("/default/graveyard", "sexton").await;
    send(&producer, "k", "poison").await;
    send(&producer, "k", "good").await;
    for _ in 0..2 {
        let got = worker.next().await;
        assert_eq!(got.payload, "poison");
        worker.nack(got.offset, None);
    }
    assert_eq!(worker.next().await.payload, "good");
    let letter = dead.next().await;
    assert_eq!((letter.payload.as_str(), letter.key.as_deref()), ("poison", Some("k")));
    assert_eq!(letter.attributes["x-original-subscription"], "sub");

    let wrong = |change: fn(&mut SubscriptionFailurePolicy)| {
        let mut policy = dead_letters();
        change(&mut policy);
        set("sub", policy)
    };
    for request in [
        wrong(|it| it.max_redelivery_count = 70_000),
        wrong(|it| it.base_redelivery_delay_ms = 30),
        wrong(|it| it.ack_timeout_ms = 0),
        wrong(|it| it.backoff_strategy = 5),
        wrong(|it| it.poison_policy = 5),
        wrong(|it| it.dead_letter_topic = Some("graveyard".to_owned())),
        wrong(|it| it.dead_letter_topic = Some(TOPIC.to_owned())),
        set("", dead_letters()),
    ] {
        let answer = admin.set_subscription_failure_policy(request.clone()).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatch_limit_is_set_within_bounds() {
    let broker = TestBroker::start().await;
    let mut admin = topics(&broker).await;
    let producer = broker.producer(TOPIC).await;
    let set = |max_unacked_messages| SetSubscriptionDispatchConfigRequest {
        topic: TOPIC.to_owned(),
        subscription: "sub".to_owned(),
        dispatch_config: Some(SubscriptionDispatchConfig { max_unacked_messages }),
    };
    for wrong in [0, 10_001] {
        assert_eq!(code(admin.set_subscription_dispatch_config(set(wrong)).await), Code::InvalidArgument);
    }
    admin.set_subscription_dispatch_config(set(2)).await.expect("set");
    let get =
        GetSubscriptionDispatchConfigRequest { topic: TOPIC.to_owned(), subscription: "sub".to_owned() };
    let has = admin.get_subscription_dispatch_config(get).await.expect("answered").into_inner();
    assert_eq!(has.dispatch_config, Some(SubscriptionDispatchConfig { max_unacked_messages: 2 }));
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..5 {
        send(&producer, &format!("key-{index}"), index).await;
    }
    let held = worker.take(2).await;
    assert!(worker.is_silent().await, "two are unanswered");
    worker.ack(held[0].offset);
    worker.next().await;
}

/// Whoever knocks at the wrong door is told where to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_says_so() {
    let broker = TestBroker::start().await;
    let mut elsewhere = TopicAdminClient::new(broker.channel().await);
    let refused = elsewhere.list_subscriptions(topic(TOPIC)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("--danube-admin"), "{refused}");
    let mut grpc = tonic::client::Grpc::new(broker.admin().await);
    grpc.ready().await.expect("ready");
    let path = "/danube_admin.SecurityAdmin/ListRoles".parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<Empty, Empty>::default();
    let refused = grpc.unary(tonic::Request::new(Empty {}), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("roles"), "{refused}");
}
