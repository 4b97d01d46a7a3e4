//! Access rules, in `__node` beside the producer ids:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 8 | u8 | | version, 1 | u8 |
//! | resource type, pattern type, operation, permission: Kafka's codes | 4 × u8 | | | |
//! | length of the resource's name, the name | u16, UTF-8 | | | |
//! | length of the principal, the principal | u16, UTF-8 | | | |
//! | the host | UTF-8 | | | |

use crate::stored::{put_piece, take_piece, text};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_access::{
    Operation, ResourceType,
    acl::{Pattern, PatternType, Permission, Rule},
};

const KIND: u8 = 8;
const VERSION: u8 = 1;

/// The value of every rule's record: the key says all.
pub(super) const VALUE: Bytes = Bytes::from_static(&[VERSION]);

pub(super) fn key(rule: &Rule) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(KIND);
    out.put_i8(rule.pattern.resource_type.code());
    out.put_i8(rule.pattern.pattern_type.code());
    out.put_i8(rule.operation.code());
    out.put_i8(rule.permission.code());
    for text in [&rule.pattern.name, &rule.principal] {
        put_piece(&mut out, text);
    }
    out.put_slice(rule.host.as_bytes());
    out.freeze()
}

/// The rule, or `None` for a record of another kind.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Option<Rule>, String> {
    let Some((&KIND, mut rest)) = key.split_first() else { return Ok(None) };
    match value {
        [VERSION] => {}
        _ => return Err("an access rule's record of another version".to_owned()),
    }
    let short = |_| "an access rule is cut short".to_owned();
    let mut code = || rest.try_get_i8().map_err(short);
    let (resource_type, pattern_type, operation, permission) = (code()?, code()?, code()?, code()?);
    let mut part = || text(take_piece(&mut rest).map_err(short)?);
    let (name, principal) = (part()?, part()?);
    let rule = Rule {
        pattern: Pattern {
            resource_type: ResourceType::from_code(resource_type).ok_or("an unknown type of resource")?,
            name,
            pattern_type: PatternType::from_code(pattern_type).ok_or("an unknown type of pattern")?,
        },
        principal,
        host: text(rest)?,
        operation: Operation::from_code(operation).ok_or("an unknown operation")?,
        permission: Permission::from_code(permission).ok_or("an unknown permission")?,
    };
    rule.check().map_err(|error| error.to_string())?;
    Ok(Some(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    #[test]
    fn rules_come_back_and_cuts_are_refused() {
        let rule = Rule {
            pattern: Pattern::prefixed(ResourceType::Group, "team-"),
            principal: "User:ä".to_owned(),
            host: "10.0.0.1".to_owned(),
            operation: Operation::Read,
            permission: Permission::Deny,
        };
        let key = key(&rule);
        assert_eq!(decode(&key, &VALUE), Ok(Some(rule)));
        for len in 1..key.len() - "10.0.0.1".len() + 1 {
            assert!(decode(&key[..len], &VALUE).is_err(), "{len} bytes");
        }
        damaged(&key).for_each(|key| drop(decode(&key, &VALUE)));
        assert!(decode(&key, &[2]).is_err());
        assert_eq!(decode(&[3], &[]), Ok(None), "what is not ours");
    }
}
