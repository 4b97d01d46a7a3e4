//! What must hold for any bytes at all. The bounded tests and the fuzz targets call the same functions.

use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{
    ApiKey, ByteStr, DECODED_BYTES_MAX, DecodeError, Decoder, FrameCutter, RequestHeader, compression,
    messages::{self, Request, Response},
    produce, records,
};
use keyway_record::{Compression, RecordBatch};

/// Memory that a message may take per byte of its input: the largest struct over the fewest bytes that it takes.
const MEMORY_PER_BYTE: usize = 200;

/// Most bytes that a check lets anything decompress to.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// A body of any API: the first three bytes choose API, version and side.
pub(crate) fn any_message(data: &[u8]) {
    let [api, version, side, body @ ..] = data else { return };
    let apis: Vec<ApiKey> = ApiKey::ALL.iter().copied().filter(|api| api.versions().is_some()).collect();
    let api = apis[usize::from(*api) % apis.len()];
    let (min, max) = api.versions().expect("filtered above").into_inner();
    let version = min + i16::from(*version) % (max - min + 1);
    let body = Bytes::copy_from_slice(body);
    if side & 1 == 0 { request(api, version, body) } else { response(api, version, body) }
}

/// What decodes as a request encodes, and then decodes to the same.
pub(crate) fn request(api: ApiKey, version: i16, body: Bytes) {
    let Some(message) = bounded(body, |input| Request::decode(api, input, version)) else { return };
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("what was decoded in a version can be encoded in it");
    assert_eq!(Request::decode(api, &mut Decoder::new(out.freeze()), version), Ok(message));
}

/// What decodes as a response encodes, and then decodes to the same.
pub(crate) fn response(api: ApiKey, version: i16, body: Bytes) {
    let Some(message) = bounded(body, |input| Response::decode(api, input, version)) else { return };
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("what was decoded in a version can be encoded in it");
    assert_eq!(Response::decode(api, &mut Decoder::new(out.freeze()), version), Ok(message));
}

fn bounded<T>(body: Bytes, decode: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>) -> Option<T> {
    let len = body.len();
    let mut input = Decoder::new(body);
    let message = decode(&mut input).ok();
    let memory = input.memory();
    assert!(
        memory <= DECODED_BYTES_MAX.min(len * MEMORY_PER_BYTE),
        "{memory} bytes of memory for {len} bytes"
    );
    message
}

/// The Produce request by hand reads what the generated one reads, and fails where it fails. The first byte chooses the version.
pub(crate) fn produce_request(data: &[u8]) {
    let [version, body @ ..] = data else { return };
    let version = 3 + i16::from(*version) % 11;
    let body = Bytes::copy_from_slice(body);
    let by_hand = produce::ProduceRequest::decode(&mut Decoder::new(body.clone()), version);
    let generated = messages::ProduceRequest::decode(&mut Decoder::new(body), version);
    assert_eq!(by_hand.ok().map(plain_request), generated.ok());
}

/// The generated form of a request by hand.
pub(crate) fn plain_request(request: produce::ProduceRequest) -> messages::ProduceRequest {
    use messages::produce::{PartitionProduceData, TopicProduceData};
    let text = |text: ByteStr| text.as_str().to_owned();
    let topic = |topic: produce::TopicProduceData| TopicProduceData {
        name: text(topic.name),
        topic_id: topic.topic_id,
        partition_data: topic
            .partition_data
            .into_iter()
            .map(|produce::PartitionProduceData { index, records }| PartitionProduceData { index, records })
            .collect(),
    };
    messages::ProduceRequest {
        transactional_id: request.transactional_id.map(text),
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topic_data: request.topic_data.into_iter().map(topic).collect(),
    }
}

/// A connection's bytes: frames are cut, headers read, bodies decoded, as a broker does.
pub(crate) fn connection(data: &[u8]) {
    let mut received = BytesMut::from(data);
    while let Ok(Some(frame)) = FrameCutter::new(1 << 20).cut(&mut received) {
        if let Ok((header, mut body)) = RequestHeader::decode(frame) {
            let _ = Request::decode(header.api, &mut body, header.version);
        }
    }
}

/// A record section: nothing decompresses to more than the limit, and what does compresses and comes back. The first
/// byte chooses the codec.
pub(crate) fn compressed(data: &[u8]) {
    let [codec, section @ ..] = data else { return };
    let codec = Compression::of_code(codec % 5).expect("below five");
    let Ok(plain) = compression::decompress(codec, Bytes::copy_from_slice(section), DECOMPRESSED_MAX) else {
        return;
    };
    assert!(plain.len() <= DECOMPRESSED_MAX);
    let again = compression::compress(codec, &plain);
    assert_eq!(compression::decompress(codec, again, plain.len()).expect("our own bytes"), plain);
}

/// A record batch: if its header holds, walking its records ends.
pub(crate) fn record_batch(data: &[u8]) {
    let Ok(batch) = RecordBatch::parse_first(&Bytes::copy_from_slice(data)) else { return };
    if let Ok(walk) = records(&batch, DECOMPRESSED_MAX) {
        assert!(walk.count() <= batch.record_count() + 1);
    }
}
