//! A signed token in its compact form (RFC 7515): `HEADER.PAYLOAD.SIGNATURE`, each base64url.

use super::{TokenError, algorithm::Algorithm, key_set::KeySet, shortened};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Longest token, bytes: what fits into a call's headers on the gRPC front.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The members of a header that mean anything here. Keys and addresses of keys that a token brings along do not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde_json::Value>,
}

/// The payload of a token that one of `keys` has signed.
pub(super) fn payload(token: &str, keys: &KeySet) -> Result<Vec<u8>, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Long { bytes: token.len(), most: TOKEN_BYTES_MAX });
    }
    let form = |reason| TokenError::Form { reason };
    let (signed, signature) = token.rsplit_once('.').ok_or(form("it has no dots"))?;
    let (header, payload) = signed.split_once('.').ok_or(form("it has one dot, and not two"))?;
    let decoded = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| form("it is not base64url"));
    let (header, payload, signature) = (decoded(header)?, decoded(payload)?, decoded(signature)?);
    let header: Header =
        serde_json::from_slice(&header).map_err(|_| form("its header is no JSON object with an alg"))?;
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let unknown = || TokenError::Algorithm { asked: shortened(&header.alg) };
    let algorithm = Algorithm::named(&header.alg).ok_or_else(unknown)?;
    let mut fitting = keys.keys.iter().filter(|key| key.fits(&header.alg, algorithm, header.kid.as_deref()));
    let mut any = false;
    let verified = fitting.any(|key| {
        any = true;
        key.verifies(algorithm, signed.as_bytes(), &signature)
    });
    match (verified, any) {
        (true, _) => Ok(payload),
        _ if keys.keys.is_empty() => Err(TokenError::Unread),
        (false, true) => Err(TokenError::Signature),
        (false, false) => {
            let id = header.kid.as_deref().map_or_else(|| "none".to_owned(), shortened);
            Err(TokenError::NoKey { algorithm: header.alg, id })
        }
    }
}
