//! One broker as a script sees it: connections by name, requests as trees, and what was answered step by step.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::codec;
use super::messages::Messages;
use super::names::Names;
use crate::kafka_client::Connection;

/// No answer that a script waits for takes longer, rebalances included.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What a script prepares has settled by then.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
/// What a script asks for until it is as it is to become is so by then, or never.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at what settles by itself.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The coordinator's partition is still being loaded or made, of which clients take no more notice than to ask again.
const LOADING: [i64; 2] = [14, 15];
/// The markers of the transaction before are still being written.
const CONCURRENT_TRANSACTIONS: i64 = 51;
/// The connection of requests that name none.
const MAIN: &str = "main";

/// What was answered to one request.
pub(crate) struct Step {
    /// The script, the request's purpose in it, the API and its version.
    pub(crate) name: String,
    /// The answer with names for what differs between any two brokers.
    pub(crate) answer: Value,
}

/// A request that was sent and not answered yet.
struct Sent {
    api: String,
    version: i16,
}

pub(crate) struct Side<'a> {
    messages: &'a Messages,
    address: SocketAddr,
    script: &'static str,
    connections: BTreeMap<String, Connection>,
    sent: BTreeMap<String, Sent>,
    names: Names,
    steps: Vec<Step>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(messages: &'a Messages, address: SocketAddr, script: &'static str) -> Self {
        let (connections, sent) = (BTreeMap::new(), BTreeMap::new());
        Self { messages, address, script, connections, sent, names: Names::default(), steps: Vec::new() }
    }

    /// What was answered.
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// The versions of an API, which both brokers are to speak.
    pub(crate) fn versions(&self, api: &str) -> anyhow::Result<RangeInclusive<i16>> {
        self.messages.versions(api)
    }

    /// Lets an id that the broker has chosen appear as `name` in the steps.
    pub(crate) fn name(&mut self, id: &Value, name: &str) {
        self.names.learn(id, name);
    }

    /// Asks, and notes the answer as the step `name`.
    pub(crate) async fn ask(
        &mut self,
        name: &str,
        api: &str,
        version: i16,
        request: Value,
    ) -> anyhow::Result<Value> {
        self.ask_until(name, api, version, request, |answer| !mentions(answer, &LOADING)).await
    }

    /// The same, and asks again while the transaction before is being completed.
    pub(crate) async fn ask_settled(
        &mut self,
        name: &str,
        api: &str,
        version: i16,
        request: Value,
    ) -> anyhow::Result<Value> {
        let passing = [LOADING[0], LOADING[1], CONCURRENT_TRANSACTIONS];
        self.ask_until(name, api, version, request, |answer| !mentions(answer, &passing)).await
    }

    /// Asks until the answer is as it is to become, and notes that one alone; the last one if it never is.
    pub(crate) async fn ask_until(
        &mut self,
        name: &str,
        api: &str,
        version: i16,
        request: Value,
        has_settled: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let answer = self.look(api, version, request.clone()).await.with_context(|| name.to_owned())?;
            if has_settled(&answer) || started.elapsed() > ASK_LIMIT {
                self.note(name, api, version, &answer);
                return Ok(answer);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Asks without a note until the answer is as it is to become; an error if it never is.
    pub(crate) async fn look_until(
        &mut self,
        api: &str,
        version: i16,
        request: Value,
        has_settled: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.look(api, version, request.clone()).await?;
            if has_settled(&answer) {
                return Ok(());
            }
            ensure!(started.elapsed() < SETTLE_LIMIT, "{api} does not come to what it should: {answer}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Until a look at what settles by itself is worth while again.
    pub(crate) async fn pause(&self) {
        sleep(LOOK_EVERY).await;
    }

    /// Asks in each version of the API; the requests differ in what `request` makes of the version.
    pub(crate) async fn ask_all(
        &mut self,
        name: &str,
        api: &str,
        request: impl Fn(i16) -> Value,
    ) -> anyhow::Result<()> {
        for version in self.versions(api)? {
            self.ask(name, api, version, request(version)).await?;
        }
        Ok(())
    }

    /// Asks without a note: what prepares a scene, or differs for reasons that are not compared.
    pub(crate) async fn look(&mut self, api: &str, version: i16, request: Value) -> anyhow::Result<Value> {
        self.send(MAIN, api, version, request).await?;
        self.receive(MAIN).await.map(|(_, answer)| answer)
    }

    /// Sends on a connection of its own, without waiting for the answer.
    pub(crate) async fn send(
        &mut self,
        connection: &str,
        api: &str,
        version: i16,
        request: Value,
    ) -> anyhow::Result<()> {
        let (key, body) = (self.messages.key(api)?, self.body(api, version, &request)?);
        self.connection(connection).await?.send(key, version, &body).await?;
        let before = self.sent.insert(connection.to_owned(), Sent { api: api.to_owned(), version });
        ensure!(before.is_none(), "{connection} waits for an answer already");
        Ok(())
    }

    /// Sends a request that is not answered.
    pub(crate) async fn post(
        &mut self,
        connection: &str,
        api: &str,
        version: i16,
        request: Value,
    ) -> anyhow::Result<()> {
        let (key, body) = (self.messages.key(api)?, self.body(api, version, &request)?);
        self.connection(connection).await?.post(key, version, &body).await?;
        Ok(())
    }

    fn body(&self, api: &str, version: i16, request: &Value) -> anyhow::Result<Vec<u8>> {
        let message = self.messages.request(api)?;
        // The header's tagged fields come first.
        let mut body = if message.flexible.contains(version) { vec![0] } else { Vec::new() };
        body.extend(codec::encode(message, version, request)?);
        Ok(body)
    }

    /// A connection that is there, or a new one.
    async fn connection(&mut self, name: &str) -> anyhow::Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            self.connections.insert(name.to_owned(), Connection::open(self.address).await?);
        }
        Ok(self.connections.get_mut(name).expect("opened if it was not there"))
    }

    /// Waits for the answer to what was sent on a connection, and notes it.
    pub(crate) async fn answer(&mut self, connection: &str, name: &str) -> anyhow::Result<Value> {
        let (Sent { api, version }, answer) =
            self.receive(connection).await.with_context(|| name.to_owned())?;
        self.note(name, &api, version, &answer);
        Ok(answer)
    }

    async fn receive(&mut self, connection: &str) -> anyhow::Result<(Sent, Value)> {
        let sent = self.sent.remove(connection).context("nothing was asked")?;
        let open = self.connections.get_mut(connection).context("no such connection")?;
        let received = timeout(ANSWER_LIMIT, open.receive()).await;
        // To be silent or to close the connection is an answer too.
        let mut answer = match received {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                self.connections.remove(connection);
                return Ok((sent, json!("the connection is closed")));
            }
            Err(_) => {
                self.connections.remove(connection);
                return Ok((sent, json!("no answer")));
            }
        };
        let message = self.messages.response(&sent.api)?;
        // ApiVersions keeps the header without tags, so that any client can read it.
        if message.flexible.contains(sent.version) && sent.api != "ApiVersions" {
            ensure!(answer.take(1)? == [0], "tagged fields in a response's header");
        }
        let version = self.messages.answered_version(&sent.api, sent.version)?;
        let answer = codec::decode(message, version, answer.rest())?;
        Ok((sent, answer))
    }

    fn note(&mut self, name: &str, api: &str, version: i16, answer: &Value) {
        self.names.learn_topics(answer);
        let name = format!("{}/{name} {api} v{version}", self.script);
        self.steps.push(Step { name, answer: self.names.put(answer) });
    }

    /// Makes a topic and waits until it can be used; its id.
    pub(crate) async fn create_topic(&mut self, name: &str, partitions: i32) -> anyhow::Result<Value> {
        self.create_topic_with(name, partitions, &[]).await
    }

    /// The same with configs.
    pub(crate) async fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let configs: Vec<Value> =
            configs.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        let topic =
            json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs});
        let created = self.look("CreateTopics", 7, json!({"Topics": [topic]})).await?;
        ensure!(created["Topics"][0]["ErrorCode"] == 0, "{name} is refused: {created}");
        self.wait_for_topic(name, partitions).await
    }

    /// Waits until a topic has its partitions, and each can be used; its id.
    pub(crate) async fn wait_for_topic(&mut self, name: &str, partitions: i32) -> anyhow::Result<Value> {
        let request = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false});
        let is_there = |topic: &Value| {
            let led =
                topic["Partitions"].as_array().into_iter().flatten().filter(|one| one["ErrorCode"] == 0);
            topic["ErrorCode"] == 0 && led.count() == partitions as usize
        };
        self.look_until("Metadata", 12, request.clone(), |answer| is_there(&answer["Topics"][0])).await?;
        // The leader may learn of it later than who says that it leads.
        let ends: Vec<Value> =
            (0..partitions).map(|index| json!({"PartitionIndex": index, "Timestamp": -1})).collect();
        let ends = json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": ends}]});
        self.look_until("ListOffsets", 5, ends, |answer| {
            let partitions = answer["Topics"][0]["Partitions"].as_array();
            partitions.is_some_and(|all| all.iter().all(|one| one["ErrorCode"] == 0))
        })
        .await?;
        let metadata = self.look("Metadata", 12, request).await?;
        self.names.learn_topics(&metadata);
        Ok(metadata["Topics"][0]["TopicId"].clone())
    }
}

/// Whether an error code anywhere in the answer is one of these.
fn mentions(answer: &Value, codes: &[i64]) -> bool {
    match answer {
        Value::Object(fields) => fields.iter().any(|(name, value)| match value.as_i64() {
            Some(code) => name.ends_with("ErrorCode") && codes.contains(&code),
            None => mentions(value, codes),
        }),
        Value::Array(elements) => elements.iter().any(|element| mentions(element, codes)),
        _ => false,
    }
}
