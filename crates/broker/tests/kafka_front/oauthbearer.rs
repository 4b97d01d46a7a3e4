//! Logins by tokens.

use crate::{broker::TestBroker, client::Client, sasl};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use keyway_record::ErrorCode;
use ring::hmac;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const SECRET: [u8; 32] = [7; 32];
const REFUSED: &str = "{\"status\":\"invalid_token\"}";

fn token(name: &str, ends_in_s: i64, secret: &[u8]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let part = |text: String| BASE64URL.encode(text);
    let header = part(json!({"alg": "HS256"}).to_string());
    let claims = part(json!({"sub": name, "exp": now + ends_in_s}).to_string());
    let signature =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), format!("{header}.{claims}").as_bytes());
    format!("{header}.{claims}.{}", BASE64URL.encode(signature))
}

fn first(token: &str) -> Vec<u8> {
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes()
}

fn write_key(path: &Path, secret: &[u8]) {
    let key = json!({"kty": "oct", "k": BASE64URL.encode(secret)});
    let temporary = path.with_extension("new");
    fs::write(&temporary, json!({"keys": [key]}).to_string()).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(temporary, path).unwrap();
}

async fn broker(keys: &Path, more: &[(&str, &str)]) -> TestBroker {
    let url = format!("file://{}", keys.display());
    let own =
        [("sasl.enabled.mechanisms", "OAUTHBEARER"), ("sasl.oauthbearer.jwks.endpoint.url", url.as_str())];
    sasl::broker(&own.iter().chain(more).copied().collect::<Vec<_>>()).await
}

async fn begun(broker: &TestBroker) -> Client {
    let mut client = sasl::connect(broker).await;
    assert_eq!(sasl::handshake(&mut client, "OAUTHBEARER", 1).await, 0);
    client
}

async fn is_taken(broker: &TestBroker, secret: &[u8]) -> bool {
    let mut client = begun(broker).await;
    let answer = sasl::message(&mut client, &first(&token("alice", 60, secret))).await;
    assert_eq!(answer.error_code, 0);
    answer.auth_bytes.is_empty() && sasl::is_served(&mut client).await
}

#[tokio::test]
async fn a_session_is_as_long_as_its_token_and_goes_on_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    write_key(&keys, &SECRET);
    let broker = broker(&keys, &[("sasl.oauthbearer.clock.skew.seconds", "0")]).await;
    let mut client = begun(&broker).await;
    let answer = sasl::message(&mut client, &first(&token("alice", 3, &SECRET))).await;
    assert_eq!((answer.error_code, answer.auth_bytes.len()), (0, 0));
    assert!((1..=3_000).contains(&answer.session_lifetime_ms), "{answer:?}");
    assert!(sasl::is_served(&mut client).await);
    assert_eq!(sasl::handshake(&mut client, "OAUTHBEARER", 1).await, 0);
    let answer = sasl::message(&mut client, &first(&token("alice", 5, &SECRET))).await;
    assert!((3_001..=5_000).contains(&answer.session_lifetime_ms), "{answer:?}");
    assert!(sasl::is_served(&mut client).await);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    assert!(!sasl::is_served(&mut client).await, "the token has expired");
    let mut client = begun(&broker).await;
    sasl::message(&mut client, &first(&token("alice", 60, &SECRET))).await;
    sasl::handshake(&mut client, "OAUTHBEARER", 1).await;
    let told = sasl::message(&mut client, &first(&token("bob", 60, &SECRET))).await.error_message.unwrap();
    assert!(told.contains("Cannot change principals"), "{told}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_refused_token_is_told_as_the_rfc_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    write_key(&keys, &SECRET);
    let broker = broker(&keys, &[("connections.max.reauth.ms", "2000")]).await;
    let failed = ErrorCode::SaslAuthenticationFailed.code();
    for bad in [token("alice", 60, &[8; 32]), token("alice", -60, &SECRET), "a.b.c".to_owned()] {
        let mut client = begun(&broker).await;
        let answer = sasl::message(&mut client, &first(&bad)).await;
        assert_eq!((answer.error_code, &answer.auth_bytes[..]), (0, REFUSED.as_bytes()));
        assert_eq!(answer.session_lifetime_ms, 0);
        let answer = sasl::message(&mut client, b"\x01").await;
        assert_eq!((answer.error_code, answer.error_message.as_deref()), (failed, Some(REFUSED)));
        assert!(client.frame().await.is_none(), "the connection ends");
        // Nor does a good token help after that, or any other request.
        let mut client = begun(&broker).await;
        sasl::message(&mut client, &first(&bad)).await;
        let answer = sasl::message(&mut client, &first(&token("alice", 60, &SECRET))).await;
        assert_eq!(answer.error_code, failed);
        let mut client = begun(&broker).await;
        sasl::message(&mut client, &first(&bad)).await;
        assert!(!sasl::is_served(&mut client).await);
    }
    let mut client = begun(&broker).await;
    let other = format!("n,a=bob,\u{1}auth=Bearer {}\u{1}\u{1}", token("alice", 60, &SECRET));
    let told = sasl::message(&mut client, other.as_bytes()).await.error_message.unwrap();
    assert!(told.contains("different from the token's principal name (alice)"), "{told}");
    let mut client = begun(&broker).await;
    let answer = sasl::message(&mut client, &first(&token("alice", 60, &SECRET))).await;
    assert_eq!(answer.session_lifetime_ms, 2_000, "the shorter of the two");
    broker.shutdown().await;
}

#[tokio::test]
async fn keys_are_taken_up_when_their_file_changes_and_not_when_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    write_key(&keys, &SECRET);
    let broker = broker(&keys, &[]).await;
    assert!(is_taken(&broker, &SECRET).await);
    assert!(!is_taken(&broker, &[9; 32]).await);
    write_key(&keys, &[9; 32]);
    let begun = Instant::now();
    while !is_taken(&broker, &[9; 32]).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new key is not taken up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!is_taken(&broker, &SECRET).await, "the old key is gone");
    fs::write(&keys, "broken").unwrap();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(is_taken(&broker, &[9; 32]).await, "the former keys stay");
    broker.shutdown().await;
}
