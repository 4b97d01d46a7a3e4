//! Logins: which requests are taken before them, what is answered, and how long they count.

use crate::{broker::TestBroker, client::Client};
use bytes::Bytes;
use keyway_access::ScramMechanism;
use keyway_broker::{Config, KafkaListener, SecurityProtocol};
use keyway_kafka_wire::{
    ApiKey,
    messages::{
        AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest,
        MetadataRequest, Request, Response, SaslAuthenticateRequest, SaslAuthenticateResponse,
        SaslHandshakeRequest, alter_user_scram_credentials::*, describe_user_scram_credentials::UserName,
    },
};
use keyway_log::MemoryStore;
use keyway_record::ErrorCode;
use std::{net::SocketAddr, sync::Arc, time::Duration};

const USERS: &str = "a.PlainLoginModule required user_alice=\"secret\" user_bob=\"other\";";

pub(crate) async fn broker(more: &[(&str, &str)]) -> TestBroker {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let name = "SASL_PLAINTEXT".to_owned();
    let listener =
        KafkaListener { name, protocol: SecurityProtocol::SaslPlaintext, address: any, advertised: None };
    let settings = [
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256"),
        ("listener.name.sasl_plaintext.plain.sasl.jaas.config", USERS),
        ("connection.failed.authentication.delay.ms", "10"),
    ];
    // A later one of the same name goes before an earlier one.
    let settings =
        settings.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = Config { kafka: vec![listener], settings, ..Config::default() };
    TestBroker::on(Arc::new(MemoryStore::new()), config).await
}

pub(crate) async fn connect(broker: &TestBroker) -> Client {
    Client::connect(broker.listener("SASL_PLAINTEXT")).await
}

fn metadata() -> Request {
    Request::Metadata(MetadataRequest { topics: Some(Vec::new()), ..Default::default() })
}

pub(crate) async fn handshake(client: &mut Client, mechanism: &str, version: i16) -> i16 {
    let request = Request::SaslHandshake(SaslHandshakeRequest { mechanism: mechanism.to_owned() });
    let Response::SaslHandshake(answer) = client.call(&request, version).await else { unreachable!() };
    assert!(!answer.mechanisms.is_empty());
    answer.error_code
}

pub(crate) async fn message(client: &mut Client, message: &[u8]) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(message) };
    let answer = client.call(&Request::SaslAuthenticate(request), 2).await;
    let Response::SaslAuthenticate(answer) = answer else { unreachable!() };
    answer
}

pub(crate) async fn is_served(client: &mut Client) -> bool {
    client.send(&metadata(), 12).await;
    client.frame().await.is_some()
}

