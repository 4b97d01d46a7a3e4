//! A Danube message: one byte of type, and protobuf. A message becomes a record and is one again.

use bytes::Bytes;
use keyway_danube_wire::{
    TopicRef, message,
    proto::{AckRequest, ConsumerRequest, NackRequest, ProducerRequest, ReceiveRequest, StreamMessage},
    schema::RegisterSchemaRequest,
};
use prost::Message;

/// See the module.
pub fn run(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match kind % 7 {
        0 => {
            let Ok(sent) = StreamMessage::decode(body) else { return };
            if let Ok((timestamp, record)) = message::to_record(sent) {
                let _ = message::delivered_len(&record, timestamp);
                let _ = (message::producer_name(&record), message::ordering_key(&record));
            }
        }
        1 => drop(ProducerRequest::decode(body).map(|request| TopicRef::parse(&request.topic_name))),
        2 => drop(ConsumerRequest::decode(body).map(|request| TopicRef::parse(&request.topic_name))),
        3 => drop(AckRequest::decode(body)),
        4 => drop(NackRequest::decode(body)),
        5 => drop(ReceiveRequest::decode(body)),
        _ => drop(RegisterSchemaRequest::decode(body)),
    }
}
