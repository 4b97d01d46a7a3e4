//! What becomes of messages that fail, and where a subscription begins: policies set while workers run, with published
//! clients at the other end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::scene::{Delivery, Scene};
use super::stage::Stage;
use crate::http;

pub(super) const TOPIC: &str = "/default/orders";
pub(super) const SUBSCRIPTION: &str = "orders_sub";
pub(super) const PATH: &str = "/api/v1/topics/orders/subscriptions/orders_sub";
pub(super) const DEAD_LETTERS: &str = "/default/orders-dlq";
/// How long nothing must come.
const SILENCE: Duration = Duration::from_millis(400);
const CHANGE_LIMIT: Duration = Duration::from_secs(10);

async fn ask(stage: &Stage<'_>, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    http::ask(stage.broker.http(), method, path, body).await
}

/// Three deliveries of a failing message, 50 ms apart, then `poison_policy`.
async fn set_policy(stage: &Stage<'_>, poison_policy: &str) -> anyhow::Result<()> {
    let policy = json!({
        "max_redelivery_count": 2,
        "base_redelivery_delay_ms": 50,
        "max_redelivery_delay_ms": 1000,
        "backoff_strategy": "fixed",
        "poison_policy": poison_policy,
        "dead_letter_topic": "orders-dlq",
        // A worker that fails everything is what these checks have.
        "flood_brake": false,
    });
    let set = ask(stage, "PATCH", &format!("{PATH}/policy"), Some(policy)).await?;
    ensure!(set["poison_policy"] == poison_policy && set["is_set"] == true, "the policy is now {set}");
    Ok(())
}

pub(super) async fn expect(scene: &mut Scene, text: &str) -> anyhow::Result<Delivery> {
    let delivery = scene.next().await.with_context(|| format!("waiting for {text}"))?;
    ensure!(delivery.text() == text, "{} came instead of {text}", delivery.text());
    Ok(delivery)
}

pub(super) async fn silence(scene: &mut Scene, why: &str) -> anyhow::Result<()> {
    match timeout(SILENCE, scene.next()).await {
        Ok(delivery) => bail!("{} came although {why}", delivery?.text()),
        Err(_) => Ok(()),
    }
}

/// Refuses a message as often as it comes.
pub(super) async fn refuse(scene: &mut Scene, text: &str, times: usize) -> anyhow::Result<()> {
    for time in 0..times {
        let delivery = expect(scene, text).await.with_context(|| format!("refused {time} times"))?;
        scene.nack(delivery, 0, "card declined").await?;
    }
    Ok(())
}

