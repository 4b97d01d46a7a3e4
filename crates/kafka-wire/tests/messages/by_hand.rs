//! Produce and Fetch by hand write and read what the generated code writes and reads, in every version.

use super::{checks, facts, golden, random, seeds::for_seeds};
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{ApiKey, ByteStr, Decoder, fetch, messages, produce, response_frame};

/// Random bodies of one message in all versions.
fn bodies(api: ApiKey, is_request: bool, test: impl Fn(i16, Bytes)) {
    let messages = facts::all();
    let message =
        messages.iter().find(|m| m.api == api.code() && m.is_request == is_request).expect("facts of it");
    for_seeds(200, |rng| {
        for version in message.versions.clone() {
            test(version, random::bytes(rng, message, version, false).into());
        }
    });
    for golden in golden::all().filter(|golden| golden.api == api && golden.is_request == is_request) {
        test(golden.version, golden.bytes);
    }
}

#[test]
fn produce_requests_read_alike() {
    bodies(ApiKey::Produce, true, |version, body| {
        let by_hand = produce::ProduceRequest::decode(&mut Decoder::new(body.clone()), version);
        let generated = messages::ProduceRequest::decode(&mut Decoder::new(body), version);
        assert!(generated.is_ok());
        assert_eq!(by_hand.map(checks::plain_request), generated);
    });
}

#[test]
fn produce_responses_write_alike() {
    bodies(ApiKey::Produce, false, |version, body| {
        let mut generated = messages::ProduceResponse::decode(&mut Decoder::new(body), version).unwrap();
        generated.node_endpoints.clear();
        let topic = |topic: &messages::produce::TopicProduceResponse| produce::TopicProduceResponse {
            name: ByteStr::from(topic.name.as_str()),
            topic_id: topic.topic_id,
            partition_responses: topic.partition_responses.clone(),
        };
        let by_hand = produce::ProduceResponse {
            responses: generated.responses.iter().map(topic).collect(),
            throttle_time_ms: generated.throttle_time_ms,
        };
        let (mut one, mut other) = (BytesMut::new(), BytesMut::new());
        by_hand.encode(&mut one, version).unwrap();
        generated.encode(&mut other, version).unwrap();
        assert_eq!(one, other);
    });
}

#[test]
fn fetch_responses_write_alike_and_share_their_records() {
    bodies(ApiKey::Fetch, false, |version, body| {
        let mut generated = messages::FetchResponse::decode(&mut Decoder::new(body), version).unwrap();
        generated.node_endpoints.clear();
        for partition in generated.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.snapshot_id = Default::default();
            partition.records.get_or_insert_default();
        }
        let by_hand = fetch::FetchResponse {
            throttle_time_ms: generated.throttle_time_ms,
            error_code: generated.error_code,
            session_id: generated.session_id,
            responses: generated.responses.iter().map(topic).collect(),
        };
        let pieces = by_hand.frame(version, 77).unwrap();
        for records in by_hand.responses.iter().flat_map(|topic| &topic.partitions).flat_map(|p| &p.records) {
            let shared = |piece: &Bytes| piece.as_ptr() == records.as_ptr() && piece.len() == records.len();
            assert!(records.is_empty() || pieces.iter().any(shared), "records were copied");
        }
        let frame = response_frame(ApiKey::Fetch, version, 77, |out| generated.encode(out, version)).unwrap();
        assert_eq!(pieces.concat(), frame);
    });
}

fn topic(topic: &messages::fetch::FetchableTopicResponse) -> fetch::FetchableTopicResponse {
    let partition = |partition: &messages::fetch::PartitionData| {
        let records = partition.records.clone().unwrap_or_default();
        let middle = records.len() / 2;
        fetch::PartitionData {
            partition_index: partition.partition_index,
            error_code: partition.error_code,
            high_watermark: partition.high_watermark,
            last_stable_offset: partition.last_stable_offset,
            log_start_offset: partition.log_start_offset,
            diverging_epoch: partition.diverging_epoch.clone(),
            current_leader: partition.current_leader.clone(),
            aborted_transactions: partition.aborted_transactions.clone(),
            preferred_read_replica: partition.preferred_read_replica,
            records: vec![records.slice(..middle), records.slice(middle..)],
        }
    };
    fetch::FetchableTopicResponse {
        topic: ByteStr::from(topic.topic.as_str()),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}
