//! A broker in this process and the smallest HTTP client.

use keyway_broker::{Broker, Config, KafkaListener};
use keyway_log::MemoryStore;
use keyway_runtime::World;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A broker on free ports whose log is memory.
pub(crate) async fn start() -> Broker {
    start_on(Arc::new(MemoryStore::new())).await
}

/// The same on a store that may hold something.
pub(crate) async fn start_on(store: Arc<MemoryStore>) -> Broker {
    start_as(store, &[]).await
}

/// The same on an empty store, with settings of Kafka's.
pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Broker {
    start_as(Arc::new(MemoryStore::new()), settings).await
}

async fn start_as(store: Arc<MemoryStore>, settings: &[(&str, &str)]) -> Broker {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        kafka: vec![KafkaListener::plaintext(any)],
        grpc: any,
        danube_admin: any,
        http: any,
        settings: settings.collect(),
        ..Config::default()
    };
    Broker::start(config, World::real(), store).await.expect("a broker on free ports")
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Takes apart all bytes that a connection carried.
    pub(crate) fn parse(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// A refusal with this status and code that says what to do.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        let error = &self.json()["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!error["next_step"].as_str().unwrap().is_empty(), "{self:?}");
    }
}

/// Sends bytes as they are and reads until the broker closes.
pub(crate) async fn send(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.http_address()).await.unwrap();
    // The broker may answer and close before it has read everything.
    _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    answer
}

/// One request with a JSON body, if `body` is not empty.
pub(crate) async fn request(broker: &Broker, method: &str, path: &str, body: &str) -> Answer {
    let address = broker.http_address();
    let content = match body.len() {
        0 => String::new(),
        len => format!("Content-Type: application/json\r\nContent-Length: {len}\r\n"),
    };
    let text =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{content}\r\n{body}");
    Answer::parse(send(broker, text.as_bytes()).await)
}

pub(crate) async fn get(broker: &Broker, path: &str) -> Answer {
    request(broker, "GET", path, "").await
}
