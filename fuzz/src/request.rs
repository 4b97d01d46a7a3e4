//! A request frame: header and body of any API and version. What is read is written again, and read as the same.

use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{ApiKey, Decoder, RequestHeader, messages::Request, produce::ProduceRequest};

/// See the module.
pub fn run(data: &[u8]) {
    let Ok((header, mut body)) = RequestHeader::decode(Bytes::copy_from_slice(data)) else { return };
    if header.api == ApiKey::Produce {
        let _ = ProduceRequest::decode(&mut body, header.version);
        return;
    }
    let Ok(request) = Request::decode(header.api, &mut body, header.version) else { return };
    let mut out = BytesMut::new();
    // NaN is not equal to itself, which is no fault of the codec.
    if request.encode(&mut out, header.version).is_ok() && header.api != ApiKey::AlterClientQuotas {
        let again = Request::decode(header.api, &mut Decoder::new(out.freeze()), header.version);
        assert_eq!(again.as_ref(), Ok(&request));
    }
}
