//! A record batch and its records, behind a checksum that is made right.

use bytes::Bytes;
use keyway_record::RecordBatch;

const BYTES_MAX: usize = 1 << 20;

/// See the module.
pub fn run(data: &[u8]) {
    let mut data = data.to_vec();
    if data.len() > 21 {
        // The length as well: what lies behind them is what is to be found.
        let length = (data.len() - 12) as u32;
        data[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&data[21..]);
        data[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let Ok(batch) = RecordBatch::parse(Bytes::from(data)) else { return };
    let Ok(records) = keyway_kafka_wire::records(&batch, BYTES_MAX) else { return };
    // Each takes a byte at least, so their number is bounded by the bytes.
    let mut count = 0;
    for record in records {
        if record.is_err() {
            break;
        }
        count += 1;
    }
    assert!(count <= BYTES_MAX);
}
