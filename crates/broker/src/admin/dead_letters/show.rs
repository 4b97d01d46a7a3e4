//! Looking at dead letters.

use super::{Part, letter, letter::LetterView, parts};
use crate::admin::{
    Shared,
    error::ApiError,
    extract::{OfTopic, Parameters},
    subscriptions::describe_all,
};
use axum::{Json, extract::State};
use keyway_record::{Offset, PartitionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most letters of one answer.
const LETTERS_MAX: usize = 1_000;

const LETTERS_DEFAULT: usize = 20;

/// Bytes of letters in one answer, about; one letter may exceed it.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Letters that are passed over in search of a key, at most, before the rest is left to the next request.
const LOOKED_AT_MAX: usize = 100_000;

/// What a topic of dead letters that no subscription claims is recognised by.
const SUFFIX: &str = ".dlq";

#[derive(Serialize)]
pub(in crate::admin) struct Topics {
    dead_letter_topics: Vec<TopicView>,
}

#[derive(Serialize)]
struct TopicView {
    dead_letter_topic: String,
    partitions: usize,
    waiting: u64,
    /// Whose letters go there; none if these were deleted.
    subscriptions: Vec<Claim>,
}

#[derive(Serialize)]
struct Claim {
    topic: String,
    subscription: String,
}

/// All topics of dead letters.
pub(in crate::admin) async fn list(State(node): State<Shared>) -> Json<Topics> {
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for description in describe_all(&node).await {
        let summary = description.summary;
        let claim = Claim { topic: summary.topic, subscription: summary.subscription };
        claims.entry(summary.dead_letter_topic).or_default().push(claim);
    }
    let mut topics = Vec::new();
    for topic in node.topics.all() {
        let claimed = claims.remove(topic.name.as_str());
        if claimed.is_some() || topic.name.as_str().ends_with(SUFFIX) {
            topics.push(TopicView {
                dead_letter_topic: topic.name.to_string(),
                partitions: topic.partitions.len(),
                waiting: node.dead_letters.waiting(&topic),
                subscriptions: claimed.unwrap_or_default(),
            });
        }
    }
    Json(Topics { dead_letter_topics: topics })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Show {
    key: Option<String>,
    limit: Option<usize>,
    /// These three together go on where an answer's `rest` says.
    partition: Option<i32>,
    from: Option<i64>,
    end: Option<i64>,
}

#[derive(Serialize)]
pub(in crate::admin) struct Letters {
    dead_letters: Vec<LetterView>,
    /// What was not looked at; empty: that was all.
    rest: Vec<Part>,
}

/// Letters that wait, oldest first within a partition.
pub(in crate::admin) async fn show(
    State(node): State<Shared>,
    OfTopic(topic): OfTopic,
    Parameters(asked): Parameters<Show>,
) -> Result<Json<Letters>, ApiError> {
    let limit = asked.limit.unwrap_or(LETTERS_DEFAULT);
    if !(1..=LETTERS_MAX).contains(&limit) {
        return Err(ApiError::OutOfRange { name: "limit", given: limit, allowed: "1 to 1000" });
    }
    let part = asked.partition.map(|partition| {
        vec![Part { partition, from: asked.from.unwrap_or(0), end: asked.end.unwrap_or(i64::MAX) }]
    });
    let mut rest = parts(&topic, part)?;
    let mut found = Vec::new();
    let (mut looked_at, mut bytes) = (0, 0);
    'parts: while let Some(part) = rest.first_mut() {
        let partition = topic.partition(PartitionId(part.partition)).expect("parts name partitions");
        let settled = node.dead_letters.settled.of(&partition.id);
        while part.from < part.end {
            let read = letter::read(&*partition.log, Offset(part.from), BYTES_MAX / 4)
                .map_err(super::DeadLetterError::from)?;
            for letter in read.letters.iter().filter(|letter| letter.offset.0 < part.end) {
                if found.len() == limit || looked_at == LOOKED_AT_MAX || bytes > BYTES_MAX {
                    part.from = letter.offset.0;
                    break 'parts;
                }
                looked_at += 1;
                if !settled.contains(letter.offset.0)
                    && asked.key.as_deref().is_none_or(|key| letter.has_key(key))
                {
                    bytes += letter.record.payload_len();
                    found.push(letter.view(part.partition));
                }
            }
            if read.next.0 == part.from {
                break;
            }
            part.from = read.next.0;
        }
        rest.remove(0);
    }
    Ok(Json(Letters { dead_letters: found, rest }))
}