#[tokio::test]
async fn nothing_is_served_before_the_login() {
    let broker = broker(&[]).await;
    let mut client = connect(&broker).await;
    assert!(!is_served(&mut client).await, "metadata before a login");
    let mut client = connect(&broker).await;
    let versions = Request::ApiVersions(ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
    });
    let Response::ApiVersions(answer) = client.call(&versions, 3).await else { unreachable!() };
    assert!(answer.api_keys.iter().any(|row| row.api_key == ApiKey::SaslAuthenticate.code()));
    assert_eq!(handshake(&mut client, "PLAIN", 1).await, 0);
    assert!(!is_served(&mut client).await, "metadata in the middle of a login");
    let mut client = connect(&broker).await;
    client.call(&versions, 3).await;
    client.send(&versions, 3).await;
    assert!(client.frame().await.is_none(), "versions a second time");
    let mut client = connect(&broker).await;
    client.send_bytes(&(1_000_000_u32).to_be_bytes()).await;
    assert!(client.frame().await.is_none(), "a long frame before the login");
    let mut client = connect(&broker).await;
    assert_eq!(handshake(&mut client, "PLAIN", 1).await, 0);
    assert_eq!(message(&mut client, b"\0alice\0secret").await.error_code, 0);
    assert!(is_served(&mut client).await);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_failed_login_is_told_in_kafka_s_words_and_closed() {
    let broker = broker(&[]).await;
    let mut client = connect(&broker).await;
    let request = Request::SaslHandshake(SaslHandshakeRequest { mechanism: "PLAIN".to_owned() });
    let Response::SaslHandshake(answer) = client.call(&request, 1).await else { unreachable!() };
    assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256"]);
    let mut client = connect(&broker).await;
    let unsupported = ErrorCode::UnsupportedSaslMechanism.code();
    assert_eq!(handshake(&mut client, "GSSAPI", 1).await, unsupported);
    assert!(client.frame().await.is_none());
    for (token, words) in [
        (&b"\0alice\0wrong"[..], "Authentication failed: Invalid username or password"),
        (b"\0nobody\0secret", "Authentication failed: Invalid username or password"),
        (b"bob\0alice\0secret", "authorization id that is different"),
        (b"alice", "expected 3 tokens, got 1"),
    ] {
        let mut client = connect(&broker).await;
        handshake(&mut client, "PLAIN", 1).await;
        let answer = message(&mut client, token).await;
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code());
        let told = answer.error_message.unwrap();
        assert!(told.contains(words), "{told}");
        assert!(client.frame().await.is_none(), "the connection ends");
    }
    let mut client = connect(&broker).await;
    handshake(&mut client, "SCRAM-SHA-256", 1).await;
    let first = message(&mut client, b"n,,n=nobody,r=abc").await;
    assert_eq!(first.error_code, 0, "nobody is asked for a proof like anybody");
    let nonce = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
    let nonce = nonce.split(',').next().unwrap().to_owned();
    let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let answer = message(&mut client, format!("c=biws,{nonce},{proof}").as_bytes()).await;
    assert_eq!(
        answer.error_message.unwrap(),
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    );
    broker.shutdown().await;
}

/// As clients before KIP-152 do it.
#[tokio::test]
async fn messages_may_come_bare_after_the_first_handshake() {
    let broker = broker(&[]).await;
    let mut client = connect(&broker).await;
    handshake(&mut client, "PLAIN", 0).await;
    client.send_bytes(b"\0\0\0\x0d\0alice\0secret").await;
    assert_eq!(client.frame().await.as_deref(), Some(&b""[..]));
    assert!(is_served(&mut client).await);
    let mut client = connect(&broker).await;
    handshake(&mut client, "PLAIN", 0).await;
    client.send_bytes(b"\0\0\0\x0c\0alice\0wrong").await;
    assert!(client.frame().await.is_none());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_session_ends_unless_its_user_logs_in_again() {
    let broker = broker(&[("connections.max.reauth.ms", "1500")]).await;
    let mut client = connect(&broker).await;
    handshake(&mut client, "PLAIN", 1).await;
    assert_eq!(message(&mut client, b"\0alice\0secret").await.session_lifetime_ms, 1500);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(handshake(&mut client, "PLAIN", 1).await, 0);
        assert_eq!(message(&mut client, b"\0alice\0secret").await.error_code, 0);
        assert!(is_served(&mut client).await);
    }
    let request = Request::SaslHandshake(SaslHandshakeRequest { mechanism: "PLAIN".to_owned() });
    let Response::SaslHandshake(answer) = client.call(&request, 1).await else { unreachable!() };
    assert_eq!(answer.error_code, ErrorCode::IllegalSaslState.code(), "twice in a second");
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert!(!is_served(&mut client).await, "the session has ended");
    for (mechanism, token, words) in [
        (
            "PLAIN",
            &b"\0bob\0other"[..],
            "Cannot change principals during re-authentication from User.alice: User.bob",
        ),
        ("SCRAM-SHA-256", b"n,,n=alice,r=x", "is not supported for re-authentication of mechanism 'PLAIN'"),
    ] {
        let mut client = connect(&broker).await;
        handshake(&mut client, "PLAIN", 1).await;
        message(&mut client, b"\0alice\0secret").await;
        handshake(&mut client, mechanism, 1).await;
        let told = message(&mut client, token).await.error_message.unwrap();
        assert!(told.contains(words), "{told}");
        assert!(client.frame().await.is_none());
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn where_nobody_logs_in_a_login_is_out_of_place() {
    let broker = broker(&[]).await;
    let mut client = broker.connect().await;
    let request = Request::SaslHandshake(SaslHandshakeRequest { mechanism: "PLAIN".to_owned() });
    let Response::SaslHandshake(answer) = client.call(&request, 1).await else { unreachable!() };
    assert_eq!(answer.error_code, ErrorCode::IllegalSaslState.code());
    assert_eq!(message(&mut client, b"").await.error_code, ErrorCode::IllegalSaslState.code());
    broker.shutdown().await;
}

async fn alter(
    client: &mut Client,
    upsertions: Vec<ScramCredentialUpsertion>,
    deletions: Vec<ScramCredentialDeletion>,
) -> Vec<i16> {
    let request = AlterUserScramCredentialsRequest { deletions, upsertions };
    let answer = client.call(&Request::AlterUserScramCredentials(request), 0).await;
    let Response::AlterUserScramCredentials(answer) = answer else { unreachable!() };
    answer.results.into_iter().map(|result| result.error_code).collect()
}

fn upsertion(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    let salted = ScramMechanism::Sha256.salted_password("pass", b"0123456789abcdef", 4096);
    ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"0123456789abcdef"),
        salted_password: salted.into(),
    }
}

