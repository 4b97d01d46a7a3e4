//! Whose quota it is.

use std::net::IpAddr;

/// One name, or whoever has no entity of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Name {
    /// Everybody who is not named elsewhere; null on the wire.
    Default,
    /// This one.
    Exactly(String),
}

/// What a quota can be set for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entity {
    /// A user, with whatever client id.
    User(Name),
    /// A client id, whoever uses it.
    Client(Name),
    /// A client id of a user.
    UserClient {
        /// The user.
        user: Name,
        /// The client id.
        client: Name,
    },
    /// An address.
    Ip(Name),
}

/// Why parts make no entity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntityError {
    /// There are no parts.
    #[error("a quota needs an entity: user, client-id, both, or ip")]
    Nobody,
    /// A part is of no type that has quotas.
    #[error("there are no quotas for {kind:?}; entities are user, client-id and ip")]
    Type {
        /// The type that was named.
        kind: String,
    },
    /// A type is named twice.
    #[error("{kind} is named twice in one entity")]
    Twice {
        /// The type.
        kind: String,
    },
    /// A name is empty; the default has none.
    #[error("the name of a {kind} is empty; leave it out for the default")]
    NoName {
        /// The type.
        kind: String,
    },
    /// An address is not on its own.
    #[error("a quota of an ip cannot be bound to a user or a client-id")]
    Together,
    /// A name is no address.
    #[error("{name:?} is no IP address")]
    Address {
        /// The name.
        name: String,
    },
}

/// The types as Kafka names them.
const USER: &str = "user";
const CLIENT: &str = "client-id";
const IP: &str = "ip";

impl Name {
    fn of(name: Option<&str>) -> Self {
        name.map_or(Self::Default, |name| Self::Exactly(name.to_owned()))
    }

    /// The name, if it is not the default.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Exactly(name) => Some(name),
        }
    }
}

impl Entity {
    /// The types that entities have, as Kafka names them.
    pub const TYPES: [&'static str; 3] = [USER, CLIENT, IP];

    /// The entity of these types and names, `None` being the default.
    pub fn of_parts<'a>(
        parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, EntityError> {
        let (mut user, mut client, mut ip) = (None, None, None);
        for (kind, name) in parts {
            let place = match kind {
                USER => &mut user,
                CLIENT => &mut client,
                IP => &mut ip,
                _ => return Err(EntityError::Type { kind: kind.to_owned() }),
            };
            if name == Some("") {
                return Err(EntityError::NoName { kind: kind.to_owned() });
            }
            if place.replace(Name::of(name)).is_some() {
                return Err(EntityError::Twice { kind: kind.to_owned() });
            }
        }
        match (user, client, ip) {
            (None, None, None) => Err(EntityError::Nobody),
            (Some(user), None, None) => Ok(Self::User(user)),
            (None, Some(client), None) => Ok(Self::Client(client)),
            (Some(user), Some(client), None) => Ok(Self::UserClient { user, client }),
            (None, None, Some(ip)) => match ip.exact() {
                // As the address reads when it is asked for, in whatever form it was given.
                Some(name) => match name.parse::<IpAddr>() {
                    Ok(address) => Ok(Self::Ip(Name::Exactly(address.to_canonical().to_string()))),
                    Err(_) => Err(EntityError::Address { name: name.to_owned() }),
                },
                None => Ok(Self::Ip(ip)),
            },
            _ => Err(EntityError::Together),
        }
    }

    /// Its types and names, as [`Entity::of_parts`] takes them.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, Option<&str>)> {
        match self {
            Self::User(user) => vec![(USER, user.exact())],
            Self::Client(client) => vec![(CLIENT, client.exact())],
            Self::UserClient { user, client } => vec![(USER, user.exact()), (CLIENT, client.exact())],
            Self::Ip(ip) => vec![(IP, ip.exact())],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_come_back_from_their_parts() {
        for parts in [
            vec![("user", Some("a"))],
            vec![("user", None)],
            vec![("client-id", Some("c"))],
            vec![("user", Some("a")), ("client-id", None)],
            vec![("ip", Some("10.0.0.1"))],
            vec![("ip", None)],
        ] {
            let entity = Entity::of_parts(parts.clone()).unwrap();
            assert_eq!(entity.parts(), parts);
        }
        let mapped = Entity::of_parts([("ip", Some("::ffff:10.0.0.1"))]).unwrap();
        assert_eq!(mapped.parts(), [("ip", Some("10.0.0.1"))]);
    }

    #[test]
    fn what_is_no_entity_is_refused_with_its_reason() {
        use EntityError::*;
        let of =
            |parts: &[(&'static str, Option<&'static str>)]| Entity::of_parts(parts.to_vec()).unwrap_err();
        assert_eq!(of(&[]), Nobody);
        assert_eq!(of(&[("topic", None)]), Type { kind: "topic".to_owned() });
        assert_eq!(of(&[("user", None), ("user", Some("a"))]), Twice { kind: "user".to_owned() });
        assert_eq!(of(&[("client-id", Some(""))]), NoName { kind: "client-id".to_owned() });
        assert_eq!(of(&[("user", None), ("ip", None)]), Together);
        assert_eq!(of(&[("ip", Some("host"))]), Address { name: "host".to_owned() });
    }
}