async fn open(stage: &Stage<'_>) -> anyhow::Result<(Scene, danube_client::Producer)> {
    let mut scene = Scene::open(&stage.broker.danube_url(), TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", SUBSCRIPTION, &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    Ok((scene, producer))
}

/// The third failure makes a dead letter with everything the message had and where it comes from; a replay brings it back.
pub(crate) async fn dead_letter(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (mut scene, producer) = open(stage).await?;
    let mut undertaker = Scene::open(&stage.broker.danube_url(), DEAD_LETTERS).await?;
    undertaker.producer("undertaker").await?;
    undertaker.worker("undertaker", "dlq_sub", &[]).await?;
    set_policy(stage, "dead_letter").await?;
    let attributes = Some([("trace".to_string(), "t-1".to_string())].into());
    producer.send_with_key(b"poisoned".to_vec(), attributes, "payment").await?;
    producer.send_with_key(b"next".to_vec(), None, "payment").await?;
    refuse(&mut scene, "poisoned", 3).await?;
    let next = expect(&mut scene, "next").await?;
    let offset = next.message.msg_id.topic_offset - 1;
    scene.ack(next).await?;

    let letter = expect(&mut undertaker, "poisoned").await?;
    ensure!(letter.key() == "payment", "the dead letter's key is {}", letter.key());
    let wanted = [
        ("trace", "t-1"),
        ("x-original-topic", "orders"),
        ("x-original-partition", "0"),
        ("x-original-subscription", SUBSCRIPTION),
        ("x-original-topic-offset", &offset.to_string()),
        ("x-poison-policy", "dead_letter"),
        ("x-delivery-attempt", "3"),
        ("x-failure-reason", "card declined"),
    ];
    let found: BTreeMap<_, _> = letter.message.attributes.iter().collect();
    for (name, value) in wanted {
        let given = letter.message.attributes.get(name).map(String::as_str);
        ensure!(given == Some(value), "{name} is {given:?}, not {value:?}; all: {found:?}");
    }
    undertaker.ack(letter).await?;
    silence(&mut undertaker, "there was one dead letter").await?;

    let shown = ask(stage, "GET", "/api/v1/dead-letters/orders-dlq", None).await?;
    ensure!(shown["dead_letters"].as_array().is_some_and(|letters| letters.len() == 1), "shown: {shown}");
    let replayed =
        ask(stage, "POST", "/api/v1/dead-letters/orders-dlq/replay", Some(json!({ "key": "payment" })))
            .await?;
    ensure!(replayed["settled"] == 1, "replayed: {replayed}");
    let again = expect(&mut scene, "poisoned").await?;
    ensure!(again.key() == "payment", "the replayed message's key is {}", again.key());
    let trace = again.message.attributes.get("trace").map(String::as_str);
    ensure!(trace == Some("t-1"), "the replayed message's trace is {trace:?}");
    scene.ack(again).await?;
    let replayed = ask(stage, "POST", "/api/v1/dead-letters/orders-dlq/replay", Some(json!({}))).await?;
    ensure!(replayed["settled"] == 0, "replayed twice: {replayed}");
    Ok("3 deliveries, a dead letter with key, attributes and origin, the key went on, the replay came back once".into())
}

/// A blocked key waits for a person and holds up nobody else; what is dropped is dropped alone.
pub(crate) async fn block_and_drop(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (mut scene, producer) = open(stage).await?;
    set_policy(stage, "block").await?;
    for text in ["first", "second"] {
        producer.send_with_key(text.as_bytes().to_vec(), None, "payment").await?;
    }
    refuse(&mut scene, "first", 3).await?;
    let key = wait_for(stage, |key| !key["blocked"].is_null() && key["in_flight"] == 0).await?;
    ensure!(key["attempts"] == 3 && key["key"] == "payment", "the blocked key is {key}");
    producer.send_with_key(b"other".to_vec(), None, "shipping").await?;
    let other = expect(&mut scene, "other").await?;
    scene.ack(other).await?;
    silence(&mut scene, "its key is blocked").await?;
    let body = Some(json!({ "key": "payment" }));
    let released = ask(stage, "POST", &format!("{PATH}/release"), body).await?;
    ensure!(released["released"] == 1, "released: {released}");
    for text in ["first", "second"] {
        let delivery = expect(&mut scene, text).await?;
        scene.ack(delivery).await?;
    }

    set_policy(stage, "drop").await?;
    for text in ["third", "fourth"] {
        producer.send_with_key(text.as_bytes().to_vec(), None, "payment").await?;
    }
    refuse(&mut scene, "third", 3).await?;
    let fourth = expect(&mut scene, "fourth").await?;
    scene.ack(fourth).await?;
    silence(&mut scene, "it was dropped").await?;
    Ok("a key blocked after 3 deliveries, released, in order; then one message dropped and its key went on"
        .into())
}

/// The picture of the key `payment`, once it is as wanted.
async fn wait_for(stage: &Stage<'_>, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    const POLL: Duration = Duration::from_millis(20);
    let began = Instant::now();
    loop {
        let key = ask(stage, "GET", &format!("{PATH}/key?key=payment"), None).await?;
        if wanted(&key) {
            return Ok(key);
        }
        ensure!(began.elapsed() < CHANGE_LIMIT, "the key stays {key}");
        sleep(POLL).await;
    }
}

/// A dead letter is written before its message counts as done: two kills lose none, and a repeated one can be told.
pub(crate) async fn dead_letters_in_crashes(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 60;
    const KILLS: usize = 3;
    let (mut scene, producer) = open(stage).await?;
    let mut undertaker = Scene::open(&stage.broker.danube_url(), DEAD_LETTERS).await?;
    undertaker.producer("undertaker").await?;
    undertaker.worker("undertaker", "dlq_sub", &[]).await?;
    set_policy(stage, "dead_letter").await?;
    for number in 0..KEYS {
        producer.send_with_key(number.to_string().into_bytes(), None, &format!("key-{number}")).await?;
    }
    // By key: offset of the original, and how many letters there are of it.
    let mut letters = BTreeMap::<String, (String, usize)>::new();
    let (mut refused, mut kills) = (0, 0);
    let began = Instant::now();
    while letters.len() < KEYS {
        ensure!(began.elapsed() < 6 * CHANGE_LIMIT, "{} of {KEYS} dead letters", letters.len());
        if kills < KILLS && refused > (kills + 1) * KEYS / 2 {
            kills += 1;
            stage.broker.kill().await?;
            stage.broker.start_again().await?;
        }
        tokio::select! {
            biased;
            delivery = scene.next_within_crashes() => {
                // A nack that meets a dead broker is repeated by the redelivery.
                if scene.nack(delivery?, 0, "card declined").await.is_ok() {
                    refused += 1;
                }
            }
            letter = undertaker.next_within_crashes() => {
                let letter = letter?;
                let offset = letter.message.attributes.get("x-original-topic-offset");
                let offset = offset.context("a dead letter without an origin")?.clone();
                let seen = letters.entry(letter.key().to_string()).or_insert((offset.clone(), 0));
                ensure!(seen.0 == offset, "{}: offsets {} and {offset}", letter.key(), seen.0);
                seen.1 += 1;
                let _ = undertaker.ack(letter).await;
            }
        }
    }
    let repeated: usize = letters.values().map(|(_, times)| times - 1).sum();
    Ok(format!(
        "{KEYS} dead letters in {kills} kills, none lost, {repeated} seen again and told by their offset"
    ))
}

/// A subscription begins where it was told to, goes back where it is sent, and says how it stands.
pub(crate) async fn start_position(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const MESSAGES: usize = 5;
    let mut scene = Scene::open(&stage.broker.danube_url(), TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    for number in 0..MESSAGES {
        producer.send_with_key(number.to_string().into_bytes(), None, "payment").await?;
    }
    let create = json!({ "type": "key_shared", "start": "earliest" });
    ask(stage, "PUT", PATH, Some(create)).await?;
    scene.worker("worker_1", SUBSCRIPTION, &[]).await?;
    let first = expect(&mut scene, "0").await?;
    let key = ask(stage, "GET", &format!("{PATH}/key?key=payment"), None).await?;
    let held = key["holder"] == "worker_1" && key["in_flight"] == 1 && key["waiting"] == MESSAGES - 1;
    ensure!(held, "the held key is {key}");
    let described = ask(stage, "GET", PATH, None).await?;
    let stands = described["lag_messages"] == MESSAGES && described["consumers_connected"] == 1;
    ensure!(stands, "the subscription is {described}");
    scene.ack(first).await?;
    for number in 1..MESSAGES {
        let delivery = expect(&mut scene, &number.to_string()).await?;
        scene.ack(delivery).await?;
    }
    for (position, begin) in [("earliest", 0), ("offset:3", 3)] {
        ask(stage, "POST", &format!("{PATH}/seek"), Some(json!({ "to": position }))).await?;
        for number in begin..MESSAGES {
            let delivery = expect(&mut scene, &number.to_string()).await.context(position)?;
            scene.ack(delivery).await?;
        }
    }
    silence(&mut scene, "everything was acknowledged").await?;
    let described = ask(stage, "GET", PATH, None).await?;
    ensure!(described["lag_messages"] == 0, "the subscription is {described}");
    Ok(format!("{MESSAGES} older messages from the earliest, all again after a seek, then from offset 3"))
}

/// The published Python client under the same policy.
pub(crate) async fn python_dead_letter(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("danube/dead_letter.py", &[]).await?.summary())
}
