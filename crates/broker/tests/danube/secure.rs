//! gRPC and HTTP with TLS and logins: each call proves who it is from.

use crate::{
    certificates::{Authority, BOTH_VERSIONS, Identity},
    support::{PATIENCE, TestBroker, code, free_port},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use danube_client::{DanubeClient, SubType};
use keyway_broker::{Broker, Config, KafkaListener, OfflineUsers, StartError};
use keyway_danube_wire::proto::{
    AuthRequest, ConsumerRequest, HealthCheckRequest, ProducerRequest, ReceiveRequest, StreamMessage,
    auth_service_client::AuthServiceClient, consumer_service_client::ConsumerServiceClient,
    health_check_client::HealthCheckClient, producer_service_client::ProducerServiceClient,
};
use keyway_kafka_wire::{
    messages::{
        AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest, Request as KafkaRequest,
        alter_user_scram_credentials::ScramCredentialDeletion, create_acls::AclCreation,
        delete_acls::DeleteAclsFilter,
    },
    request_frame,
};
use keyway_log::{LogStore, MemoryStore};
use keyway_runtime::World;
use ring::hmac;
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

const TOPIC: &str = "/default/secure";
const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// What tokens are signed with.
const SECRET: &[u8] = b"thirty-two bytes of a secret, ok";

/// A stream ends at the latest so long after its user was removed, by SECURITY.md.
const STREAM_OUTLIVES_LOGIN_MAX: Duration = Duration::from_secs(5);

/// Certificates are looked at every 3 s.
const TAKEN_UP_MAX: Duration = Duration::from_secs(15);

/// A broker whose fronts are secured, and what its clients have to know.
struct Secured {
    broker: TestBroker,
    authority: Authority,
    folder: TempDir,
}

/// With TLS and the user alice, `protocols` being those of the fronts.
async fn secured(protocols: &str, more: &[(&str, &str)]) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let server = folder.path().join("server.pem");
    authority.identity("server").write(&server);
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let users = OfflineUsers::open(&World::real(), &store).unwrap();
    users.set_password("alice", "secret").await.unwrap();
    drop(users);
    let map = format!("PLAINTEXT:PLAINTEXT,{protocols}");
    let settings = [
        ("listener.security.protocol.map", map.as_str()),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("connection.failed.authentication.delay.ms", "10"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", server.to_str().unwrap()),
    ];
    let settings = settings.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config { grpc: free_port(), settings: settings.collect(), ..Config::default() };
    Secured { broker: TestBroker::start_as(config, store).await, authority, folder }
}

impl Secured {
    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    async fn client(&self, token: &str) -> DanubeClient {
        let url = format!("https://localhost:{}", self.broker.broker.grpc_address().port());
        let builder = DanubeClient::builder().service_url(&url).with_tls(self.ca()).unwrap();
        builder.with_token(token).build().await.unwrap()
    }

    /// The status of an HTTP request with this header, over TLS.
    async fn http(&self, path: &str, header: &str, identity: Option<&Identity>) -> String {
        let address = self.broker.broker.http_address();
        let mut stream = self.authority.connect(address, identity, BOTH_VERSIONS).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The broker may leave out TLS's own goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        let challenged = head.to_ascii_lowercase().contains("www-authenticate: basic");
        assert_eq!(challenged, head.starts_with("HTTP/1.1 401"), "{head}");
        head.split(' ').nth(1).unwrap().to_owned()
    }

    /// Takes alice's keys away, over the Kafka protocol.
    async fn remove_alice(&self) {
        let deletion = |mechanism| ScramCredentialDeletion { name: "alice".to_owned(), mechanism };
        let deletions = vec![deletion(1), deletion(2)];
        let request = AlterUserScramCredentialsRequest { deletions, upsertions: Vec::new() };
        self.kafka(KafkaRequest::AlterUserScramCredentials(request), 0).await;
    }

    /// Sends a Kafka request of anybody and waits for its answer, whatever it says.
    async fn kafka(&self, request: KafkaRequest, version: i16) {
        let body = |out: &mut BytesMut| request.encode(out, version);
        let frame: Bytes = request_frame(request.api_key(), version, 1, None, body).unwrap();
        let mut stream = TcpStream::connect(self.broker.broker.kafka_address()).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        assert!(stream.read_i32().await.unwrap() > 0, "an answer");
    }
}

/// A request with this `authorization`, if it is not empty.
fn with<T>(message: T, header: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !header.is_empty() {
        request.metadata_mut().insert("authorization", MetadataValue::try_from(header).unwrap());
    }
    request
}

fn producer(name: &str) -> ProducerRequest {
    ProducerRequest {
        topic_name: TOPIC.to_owned(),
        producer_name: name.to_owned(),
        ..ProducerRequest::default()
    }
}

async fn create(channel: &Channel, header: &str) -> Result<(), Status> {
    let mut producers = ProducerServiceClient::new(channel.clone());
    producers.create_producer(with(producer("p"), header)).await.map(|_| ())
}

/// A consumer's stream, and the request that opened it.
async fn stream(channel: &Channel, header: &str) -> (Streaming<StreamMessage>, ReceiveRequest) {
    let mut consumers = ConsumerServiceClient::new(channel.clone());
    let subscribe = ConsumerRequest {
        topic_name: TOPIC.to_owned(),
        consumer_name: "c".to_owned(),
        subscription: "s".to_owned(),
        ..ConsumerRequest::default()
    };
    let subscribed = consumers.subscribe(with(subscribe, header)).await.unwrap().into_inner();
    let receive = ReceiveRequest { consumer_id: subscribed.consumer_id, ..ReceiveRequest::default() };
    let stream = consumers.receive_messages(with(receive, header)).await.unwrap().into_inner();
    (stream, receive)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_client_sends_and_receives_over_tls_with_a_token() {
    let secured = secured("GRPC:SASL_SSL", &[]).await;
    for token in ["alice:wrong", "nobody:secret", "secret"] {
        let client = secured.client(token).await;
        let mut producer = client.new_producer().with_topic(TOPIC).with_name("p").build().unwrap();
        let created = tokio::time::timeout(PATIENCE, producer.create()).await.expect("an answer in time");
        assert!(created.is_err(), "{token} is let in");
    }
    let alice = secured.client("alice:secret").await;
    let mut producer =
        alice.new_producer().with_topic(TOPIC).with_name("p").with_reliable_dispatch().build().unwrap();
    producer.create().await.unwrap();
    let consumer = alice.new_consumer().with_topic(TOPIC).with_consumer_name("c").with_subscription("s");
    let mut consumer = consumer.with_subscription_type(SubType::Exclusive).build().unwrap();
    consumer.subscribe().await.unwrap();
    let mut messages = consumer.receive().await.unwrap();
    producer.send(b"hello".to_vec(), None).await.unwrap();
    let message = tokio::time::timeout(PATIENCE, messages.recv()).await.unwrap().unwrap();
    assert_eq!(message.payload, b"hello".as_slice());
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_asked_who_it_is_from() {
    let secured = secured("GRPC:SASL_PLAINTEXT,DANUBE_ADMIN:SASL_PLAINTEXT", &[]).await;
    let channel = secured.broker.channel().await;
    for (header, expected) in [
        ("", Code::Unauthenticated),
        ("Bearer alice:secret", Code::Ok),
        ("Bearer alice:wrong", Code::Unauthenticated),
        ("Basic YWxpY2U6c2VjcmV0", Code::Ok),
        ("Basic YWxpY2U6d3Jvbmc=", Code::Unauthenticated),
        ("Bearer a.b.c", Code::Unauthenticated),
        ("Digest alice", Code::Unauthenticated),
        ("bearer alice:secret", Code::Ok),
    ] {
        assert_eq!(code(create(&channel, header).await), expected, "{header}");
    }
    let mut heartbeats = HealthCheckClient::new(channel.clone());
    for (header, expected) in [("", Code::Unauthenticated), ("Bearer alice:secret", Code::NotFound)] {
        let heartbeat = HealthCheckRequest { client: 1, id: 0 };
        assert_eq!(code(heartbeats.health_check(with(heartbeat, header)).await), expected, "{header}");
    }
    let mut tokens = AuthServiceClient::new(channel);
    let ask = async |tokens: &mut AuthServiceClient<_>, api_key: &str| {
        let asked = tokens.authenticate(AuthRequest { api_key: api_key.to_owned() }).await;
        asked.map(|answer| answer.into_inner().token)
    };
    assert_eq!(ask(&mut tokens, "alice:secret").await.unwrap(), "alice:secret");
    for wrong in ["alice:wrong", "", "a\nb"] {
        assert_eq!(code(ask(&mut tokens, wrong).await), Code::Unauthenticated, "{wrong}");
    }
    let admin = secured.broker.admin().await;
    let mut brokers = keyway_danube_wire::admin::broker_admin_client::BrokerAdminClient::new(admin);
    let empty = keyway_danube_wire::admin::Empty {};
    assert_eq!(code(brokers.list_brokers(empty).await), Code::Unauthenticated);
    assert_eq!(code(brokers.list_brokers(with(empty, "Bearer alice:secret")).await), Code::Ok);
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_user_loses_its_calls_and_its_streams() {
    let secured = secured("GRPC:SASL_PLAINTEXT", &[]).await;
    let channel = secured.broker.channel().await;
    let header = "Bearer alice:secret";
    create(&channel, header).await.unwrap();
    let (mut stream, receive) = stream(&channel, header).await;
    secured.remove_alice().await;
    let removed = Instant::now();
    assert_eq!(code(create(&channel, header).await), Code::Unauthenticated);
    let end = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends");
    assert_eq!(code(end), Code::Unavailable);
    assert!(
        removed.elapsed() < STREAM_OUTLIVES_LOGIN_MAX + Duration::from_secs(1),
        "{:?}",
        removed.elapsed()
    );
    let reopened = ConsumerServiceClient::new(channel).receive_messages(with(receive, header)).await;
    assert_eq!(code(reopened), Code::Unauthenticated);
    secured.broker.broker.shutdown().await.unwrap();
}

/// A key set with one secret, and a token that it signed for bob, good for so long.
fn token(seconds: u64) -> String {
    let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(r#"{{"sub":"bob","iat":{now_s},"exp":{}}}"#, now_s + seconds);
    let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#.to_owned()), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_whom_it_is_for_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    let secret = BASE64_URL_SAFE_NO_PAD.encode(SECRET);
    std::fs::write(&keys, format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","k":"{secret}"}}]}}"#)).unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("file://{}", keys.display());
    let secured = secured(
        "GRPC:SASL_PLAINTEXT",
        &[
            ("listener.name.grpc.sasl.enabled.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.jwks.endpoint.url", &url),
            ("sasl.oauthbearer.clock.skew.seconds", "0"),
            ("authorizer.class.name", AUTHORIZER),
            ("super.users", "User:bob"),
        ],
    )
    .await;
    let channel = secured.broker.channel().await;
    let good = format!("Bearer {}", token(3_600));
    assert_eq!(code(create(&channel, &good).await), Code::Ok);
    let mut foreign = good.clone();
    foreign.replace_range(foreign.len() - 4.., "AAAA");
    for header in [&foreign, "Bearer alice:secret", "Bearer a.b.c"] {
        assert_eq!(code(create(&channel, header).await), Code::Unauthenticated, "{header}");
    }
    let mut tokens = AuthServiceClient::new(channel.clone());
    let asked = tokens.authenticate(AuthRequest { api_key: token(60) }).await.unwrap();
    assert!(code(create(&channel, &format!("Bearer {}", asked.into_inner().token)).await) == Code::Ok);

    let short = format!("Bearer {}", token(3));
    let (mut stream, _) = stream(&channel, &short).await;
    let end = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends");
    assert_eq!(code(end), Code::Unavailable);
    assert_eq!(code(create(&channel, &short).await), Code::Unauthenticated);
    assert_eq!(code(create(&channel, &good).await), Code::Ok, "others are not touched");
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_session_of_its_login_and_is_opened_again() {
    let session = [("connections.max.reauth.ms", "1500")];
    let secured = secured("GRPC:SASL_SSL", &session).await;
    let client = secured.client("alice:secret").await;
    let mut producer =
        client.new_producer().with_topic(TOPIC).with_name("p").with_reliable_dispatch().build().unwrap();
    producer.create().await.unwrap();
    let consumer = client.new_consumer().with_topic(TOPIC).with_consumer_name("published");
    let consumer = consumer.with_subscription("s").with_subscription_type(SubType::Shared);
    let mut consumer = consumer.build().unwrap();
    consumer.subscribe().await.unwrap();
    let mut messages = consumer.receive().await.unwrap();
    let until = Instant::now() + Duration::from_millis(1_500) + STREAM_OUTLIVES_LOGIN_MAX;
    let mut sent = 0_u32;
    while Instant::now() < until + Duration::from_secs(1) {
        producer.send(sent.to_string().into_bytes(), None).await.unwrap();
        let message = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("in time").expect("open");
        assert_eq!(message.payload, sent.to_string().as_bytes(), "the client goes on by itself");
        consumer.ack(&message).await.unwrap();
        sent += 1;
    }
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_told_that_its_session_is_over() {
    let session = [("connections.max.reauth.ms", "1500")];
    let secured = secured("GRPC:SASL_PLAINTEXT", &session).await;
    let channel = secured.broker.channel().await;
    let header = "Bearer alice:secret";
    create(&channel, header).await.unwrap();
    let begun = Instant::now();
    let (mut stream, receive) = stream(&channel, header).await;
    let end = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends").unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("connections.max.reauth.ms"), "{end}");
    let session = Duration::from_millis(1_500);
    let lasted = begun.elapsed();
    assert!(lasted < session + STREAM_OUTLIVES_LOGIN_MAX + Duration::from_secs(1), "{lasted:?}");
    let mut consumers = ConsumerServiceClient::new(channel);
    assert_eq!(code(consumers.receive_messages(with(receive, header)).await), Code::Ok, "it is opened again");
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_rule_that_allowed_it() {
    let rules = [("authorizer.class.name", AUTHORIZER), ("super.users", "User:ANONYMOUS")];
    let secured = secured("GRPC:SASL_PLAINTEXT", &rules).await;
    let secured = &secured;
    let allow = async |resource_type: i8, name: &str, operation: i8| {
        let creation = AclCreation {
            resource_type,
            resource_name: name.to_owned(),
            resource_pattern_type: 3,
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation,
            permission_type: 3,
        };
        secured.kafka(KafkaRequest::CreateAcls(CreateAclsRequest { creations: vec![creation] }), 3).await;
    };
    // By Kafka's codes: every operation on every topic, and reading on the group s.
    allow(2, "*", 2).await;
    allow(3, "s", 3).await;
    let channel = secured.broker.channel().await;
    let header = "Bearer alice:secret";
    create(&channel, header).await.unwrap();
    let (mut stream, receive) = stream(&channel, header).await;
    let filter = DeleteAclsFilter {
        resource_type_filter: 3,
        resource_name_filter: Some("s".to_owned()),
        pattern_type_filter: 3,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    };
    secured.kafka(KafkaRequest::DeleteAcls(DeleteAclsRequest { filters: vec![filter] }), 3).await;
    let removed = Instant::now();
    let end = tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends");
    assert_eq!(code(end), Code::PermissionDenied);
    let lasted = removed.elapsed();
    assert!(lasted < STREAM_OUTLIVES_LOGIN_MAX + Duration::from_secs(1), "{lasted:?}");
    let mut consumers = ConsumerServiceClient::new(channel.clone());
    let reopened = consumers.receive_messages(with(receive, header)).await;
    assert_eq!(code(reopened), Code::PermissionDenied);
    assert_eq!(code(create(&channel, header).await), Code::Ok, "what other rules allow is not touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_lets_in_who_has_a_password() {
    let secured = secured("HTTP:SASL_SSL", &[]).await;
    let right = "authorization: Basic YWxpY2U6c2VjcmV0\r\n";
    for (path, header, status) in [
        ("/healthz", "", "200"),
        ("/readyz", "", "200"),
        ("/metrics", "", "401"),
        ("/nothing", "", "401"),
        ("/api/v1/subscriptions", "authorization: Basic YWxpY2U6d3Jvbmc=\r\n", "401"),
        ("/api/v1/subscriptions", right, "200"),
        ("/metrics", right, "200"),
        ("/metrics", "authorization: Bearer alice:secret\r\n", "200"),
    ] {
        assert_eq!(secured.http(path, header, None).await, status, "{path} with '{header}'");
    }
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_a_principal_where_nobody_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let others = Authority::new("clients");
    std::fs::write(&ca, others.pem()).unwrap();
    let secured = secured(
        "HTTP:SSL",
        &[
            ("listener.name.http.ssl.client.auth", "requested"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", ca.to_str().unwrap()),
            ("ssl.principal.mapping.rules", "RULE:^CN=([^,]*).*$/$1/"),
            ("authorizer.class.name", AUTHORIZER),
            ("super.users", "User:watcher"),
        ],
    )
    .await;
    for (name, status) in [(None, "403"), (Some("watcher"), "200"), (Some("other"), "403")] {
        let identity = name.map(|name| others.identity(name));
        assert_eq!(secured.http("/metrics", "", identity.as_ref()).await, status, "{name:?}");
    }
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_certificate_is_taken_up_and_open_connections_go_on() {
    let secured = secured("GRPC:SASL_SSL", &[]).await;
    let alice = secured.client("alice:secret").await;
    let mut producer =
        alice.new_producer().with_topic(TOPIC).with_name("p").with_reliable_dispatch().build().unwrap();
    producer.create().await.unwrap();
    let second = secured.authority.identity("second");
    second.write(&secured.folder.path().join("server.pem"));
    let address = secured.broker.broker.grpc_address();
    let served = async || {
        let stream = secured.authority.connect(address, None, BOTH_VERSIONS).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let changed = async {
        while served().await != second.certificate {
            producer.send(b"meanwhile".to_vec(), None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TAKEN_UP_MAX, changed).await.expect("the new certificate is taken up");
    producer.send(b"afterwards".to_vec(), None).await.unwrap();
    secured.broker.broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_nobody_could_use_is_refused_at_the_start() {
    let any = || free_port();
    for (settings, name, words) in [
        (&[("sasl.enabled.mechanisms", "SCRAM-SHA-512")][..], "PLAINTEXT", "add PLAIN or OAUTHBEARER"),
        (&[("sasl.enabled.mechanisms", "PLAIN")], "HTTP", "the name of another port"),
    ] {
        let map = ("listener.security.protocol.map", "GRPC:SASL_PLAINTEXT");
        let settings = settings.iter().chain([&map]);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let kafka = vec![KafkaListener { name: name.to_owned(), ..KafkaListener::plaintext(any()) }];
        let config =
            Config { kafka, grpc: any(), danube_admin: any(), http: any(), settings, ..Config::default() };
        let started = Broker::start(config, World::real(), Arc::new(MemoryStore::new())).await;
        let error: StartError = started.err().expect("it does not start");
        assert!(error.to_string().contains(words), "{error}");
    }
}
