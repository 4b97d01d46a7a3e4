//! Keys of a URL that change while the broker runs, by a clock that stands still until the test goes on.

use super::*;
use crate::tokens::fetch::tests::{answer, server};
use keyway_runtime::{BoxFuture, Clock, Millis, World};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(20);
const REFRESH_MS: u64 = 3_600_000;
/// Least time between two fetches that tokens ask for.
const ASKED_MS: u64 = 10_000;

/// A sleep: until when, and how it ends.
type Sleep = (Millis, oneshot::Sender<()>);

/// A clock that tells of everybody who sleeps.
struct StillClock {
    now: Mutex<Millis>,
    sleeps: mpsc::UnboundedSender<Sleep>,
}

impl Clock for StillClock {
    fn now(&self) -> Millis {
        *self.now.lock().unwrap()
    }

    fn wall_ms(&self) -> i64 {
        NOW as i64
    }

    fn sleep_until(&self, deadline: Millis) -> BoxFuture<'static, ()> {
        if deadline <= self.now() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        // Nobody listens any more when the test is over.
        let _ = self.sleeps.send((deadline, wake));
        Box::pin(async move {
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Tokens whose keys are fetched, and time.
struct Watched {
    tokens: Arc<Tokens>,
    clock: Arc<StillClock>,
    sleeps: mpsc::UnboundedReceiver<Sleep>,
    sleeping: Option<Sleep>,
}

impl Watched {
    /// How long the loop sleeps now, ms: it has done what was before that.
    async fn sleeps(&mut self) -> u64 {
        let sleep = tokio::time::timeout(PATIENCE, self.sleeps.recv()).await.expect("in time").unwrap();
        let ms = sleep.0.0 - self.clock.now().0;
        self.sleeping = Some(sleep);
        ms
    }

    /// Time goes on until the end of the sleep.
    fn wake(&mut self) {
        let (deadline, wake) = self.sleeping.take().expect("somebody sleeps");
        *self.clock.now.lock().unwrap() = deadline;
        wake.send(()).expect("it waits for that");
    }

    /// Whose key is known.
    fn knows(&self, signer: &Signer) -> bool {
        match self.tokens.verify(&signer.token(), NOW) {
            Ok(_) => true,
            Err(TokenError::NoKey { .. } | TokenError::Unread) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

/// An issuer's key.
struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let (curve, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).unwrap();
        Self { id, pair, random }
    }

    /// What the issuer answers with while this is its key.
    fn published(&self) -> String {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
        let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id});
        answer("200 OK", &json!({"keys": [key]}).to_string())
    }

    fn token(&self) -> String {
        let header = json!({"alg": "ES256", "kid": self.id});
        signed(&header, &json!({"sub": "alice", "exp": NOW_S + 60}), |message| {
            self.pair.sign(&self.random, message).unwrap().as_ref().to_vec()
        })
    }
}

/// Begins to fetch from a server that gives these answers, one to each fetch.
async fn watched(folder: &Path, answers: Vec<String>) -> Watched {
    let (address, trusted) = server(folder, answers).await;
    let jaas =
        format!("M required ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}\";", trusted.display());
    let url = format!("https://localhost:{}/keys?v=1", address.port());
    let more = [
        ("oauthbearer.sasl.jaas.config", jaas.as_str()),
        ("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "300"),
    ];
    let tokens = Arc::new(Tokens::new(settings(&url, &more).unwrap()).unwrap());
    let (told, sleeps) = mpsc::unbounded_channel();
    let clock = Arc::new(StillClock { now: Mutex::new(Millis(5_000)), sleeps: told });
    let world = World { clock: clock.clone(), ..World::real() };
    let fetching = tokens.clone();
    tokio::spawn(async move { fetching.fetch_again(&world).await });
    Watched { tokens, clock, sleeps, sleeping: None }
}

#[tokio::test]
async fn a_fetch_that_fails_is_tried_again_later_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let one = Signer::new("one");
    let mut answers = vec![answer("500 Oops", ""); 4];
    answers.push(one.published());
    answers.push(answer("200 OK", "no keys"));
    let mut watched = watched(folder.path(), answers).await;
    for wait_ms in [100, 200, 300, 300] {
        assert_eq!(watched.sleeps().await, wait_ms);
        assert_eq!(watched.tokens.verify(&one.token(), NOW), Err(TokenError::Unread));
        watched.wake();
    }
    assert_eq!(watched.sleeps().await, REFRESH_MS);
    assert!(watched.knows(&one));
    watched.wake();
    assert_eq!(watched.sleeps().await, 100, "a fetch that succeeded begins the waits anew");
    assert!(watched.knows(&one), "the former keys stay");
    watched.wake();
    assert_eq!(watched.sleeps().await, 200, "the server is gone");
    assert!(watched.knows(&one), "the former keys stay");
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_in_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let answers =
        vec![one.published(), one.published(), answer("503 Later", ""), two.published(), one.published()];
    let mut watched = watched(folder.path(), answers).await;
    assert_eq!(watched.sleeps().await, REFRESH_MS);
    for _ in 0..100 {
        assert!(!watched.knows(&two));
    }
    assert_eq!(watched.sleeps().await, ASKED_MS, "a fetch is due, and not at once");
    // Those that come until then ask for one more at the most.
    for _ in 0..100 {
        assert!(!watched.knows(&two));
    }
    watched.wake();
    assert_eq!(watched.sleeps().await, REFRESH_MS);
    assert!(watched.knows(&one));
    assert_eq!(watched.sleeps().await, ASKED_MS);
    watched.wake();
    assert_eq!(watched.sleeps().await, 100, "the fetch failed");
    assert!(watched.knows(&one), "the former keys stay");
    watched.wake();
    assert_eq!(watched.sleeps().await, REFRESH_MS);
    assert!(watched.knows(&two));
    // Whoever asks long after the last fetch need not wait.
    watched.clock.now.lock().unwrap().0 += 60_000;
    assert!(!watched.knows(&one));
    assert_eq!(watched.sleeps().await, REFRESH_MS);
    assert!(watched.knows(&one) && !watched.knows(&two));
}
