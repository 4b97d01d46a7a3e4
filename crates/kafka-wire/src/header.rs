//! What stands in front of every body, and whole frames made of both.
//!
//! | request header | type | | response header | type |
//! |---|---|---|---|---|
//! | API key | i16 | | correlation id | i32 |
//! | version | i16 | | v1: tagged fields | varint count, fields |
//! | correlation id | i32 | | | |
//! | client id, null allowed | i16 length, text | | | |
//! | v2: tagged fields | varint count, fields | | | |
//!
//! The version of either header follows from API and version of the body.

use crate::{
    ApiKey, ByteStr, EncodeError,
    decode::{DecodeError, Decoder},
    frame::LENGTH_LEN,
    messages,
};
use bytes::{BufMut, Bytes, BytesMut};

/// What a request says before its body. Key and version are ones whose messages this crate has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// What is asked for.
    pub api: ApiKey,
    /// Version of the body, and of the response's body.
    pub version: i16,
    /// Number that the response must repeat.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<ByteStr>,
}

/// Why a request cannot be handled. All but [`HeaderError::Malformed`] carry what an answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No API has this key.
    #[error("API key {code} is unknown")]
    UnknownApi {
        /// The key.
        code: i16,
        /// The version that was asked for.
        version: i16,
        /// Number of the request.
        correlation_id: i32,
    },
    /// The API is not implemented, or not in this version. Of ApiVersions, answer with error 35 in version 0; of any
    /// other, close the connection.
    #[error("{} is not spoken in version {version}", api.name())]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version that was asked for.
        version: i16,
        /// Number of the request.
        correlation_id: i32,
    },
    /// The header itself cannot be read.
    #[error("the request header is malformed: {0}")]
    Malformed(#[from] DecodeError),
}

impl RequestHeader {
    /// Reads the header of `frame`, and returns with it the walk that stands at the body's first byte.
    pub fn decode(frame: Bytes) -> Result<(Self, Decoder), HeaderError> {
        let mut input = Decoder::new(frame);
        let (code, version, correlation_id) = (input.i16()?, input.i16()?, input.i32()?);
        let Some(api) = ApiKey::of_code(code) else {
            return Err(HeaderError::UnknownApi { code, version, correlation_id });
        };
        if !api.versions().is_some_and(|versions| versions.contains(&version)) {
            return Err(HeaderError::UnsupportedVersion { api, version, correlation_id });
        }
        // Two-byte length in either version: a broker must be able to read it before it knows the version.
        let client_id = input.nullable_byte_str()?;
        if api.is_flexible(version) {
            input.skip_tags()?;
        }
        Ok((Self { api, version, correlation_id, client_id }, input))
    }
}

/// The whole frame of a response, its length included. `body` appends the body in `version`.
pub fn response_frame(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<Bytes, EncodeError> {
    let mut out = response_head(api, version, correlation_id);
    body(&mut out)?;
    seal(&mut out, 0)?;
    Ok(out.freeze())
}

/// The whole frame of a request, its length included. `body` appends the body in `version`.
pub fn request_frame(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::with_capacity(256);
    out.put_bytes(0, LENGTH_LEN);
    let header = messages::RequestHeader {
        request_api_key: api.code(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    header.encode(&mut out, api.request_header_version(version))?;
    body(&mut out)?;
    seal(&mut out, 0)?;
    Ok(out.freeze())
}

/// Room for the length, and the header of a response.
pub(crate) fn response_head(api: ApiKey, version: i16, correlation_id: i32) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_bytes(0, LENGTH_LEN);
    let header = messages::ResponseHeader { correlation_id };
    header.encode(&mut out, api.response_header_version(version)).expect("both header versions exist");
    out
}

/// Writes the length of a frame of which `out` holds all but `elsewhere` bytes.
pub(crate) fn seal(out: &mut BytesMut, elsewhere: usize) -> Result<(), EncodeError> {
    let len = out.len() - LENGTH_LEN + elsewhere;
    let length = i32::try_from(len).map_err(|_| EncodeError::Length { message: "frame", len })?;
    out[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::FrameCutter, messages::MetadataRequest};

    fn metadata_frame(version: i16, client_id: Option<&str>) -> Bytes {
        let body = |out: &mut BytesMut| MetadataRequest::default().encode(out, version);
        let bytes = request_frame(ApiKey::Metadata, version, 7, client_id, body).unwrap();
        FrameCutter::new(1000).cut(&mut BytesMut::from(bytes.as_ref())).unwrap().expect("a whole frame")
    }

    #[test]
    fn a_request_comes_back_in_both_header_versions() {
        for version in [4, 9] {
            for client_id in [None, Some("me")] {
                let (header, mut body) = RequestHeader::decode(metadata_frame(version, client_id)).unwrap();
                assert_eq!((header.api, header.version), (ApiKey::Metadata, version));
                assert_eq!((header.correlation_id, header.client_id.as_deref()), (7, client_id));
                assert_eq!(MetadataRequest::decode(&mut body, version).unwrap(), MetadataRequest::default());
                body.finish().unwrap();
            }
        }
    }

    #[test]
    fn what_is_not_spoken_still_says_which_request_it_was() {
        let frame = |key: i16, version: i16| {
            let mut out = BytesMut::new();
            out.put_i16(key);
            out.put_i16(version);
            out.put_i32(99);
            RequestHeader::decode(out.freeze()).unwrap_err()
        };
        let correlation_id = 99;
        assert_eq!(frame(999, 1), HeaderError::UnknownApi { code: 999, version: 1, correlation_id });
        let unsupported = |api, version| HeaderError::UnsupportedVersion { api, version, correlation_id };
        assert_eq!(frame(18, 9), unsupported(ApiKey::ApiVersions, 9));
        assert_eq!(frame(0, 2), unsupported(ApiKey::Produce, 2));
        assert_eq!(frame(3, -1), unsupported(ApiKey::Metadata, -1));
        assert_eq!(frame(53, 0), unsupported(ApiKey::BeginQuorumEpoch, 0));
    }

    #[test]
    fn a_cut_header_is_malformed() {
        let frame = metadata_frame(9, Some("me"));
        for len in 0..13 {
            let cut = RequestHeader::decode(frame.slice(..len));
            assert!(matches!(cut, Err(HeaderError::Malformed(_))), "{len} bytes");
        }
    }

    #[test]
    fn a_response_has_its_length_and_the_header_of_its_version() {
        let body = |out: &mut BytesMut| {
            out.put_u8(0xaa);
            Ok(())
        };
        let old = response_frame(ApiKey::Metadata, 8, 5, body).unwrap();
        assert_eq!(&old[..], [0, 0, 0, 5, 0, 0, 0, 5, 0xaa]);
        let new = response_frame(ApiKey::Metadata, 9, 5, body).unwrap();
        assert_eq!(&new[..], [0, 0, 0, 6, 0, 0, 0, 5, 0, 0xaa]);
        let api_versions = response_frame(ApiKey::ApiVersions, 4, 5, body).unwrap();
        assert_eq!(&api_versions[..], [0, 0, 0, 5, 0, 0, 0, 5, 0xaa]);
    }
}
