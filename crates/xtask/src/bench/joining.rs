//! A thousand members that join one group at once, with either group protocol, each on a connection of its own. What is
//! timed begins when all are connected, and ends when each of them holds one of the thousand partitions.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    SyncGroupRequest, SyncGroupResponse, consumer_group_heartbeat::TopicPartitions,
    join_group::JoinGroupRequestProtocol, sync_group::SyncGroupRequestAssignment,
};
use keyway_kafka_wire::{ApiKey, DecodeError, Decoder, EncodeError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::candidate::Candidate;
use super::meter::Meter;
use super::table::Table;
use crate::broker::Launch;
use crate::kafka_client::{Connection, error_code};

const MEMBERS: usize = 1_000;
const TOPIC: &str = "joined";
const GROUP: &str = "joining";
const LIMIT: Duration = Duration::from_secs(120);
/// Kafka's default for clients of the classic protocol; the other one is told by the broker.
const CLASSIC_HEARTBEAT: Duration = Duration::from_secs(3);
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 300_000;

/// What the members do, as the Java client does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Classic,
    Consumer,
}

/// A broker on an empty folder for each round and protocol.
pub(crate) async fn measure(
    systems: &[Launch],
    rounds: usize,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for round in 0..rounds {
        for (protocol, name) in [(Protocol::Classic, "classic"), (Protocol::Consumer, "consumer")] {
            for system in super::kafka::order(systems.len(), round) {
                let candidate = Candidate::start(&systems[system], system, folder).await?;
                let address = candidate.broker.kafka();
                Connection::open(address).await?.create_topic(TOPIC, MEMBERS as i32).await?;
                warm(Connection::open(address).await?).await?;
                let connections = candidate.connect(MEMBERS).await?;
                let meter = Meter::start(&candidate.broker)?;
                let joined = timeout(LIMIT, join(connections, protocol)).await;
                joined.with_context(|| format!("not joined after {} s", LIMIT.as_secs()))??;
                let reading = meter.read()?;
                let row = format!("{MEMBERS} members join, `group.protocol={name}`");
                table.add(&row, "s", system, reading.sample(reading.took.as_secs_f64()));
                let cpu_ms = reading.broker_cpu.as_secs_f64() * 1000.0;
                table.add(&row, "broker CPU ms", system, reading.sample(cpu_ms));
                candidate.stop().await?;
            }
        }
    }
    Ok(())
}

/// Waits until the group's coordinator is there, which Kafka makes when it is first asked for.
async fn warm(connection: Connection) -> anyhow::Result<()> {
    let hall = Arc::new(Hall { held: Mutex::default(), changed: watch::channel(()).0 });
    let mut stranger = Member { connection, number: 0, hall };
    let deadline = Instant::now() + LIMIT;
    loop {
        let request =
            FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_string()], ..Default::default() };
        let encode = |out: &mut BytesMut, version| request.encode(out, version);
        stranger.ask(ApiKey::FindCoordinator, 6, encode, FindCoordinatorResponse::decode).await?;
        let code = stranger.heartbeat("nobody", 0).await?;
        if code == error_code::UNKNOWN_MEMBER_ID {
            return Ok(());
        }
        // While it loads Kafka answers heartbeats as if all were well.
        let is_loading = code == error_code::NONE || error_code::is_retriable(code);
        ensure!(is_loading && Instant::now() < deadline, "Heartbeat is refused with error {code}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns once every member holds a partition; the members leave with their connections.
async fn join(connections: Vec<Connection>, protocol: Protocol) -> anyhow::Result<()> {
    let (changed, mut changes) = watch::channel(());
    let hall = Arc::new(Hall { held: Mutex::new(vec![None; MEMBERS]), changed });
    let mut members = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        let member = Member { connection, number, hall: Arc::clone(&hall) };
        members.spawn(async move {
            match protocol {
                Protocol::Classic => member.classic().await,
                Protocol::Consumer => member.consumer().await,
            }
        });
    }
    loop {
        tokio::select! {
            left = members.join_next() => match left.context("all members have left")?? {
                Ok(()) => bail!("a member has left"),
                Err(error) => return Err(error),
            },
            changed = changes.changed() => changed?,
        }
        if hall.is_full() {
            return Ok(());
        }
    }
}

/// What a member holds.
#[derive(Clone, Copy)]
struct Held {
    /// All members have to be of the same; 0 if the protocol has none.
    generation: i32,
    partition: i32,
}

/// Where the members say what they hold.
struct Hall {
    /// By member.
    held: Mutex<Vec<Option<Held>>>,
    changed: watch::Sender<()>,
}

impl Hall {
    fn say(&self, number: usize, held: Option<Held>) {
        self.held.lock().expect("no member panics")[number] = held;
        self.changed.send_replace(());
    }

    /// Whether each member holds a partition that nobody else holds.
    fn is_full(&self) -> bool {
        let held = self.held.lock().expect("no member panics");
        let Some(first) = held[0] else { return false };
        let mut taken = [false; MEMBERS];
        held.iter().all(|held| match *held {
            Some(Held { generation, partition }) => {
                let was_taken = std::mem::replace(&mut taken[partition as usize], true);
                generation == first.generation && !was_taken
            }
            None => false,
        })
    }
}

struct Member {
    connection: Connection,
    number: usize,
    hall: Arc<Hall>,
}

