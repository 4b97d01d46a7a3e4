//! What was set while the broker ran, in `__node` beside the producer ids:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind: 6 a broker, 7 a group | u8 | | version, 1 | u8 |
//! | its name, empty for all brokers | UTF-8 | | number of settings | u16 |
//! | | | | per setting: name length u16, name, value length u32, value | bytes |

use super::{Configs, Entity};
use crate::stored::{put_piece, take_piece, text};
use bytes::{Buf, BufMut, Bytes, BytesMut};

const KIND_BROKER: u8 = 6;
const KIND_GROUP: u8 = 7;
const VERSION: u8 = 1;

/// The one name that a broker can have here.
const THIS_BROKER: &[u8] = b"1";

pub(super) fn key(entity: &Entity) -> Bytes {
    let (kind, name) = match entity {
        Entity::Broker => (KIND_BROKER, THIS_BROKER),
        Entity::AllBrokers => (KIND_BROKER, &[][..]),
        Entity::Group(name) => (KIND_GROUP, name.as_bytes()),
    };
    [&[kind], name].concat().into()
}

pub(super) fn encode(configs: &Configs) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    put_configs(&mut out, configs);
    out.freeze()
}

/// The entity and its settings, or `None` for a record of another kind.
pub(super) fn decode(key: &[u8], mut value: &[u8]) -> Result<Option<(Entity, Configs)>, String> {
    let entity = match key.split_first() {
        Some((&KIND_BROKER, [])) => Entity::AllBrokers,
        Some((&KIND_BROKER, THIS_BROKER)) => Entity::Broker,
        Some((&KIND_BROKER, other)) => {
            return Err(format!("there are settings of another broker: {other:?}"));
        }
        Some((&KIND_GROUP, name)) => Entity::Group(text(name)?),
        _ => return Ok(None),
    };
    match value.try_get_u8() {
        Ok(VERSION) => {}
        Ok(version) => return Err(format!("settings have version {version}; {VERSION} is known")),
        Err(_) => return Err("settings are cut short".to_owned()),
    }
    Ok(Some((entity, take_configs(&mut value)?)))
}

/// Appends settings as the table above has them.
pub(crate) fn put_configs(out: &mut BytesMut, configs: &Configs) {
    out.put_u16(u16::try_from(configs.len()).expect("there are fewer settings"));
    for (name, value) in configs {
        put_piece(out, name);
        out.put_u32(value.len() as u32);
        out.put_slice(value.as_bytes());
    }
}

/// Takes what [`put_configs`] appended.
pub(crate) fn take_configs(rest: &mut &[u8]) -> Result<Configs, String> {
    let short = |_| "a record is cut short inside its settings".to_owned();
    let mut configs = Configs::new();
    for _ in 0..rest.try_get_u16().map_err(short)? {
        let name = text(take_piece(rest).map_err(short)?)?;
        let value_len = rest.try_get_u32().map_err(short)? as usize;
        let (value, after) =
            rest.split_at_checked(value_len).ok_or("a record is cut short inside a setting")?;
        *rest = after;
        configs.insert(name, text(value)?);
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn settings_come_back_and_cuts_are_refused() {
        let configs = Configs::from([("log.retention.ms".to_owned(), "5".to_owned())]);
        let value = encode(&configs);
        for entity in [Entity::Broker, Entity::AllBrokers, Entity::Group("g".to_owned())] {
            let decoded = decode(&key(&entity), &value);
            assert_eq!(decoded, Ok(Some((entity.clone(), configs.clone()))));
            for len in 0..value.len() {
                assert!(decode(&key(&entity), &value[..len]).is_err(), "{len} bytes");
            }
            damaged(&key(&entity)).for_each(|key| drop(decode(&key, &value)));
            damaged(&value).for_each(|value| drop(decode(&key(&entity), &value)));
        }
        assert_eq!(decode(&[3], &value), Ok(None), "what is not ours");
        assert!(decode(&[6, b'2'], &value).is_err());
    }
}