#[tokio::test]
async fn users_come_and_go_over_the_wire() {
    let broker = broker(&[]).await;
    let mut admin = broker.connect().await;
    let deletion = |name: &str| ScramCredentialDeletion { name: name.to_owned(), mechanism: 1 };
    assert_eq!(alter(&mut admin, vec![upsertion("carol", 1, 4096)], vec![]).await, [0]);
    let mut client = connect(&broker).await;
    handshake(&mut client, "PLAIN", 1).await;
    assert_eq!(message(&mut client, b"\0carol\0pass").await.error_code, 0, "by PLAIN too");
    for (upsertions, deletions, error) in [
        (vec![upsertion("", 1, 4096)], vec![], ErrorCode::UnacceptableCredential),
        (vec![upsertion("x", 1, 4095)], vec![], ErrorCode::UnacceptableCredential),
        (vec![upsertion("x", 1, 16_385)], vec![], ErrorCode::UnacceptableCredential),
        (vec![upsertion("x", 2, 4096)], vec![], ErrorCode::UnacceptableCredential),
        (vec![upsertion("x", 3, 4096)], vec![], ErrorCode::UnsupportedSaslMechanism),
        (vec![upsertion("x", 1, 4096)], vec![deletion("x")], ErrorCode::DuplicateResource),
        (vec![], vec![deletion("x")], ErrorCode::ResourceNotFound),
    ] {
        assert_eq!(alter(&mut admin, upsertions, deletions).await, [error.code()]);
    }
    assert_eq!(described(&mut admin, &[]).await, [("carol".to_owned(), 0, 1)]);
    assert_eq!(alter(&mut admin, vec![], vec![deletion("carol")]).await, [0]);
    let gone = ErrorCode::ResourceNotFound.code();
    assert_eq!(described(&mut admin, &["carol"]).await, [("carol".to_owned(), gone, 0)]);
    let twice = ErrorCode::DuplicateResource.code();
    assert_eq!(described(&mut admin, &["carol", "carol"]).await, [("carol".to_owned(), twice, 0)]);
    let mut client = connect(&broker).await;
    handshake(&mut client, "PLAIN", 1).await;
    assert_ne!(message(&mut client, b"\0carol\0pass").await.error_code, 0);
    broker.shutdown().await;
}

/// Of each user: its name, the error, and the number of its credentials.
async fn described(client: &mut Client, names: &[&str]) -> Vec<(String, i16, usize)> {
    let users = names.iter().map(|name| UserName { name: (*name).to_owned() }).collect();
    let request = DescribeUserScramCredentialsRequest { users: Some(users) };
    let answer = client.call(&Request::DescribeUserScramCredentials(request), 0).await;
    let Response::DescribeUserScramCredentials(answer) = answer else { unreachable!() };
    let results = answer.results.into_iter();
    results.map(|result| (result.user, result.error_code, result.credential_infos.len())).collect()
}