impl Member {
    /// Joins, syncs and says that it is alive until the group is disbanded.
    async fn classic(mut self) -> anyhow::Result<()> {
        let mut member_id = String::new();
        loop {
            let joined = self.join_group(&member_id).await?;
            match joined.error_code {
                error_code::NONE => {}
                error_code::MEMBER_ID_REQUIRED | error_code::REBALANCE_IN_PROGRESS => {
                    member_id = joined.member_id;
                    continue;
                }
                code => bail!("JoinGroup is refused with error {code}"),
            }
            let leads = joined.leader == joined.member_id;
            let assignments = joined.members.into_iter().zip(0_i32..).filter(|_| leads);
            let assignments = assignments.map(|(member, partition)| SyncGroupRequestAssignment {
                member_id: member.member_id,
                assignment: Bytes::copy_from_slice(&partition.to_be_bytes()),
            });
            let generation = joined.generation_id;
            let synced = self.sync_group(&member_id, generation, assignments.collect()).await?;
            match synced.error_code {
                error_code::NONE => {
                    let partition = <[u8; 4]>::try_from(&synced.assignment[..]).context("no assignment")?;
                    let partition = i32::from_be_bytes(partition);
                    self.hall.say(self.number, Some(Held { generation, partition }));
                    loop {
                        sleep(CLASSIC_HEARTBEAT).await;
                        match self.heartbeat(&member_id, generation).await? {
                            error_code::NONE => {}
                            error_code::REBALANCE_IN_PROGRESS | error_code::ILLEGAL_GENERATION => break,
                            code => bail!("Heartbeat is refused with error {code}"),
                        }
                    }
                    self.hall.say(self.number, None);
                }
                error_code::REBALANCE_IN_PROGRESS => {}
                code => bail!("SyncGroup is refused with error {code}"),
            }
        }
    }

    async fn join_group(&mut self, member_id: &str) -> anyhow::Result<JoinGroupResponse> {
        let request = JoinGroupRequest {
            group_id: GROUP.to_string(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: member_id.to_string(),
            protocol_type: "consumer".to_string(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".to_string(), metadata: subscription() }],
            ..Default::default()
        };
        self.ask(ApiKey::JoinGroup, 9, |out, v| request.encode(out, v), JoinGroupResponse::decode).await
    }

    async fn sync_group(
        &mut self,
        member_id: &str,
        generation_id: i32,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> anyhow::Result<SyncGroupResponse> {
        let request = SyncGroupRequest {
            group_id: GROUP.to_string(),
            generation_id,
            member_id: member_id.to_string(),
            protocol_type: Some("consumer".to_string()),
            protocol_name: Some("range".to_string()),
            assignments,
            ..Default::default()
        };
        self.ask(ApiKey::SyncGroup, 5, |out, v| request.encode(out, v), SyncGroupResponse::decode).await
    }

    /// The answer's error.
    async fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> anyhow::Result<i16> {
        let request = HeartbeatRequest {
            group_id: GROUP.to_string(),
            generation_id,
            member_id: member_id.to_string(),
            group_instance_id: None,
        };
        let encode = |out: &mut BytesMut, version| request.encode(out, version);
        Ok(self.ask(ApiKey::Heartbeat, 4, encode, HeartbeatResponse::decode).await?.error_code)
    }

    /// Takes what it is given and gives up what it is told to, at once, until the group is disbanded.
    async fn consumer(mut self) -> anyhow::Result<()> {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_string(),
            member_id: format!("member-{:04}", self.number),
            member_epoch: 0,
            rebalance_timeout_ms: REBALANCE_MS,
            subscribed_topic_names: Some(vec![TOPIC.to_string()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        loop {
            let api = ApiKey::ConsumerGroupHeartbeat;
            let encode = |out: &mut BytesMut, version| request.encode(out, version);
            let answer = self.ask(api, 1, encode, ConsumerGroupHeartbeatResponse::decode).await?;
            let (code, message) = (answer.error_code, answer.error_message.unwrap_or_default());
            ensure!(
                code == error_code::NONE,
                "ConsumerGroupHeartbeat is refused with error {code}: {message}"
            );
            // What has not changed is not said again.
            request.member_epoch = answer.member_epoch;
            request.rebalance_timeout_ms = -1;
            (request.subscribed_topic_names, request.topic_partitions) = (None, None);
            let Some(assignment) = answer.assignment else {
                sleep(Duration::from_millis(answer.heartbeat_interval_ms as u64)).await;
                continue;
            };
            let owned: Vec<TopicPartitions> = assignment
                .topic_partitions
                .into_iter()
                .map(|topic| TopicPartitions { topic_id: topic.topic_id, partitions: topic.partitions })
                .collect();
            let partitions: Vec<i32> = owned.iter().flat_map(|topic| topic.partitions.clone()).collect();
            // Many while others have not come yet.
            let held = match partitions[..] {
                [partition] => Some(Held { generation: 0, partition }),
                _ => None,
            };
            self.hall.say(self.number, held);
            request.topic_partitions = Some(owned);
        }
    }

    /// One request of a version with tagged fields, one answer.
    async fn ask<A>(
        &mut self,
        api: ApiKey,
        version: i16,
        encode: impl FnOnce(&mut BytesMut, i16) -> Result<(), EncodeError>,
        decode: impl FnOnce(&mut Decoder, i16) -> Result<A, DecodeError>,
    ) -> anyhow::Result<A> {
        // No tagged fields in the header.
        let mut body = BytesMut::from(&[0][..]);
        encode(&mut body, version)?;
        let mut answer = self.connection.call(api.code(), version, &body).await?;
        ensure!(answer.take(1)? == [0], "tagged fields in a response header");
        Ok(decode(&mut Decoder::new(Bytes::copy_from_slice(answer.rest())), version)?)
    }
}

/// What a member wants: version 0 of the clients' own protocol, which Kafka reads too. One topic, no user data.
fn subscription() -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    out.extend_from_slice(TOPIC.as_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    Bytes::from(out)
}
