//! What was set, in `__node`:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind: 10 | u8 | | version, 1 | u8 |
//! | number of parts | u8 | | number of quotas | u8 |
//! | per part: type (0 user, 1 client-id, 2 ip) | u8 | | per quota: its number | u8 |
//! | its name: 0 for the default, or 1, length u16 | u8 | | its value | f64 |
//! | and as many bytes | UTF-8 | | | |

use crate::stored::{put_piece, take_piece, text};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_access::quota::{Entity, QuotaKind};
use std::collections::BTreeMap;

const KIND: u8 = 10;
const VERSION: u8 = 1;

type OfEntity = BTreeMap<QuotaKind, f64>;

pub(super) fn key(entity: &Entity) -> Bytes {
    let parts = entity.parts();
    let mut out = BytesMut::new();
    out.put_u8(KIND);
    out.put_u8(parts.len() as u8);
    for (kind, name) in parts {
        let number = Entity::TYPES.iter().position(|&known| known == kind).expect("one of the types");
        out.put_u8(number as u8);
        out.put_u8(u8::from(name.is_some()));
        if let Some(name) = name {
            put_piece(&mut out, name);
        }
    }
    out.freeze()
}

pub(super) fn encode(quotas: &OfEntity) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    out.put_u8(quotas.len() as u8);
    for (&kind, &value) in quotas {
        out.put_u8(kind as u8);
        out.put_f64(value);
    }
    out.freeze()
}

/// The entity and its quotas, or `None` for a record of another kind.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Option<(Entity, OfEntity)>, String> {
    let Some((&KIND, key)) = key.split_first() else { return Ok(None) };
    let entity = take_entity(key).ok_or("a quota has a malformed entity")??;
    match value.split_first() {
        Some((&VERSION, value)) => {
            let quotas = take_quotas(value).ok_or("quotas are cut short")??;
            Ok(Some((entity, quotas)))
        }
        Some((version, _)) => Err(format!("quotas have version {version}; {VERSION} is known")),
        None => Err("quotas are cut short".to_owned()),
    }
}

/// `None` if it is cut short.
fn take_entity(mut key: &[u8]) -> Option<Result<Entity, String>> {
    let mut parts = Vec::new();
    for _ in 0..key.try_get_u8().ok()? {
        let kind = *Entity::TYPES.get(usize::from(key.try_get_u8().ok()?))?;
        let name = match key.try_get_u8().ok()? {
            0 => None,
            _ => Some(text(take_piece(&mut key).ok()?).ok()?),
        };
        parts.push((kind, name));
    }
    if !key.is_empty() {
        return None;
    }
    Some(
        Entity::of_parts(parts.iter().map(|(kind, name)| (*kind, name.as_deref())))
            .map_err(|error| error.to_string()),
    )
}

fn take_quotas(mut value: &[u8]) -> Option<Result<OfEntity, String>> {
    let mut quotas = OfEntity::new();
    for _ in 0..value.try_get_u8().ok()? {
        let number = usize::from(value.try_get_u8().ok()?);
        let Some(&kind) = QuotaKind::ALL.get(number) else {
            return Some(Err(format!("there is no quota with number {number}")));
        };
        let amount = value.try_get_f64().ok()?;
        if let Err(error) = kind.check(amount) {
            return Some(Err(error.to_string()));
        }
        quotas.insert(kind, amount);
    }
    value.is_empty().then_some(Ok(quotas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn quotas_come_back_and_cuts_are_refused() {
        let quotas =
            OfEntity::from([(QuotaKind::ProducerByteRate, 5.0), (QuotaKind::RequestPercentage, 0.5)]);
        let value = encode(&quotas);
        for parts in [
            vec![("user", Some("a:b"))],
            vec![("user", None), ("client-id", Some("c"))],
            vec![("ip", Some("::1"))],
        ] {
            let entity = Entity::of_parts(parts).unwrap();
            let key = key(&entity);
            assert_eq!(decode(&key, &value), Ok(Some((entity, quotas.clone()))));
            for len in 0..value.len() {
                assert!(decode(&key, &value[..len]).is_err(), "{len} bytes of the value");
            }
            damaged(&key).for_each(|key| drop(decode(&key, &value)));
            damaged(&value).for_each(|value| drop(decode(&key, &value)));
            for len in 1..key.len() {
                assert!(decode(&key[..len], &value).is_err(), "{len} bytes of the key");
            }
        }
        assert_eq!(decode(&[6, 1], &value), Ok(None), "what is not ours");
    }
}
