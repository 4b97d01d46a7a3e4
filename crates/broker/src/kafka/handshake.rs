//! SaslHandshake and SaslAuthenticate: what carries a login. Its steps are the connection's (`sasl::login`); as requests
//! like others, of a client that need not log in or has done so, they do not fit.

use super::Head;
use bytes::Bytes;
use keyway_kafka_wire::{
    Decoder, RequestHeader,
    messages::{
        Request, Response, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
};
use keyway_record::ErrorCode;

/// The client names the mechanism that it wants to log in by.
pub(crate) struct Handshake {
    head: Head,
    request: SaslHandshakeRequest,
}

/// A message of the mechanism.
pub(crate) struct Authenticate {
    head: Head,
    request: SaslAuthenticateRequest,
}

impl Handshake {
    /// Reads one, or says what the frame is instead.
    pub(crate) fn read(frame: Bytes) -> Result<Self, String> {
        match read(frame)? {
            (head, Request::SaslHandshake(request)) => Ok(Self { head, request }),
            (head, _) => Err(unexpected(head)),
        }
    }

    pub(crate) fn mechanism(&self) -> &str {
        &self.request.mechanism
    }

    /// Whether the mechanism's messages follow by themselves, and not inside of requests.
    pub(crate) fn is_bare(&self) -> bool {
        self.head.version == 0
    }

    pub(crate) fn answer(&self, error: ErrorCode, mechanisms: Vec<String>) -> Result<Bytes, String> {
        let response = SaslHandshakeResponse { error_code: error.code(), mechanisms };
        self.head.frame(&Response::SaslHandshake(response))
    }
}

impl Authenticate {
    /// Reads one, or says what the frame is instead.
    pub(crate) fn read(frame: Bytes) -> Result<Self, String> {
        match read(frame)? {
            (head, Request::SaslAuthenticate(request)) => Ok(Self { head, request }),
            (head, _) => Err(unexpected(head)),
        }
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.request.auth_bytes
    }

    /// The mechanism's answer, and how long the session will last: 0 for for ever.
    pub(crate) fn answer(&self, message: Vec<u8>, session_ms: u64) -> Result<Bytes, String> {
        let session_lifetime_ms = i64::try_from(session_ms).unwrap_or(i64::MAX);
        let response = SaslAuthenticateResponse {
            auth_bytes: message.into(),
            session_lifetime_ms,
            ..Default::default()
        };
        self.head.frame(&Response::SaslAuthenticate(response))
    }

    pub(crate) fn refused(&self, message: String) -> Result<Bytes, String> {
        let error_code = ErrorCode::SaslAuthenticationFailed.code();
        let response =
            SaslAuthenticateResponse { error_code, error_message: Some(message), ..Default::default() };
        self.head.frame(&Response::SaslAuthenticate(response))
    }
}

/// A handshake where none fits.
pub(super) fn out_of_place() -> SaslHandshakeResponse {
    SaslHandshakeResponse { error_code: ErrorCode::IllegalSaslState.code(), ..Default::default() }
}

/// A message of a login where none fits.
pub(super) fn message_out_of_place() -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some("SaslAuthenticate request received after successful authentication".to_owned()),
        ..Default::default()
    }
}

fn read(frame: Bytes) -> Result<(Head, Request), String> {
    let (header, mut body): (RequestHeader, Decoder) =
        RequestHeader::decode(frame).map_err(|error| error.to_string())?;
    let head = Head { api: header.api, version: header.version, correlation_id: header.correlation_id };
    let request = Request::decode(header.api, &mut body, header.version);
    let request = request.map_err(|error| format!("{} is malformed: {error}", header.api.name()))?;
    Ok((head, request))
}

fn unexpected(head: Head) -> String {
    format!("{} comes in the middle of a login", head.api.name())
}
