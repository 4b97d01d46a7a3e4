//! Health, bounds and bad input.

use crate::broker::{Answer, get, request, send, start};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn a_broker_that_serves_is_healthy_and_ready() {
    let broker = start().await;
    let healthy = get(&broker, "/healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    let ready = get(&broker, "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert_eq!(request(&broker, "HEAD", "/readyz", "").await.status, 200);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_json() {
    let broker = start().await;
    get(&broker, "/nowhere").await.is_refused(404, "path_unknown");
    get(&broker, "/%00%ff/../etc/passwd").await.is_refused(404, "path_unknown");
    let refused = request(&broker, "DELETE", "/healthz", "").await;
    refused.is_refused(405, "method_not_allowed");
    assert!(refused.head.contains("allow: get"), "{refused:?}");
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn another_machines_name_is_refused() {
    let broker = start().await;
    for host in ["example.org", "localhost.example.org:8080", "10.1.2.3", ""] {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Answer::parse(send(&broker, text.as_bytes()).await).is_refused(403, "host_foreign");
    }
    let nameless = send(&broker, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    Answer::parse(nameless).is_refused(403, "host_foreign");
    let here = send(&broker, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(Answer::parse(here).status, 200);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_request_end_their_connection_only() {
    let broker = start().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in cases {
        let answer = send(&broker, bytes).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(get(&broker, "/healthz").await.status, 200);
    broker.shutdown().await.unwrap();
}

/// Connections that say nothing, or half a request, neither block others nor hold up the end.
#[tokio::test]
async fn silent_connections_are_bounded_and_end_with_the_broker() {
    let broker = start().await;
    let mut silent = Vec::new();
    for index in 0..256 {
        let mut stream = TcpStream::connect(broker.http_address()).await.unwrap();
        if index % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
        }
        silent.push(stream);
    }
    // One more is closed at once. Accepting takes a moment, so ask until it has taken all of them.
    let begun = Instant::now();
    while !send(&broker, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .is_empty()
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "the 257th connection is served");
    }
    // A place is free as soon as one of them leaves.
    drop(silent.pop());
    while send(&broker, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .is_empty()
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "no place becomes free");
    }
    let asked = Instant::now();
    broker.shutdown().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    let mut rest = Vec::new();
    _ = silent[1].read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
}
