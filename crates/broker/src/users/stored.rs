//! Users in `__node` beside the producer ids, one record for each mechanism that a user can log in with:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 11 | u8 | | version, 1 | u8 |
//! | mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512 | i8 | | iterations | u32 |
//! | the user's name | UTF-8 | | length of the salt, salt | u16, bytes |
//! | | | | length of the stored key, stored key | u16, bytes |
//! | | | | length of the server key, server key | u16, bytes |
//!
//! There is no password, and none can be made of these keys.

use crate::stored::{put_piece, take_piece};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_access::{ScramCredential, ScramMechanism};

const KIND: u8 = 11;
const VERSION: u8 = 1;

pub(super) fn key(name: &str, mechanism: ScramMechanism) -> Bytes {
    [&[KIND, mechanism.code().cast_unsigned()], name.as_bytes()].concat().into()
}

pub(super) fn encode(credential: &ScramCredential) -> Bytes {
    let ScramCredential { salt, iterations, stored_key, server_key, .. } = credential;
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    out.put_u32(*iterations);
    for part in [salt, stored_key, server_key] {
        put_piece(&mut out, part);
    }
    out.freeze()
}

/// The user and its credential, or `None` for a record of another kind.
pub(super) fn decode(key: &[u8], mut value: &[u8]) -> Result<Option<(String, ScramCredential)>, String> {
    let &[KIND, mechanism, ref name @ ..] = key else { return Ok(None) };
    let mechanism = ScramMechanism::from_code(mechanism.cast_signed())
        .ok_or_else(|| format!("a user has the unknown mechanism {mechanism}"))?;
    let name = str::from_utf8(name).map_err(|error| error.to_string())?;
    let short = |_| format!("the record of the user {name:?} is cut short");
    match value.try_get_u8().map_err(short)? {
        VERSION => {}
        version => return Err(format!("the user {name:?} has version {version}; {VERSION} is known")),
    }
    let iterations = value.try_get_u32().map_err(short)?;
    let mut part = || take_piece(&mut value).map_err(short);
    let (salt, stored_key, server_key) = (part()?, part()?, part()?);
    Ok(Some((name.to_owned(), ScramCredential { mechanism, salt, iterations, stored_key, server_key })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn a_user_comes_back_and_cuts_are_refused() {
        for mechanism in ScramMechanism::ALL {
            let credential = ScramCredential::of_password(mechanism, "x", vec![7; 16], 4096);
            let (key, value) = (key("älice", mechanism), encode(&credential));
            assert_eq!(decode(&key, &value), Ok(Some(("älice".to_owned(), credential))));
            assert!((0..value.len()).all(|len| decode(&key, &value[..len]).is_err()));
            damaged(&key).for_each(|key| drop(decode(&key, &value)));
            damaged(&value).for_each(|value| drop(decode(&key, &value)));
            assert_eq!(decode(&[3, 1], &value), Ok(None), "what is not ours");
            assert!(decode(&[KIND, 9], &value).is_err());
        }
    }
}
