//! Clients that begin to log in and do not go on.

use crate::{client::Client, sasl};
use std::time::{Duration, Instant};

/// What each step of a login may take, and what a busy machine may add.
const STALL: std::ops::Range<Duration> = Duration::from_secs(9)..Duration::from_secs(16);

async fn ends_in_time(mut client: Client, stage: &str) {
    let begun = Instant::now();
    assert!(client.frame().await.is_none(), "{stage}: answered");
    assert!(STALL.contains(&begun.elapsed()), "{stage}: ended after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_login_that_stops_ends_soon_and_one_that_is_done_does_not() {
    let broker = sasl::broker(&[]).await;
    let mut done = sasl::connect(&broker).await;
    sasl::handshake(&mut done, "PLAIN", 1).await;
    assert_eq!(sasl::message(&mut done, b"\0alice\0secret").await.error_code, 0);
    let mut again = sasl::connect(&broker).await;
    sasl::handshake(&mut again, "PLAIN", 1).await;
    assert_eq!(sasl::message(&mut again, b"\0alice\0secret").await.error_code, 0);
    assert_eq!(sasl::handshake(&mut again, "PLAIN", 1).await, 0);
    let silent = sasl::connect(&broker).await;
    let mut begun = sasl::connect(&broker).await;
    sasl::handshake(&mut begun, "PLAIN", 1).await;
    let mut bare = sasl::connect(&broker).await;
    sasl::handshake(&mut bare, "PLAIN", 0).await;
    let mut challenged = sasl::connect(&broker).await;
    sasl::handshake(&mut challenged, "SCRAM-SHA-256", 1).await;
    assert_eq!(sasl::message(&mut challenged, b"n,,n=alice,r=abc").await.error_code, 0);
    let mut part = sasl::connect(&broker).await;
    part.send_bytes(b"\0\0\0\x20\0").await;
    tokio::join!(
        ends_in_time(silent, "before the first request"),
        ends_in_time(part, "in the middle of the first request"),
        ends_in_time(begun, "after SaslHandshake"),
        ends_in_time(bare, "after SaslHandshake version 0"),
        ends_in_time(challenged, "between the messages of SCRAM"),
        ends_in_time(again, "in the middle of a further login"),
    );
    assert!(sasl::is_served(&mut done).await, "who has logged in may be silent");
    broker.shutdown().await;
}
