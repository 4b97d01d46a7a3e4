//! Requests that published clients sent: Java 4.3.0, librdkafka 2.16 (confluent-kafka 2.16.1), kcat 1.7.1 (`rdkafka`)
//! and aiokafka 0.14. Each line of the file: client id, API, version, the frame in hex without its length.

use bytes::Bytes;
use keyway_kafka_wire::{ApiKey, RequestHeader, messages::Request, produce, records, request_frame};
use keyway_record::{Compression, RecordBatch};

struct Captured {
    client_id: &'static str,
    api: &'static str,
    version: i16,
    frame: Bytes,
}

fn all() -> impl Iterator<Item = Captured> {
    include_str!("golden/clients.txt").lines().map(|line| {
        let [client_id, api, version, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let frame = (0..hex.len()).step_by(2).map(byte).collect();
        Captured { client_id, api, version: version.parse().expect("a number"), frame }
    })
}

#[test]
fn every_request_reads_whole_and_writes_the_same_bytes() {
    for Captured { client_id, api, version, frame } in all() {
        let (header, mut body) = RequestHeader::decode(frame.clone()).expect(api);
        assert_eq!((header.api.name(), header.version), (api, version));
        assert_eq!(header.client_id.as_deref(), Some(client_id));
        let request = Request::decode(header.api, &mut body, version).expect(api);
        body.finish().expect("nothing remains");
        let again = request_frame(header.api, version, header.correlation_id, Some(client_id), |out| {
            request.encode(out, version)
        });
        assert_eq!(again.expect("it was decoded").slice(4..), frame, "{request:?}");
    }
}

/// Each client produced keys `key-0`, `key-1`, `key-2` in turn, twelve records in one batch, in the codec of its name.
#[test]
fn every_produced_batch_has_its_records_in_every_codec() {
    let mut codecs = Vec::new();
    for captured in all().filter(|captured| captured.api == ApiKey::Produce.name()) {
        let (header, mut body) = RequestHeader::decode(captured.frame).expect("a header");
        let request = produce::ProduceRequest::decode(&mut body, header.version).expect("a body");
        let partition = &request.topic_data[0].partition_data[0];
        let batch = RecordBatch::parse(partition.records.clone().expect("records")).expect("a batch");
        let walk = records(&batch, 1 << 16).expect("records that decompress");
        let records: Vec<_> = walk.map(|record| record.expect("a record")).collect();
        assert_eq!(records.len(), 12);
        for (i, record) in records.iter().enumerate() {
            assert_eq!(record.key, Some(format!("key-{}", i % 3).into()));
            let value = record.value.as_deref().expect("a value");
            assert!(value.starts_with(format!("value-{i}").as_bytes()));
            if !captured.client_id.starts_with("aiokafka") {
                let headers: Vec<_> =
                    record.headers.iter().map(|h| (&h.key[..], h.value.as_deref())).collect();
                assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", None)]);
            }
        }
        codecs.push((captured.client_id.split('-').next().expect("a name"), batch.compression()));
    }
    for client in ["java", "librdkafka"] {
        for code in 0..5 {
            let codec = Compression::of_code(code).expect("below five");
            assert!(codecs.contains(&(client, codec)), "{client} {codec:?}");
        }
    }
}
