//! Which quota a client has: Kafka's order, from the most to the least specific.

use super::{Entity, Name, QuotaKind};
use std::{collections::BTreeMap, net::IpAddr};

/// What is set, by entity. At most a value for each kind.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Limits {
    of: BTreeMap<Entity, BTreeMap<QuotaKind, f64>>,
}

/// The quota that holds for one client.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limit {
    /// The most, a second.
    pub per_second: f64,
    /// Each user is counted by itself.
    pub by_user: bool,
    /// Each client id is counted by itself.
    pub by_client: bool,
}

impl Limits {
    /// Sets a quota, or takes it away. The value must have been checked.
    pub fn set(&mut self, entity: Entity, kind: QuotaKind, value: Option<f64>) {
        assert!(value.is_none_or(|value| kind.check(value).is_ok()), "{kind:?} cannot be {value:?}");
        let of_entity = self.of.entry(entity).or_default();
        match value {
            Some(value) => _ = of_entity.insert(kind, value),
            None => _ = of_entity.remove(&kind),
        }
        self.of.retain(|_, quotas| !quotas.is_empty());
    }

    /// The quotas of one entity.
    #[must_use]
    pub fn of(&self, entity: &Entity) -> BTreeMap<QuotaKind, f64> {
        self.of.get(entity).cloned().unwrap_or_default()
    }

    /// All entities that have quotas, sorted.
    pub fn entities(&self) -> impl Iterator<Item = (&Entity, &BTreeMap<QuotaKind, f64>)> {
        self.of.iter()
    }

    /// Whether anybody has a quota of this kind.
    #[must_use]
    pub fn any(&self, kind: QuotaKind) -> bool {
        self.of.values().any(|quotas| quotas.contains_key(&kind))
    }

    /// The quota of a user with a client id. The first that is set holds: of the user's client, the user's other clients,
    /// the user, then the same of all other users, then of the client id and of all other client ids.
    #[must_use]
    pub fn of_client(&self, kind: QuotaKind, user: &str, client: &str) -> Option<Limit> {
        let user = Name::Exactly(user.to_owned());
        let client = Name::Exactly(client.to_owned());
        let pair =
            |user: &Name, client: &Name| Entity::UserClient { user: user.clone(), client: client.clone() };
        let order = [
            (pair(&user, &client), true, true),
            (pair(&user, &Name::Default), true, true),
            (Entity::User(user), true, false),
            (pair(&Name::Default, &client), true, true),
            (pair(&Name::Default, &Name::Default), true, true),
            (Entity::User(Name::Default), true, false),
            (Entity::Client(client), false, true),
            (Entity::Client(Name::Default), false, true),
        ];
        order.into_iter().find_map(|(entity, by_user, by_client)| {
            let per_second = *self.of.get(&entity)?.get(&kind)?;
            Some(Limit { per_second, by_user, by_client })
        })
    }

    /// Connections a second that an address may open.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> Option<Limit> {
        let named = Entity::Ip(Name::Exactly(address.to_canonical().to_string()));
        [named, Entity::Ip(Name::Default)].into_iter().find_map(|entity| {
            let per_second = *self.of.get(&entity)?.get(&QuotaKind::ConnectionCreationRate)?;
            Some(Limit { per_second, by_user: false, by_client: true })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<Option<&str>>, client: Option<Option<&str>>) -> Entity {
        let user = user.map(|name| ("user", name));
        Entity::of_parts(user.into_iter().chain(client.map(|name| ("client-id", name)))).unwrap()
    }

    /// Kafka's documented order. Each quota is taken away in turn, and the next one holds.
    #[test]
    fn the_most_specific_quota_holds() {
        let kind = QuotaKind::ProducerByteRate;
        let order = [
            (entity(Some(Some("u")), Some(Some("c"))), true, true),
            (entity(Some(Some("u")), Some(None)), true, true),
            (entity(Some(Some("u")), None), true, false),
            (entity(Some(None), Some(Some("c"))), true, true),
            (entity(Some(None), Some(None)), true, true),
            (entity(Some(None), None), true, false),
            (entity(None, Some(Some("c"))), false, true),
            (entity(None, Some(None)), false, true),
        ];
        let mut limits = Limits::default();
        for (place, (entity, ..)) in order.iter().enumerate() {
            limits.set(entity.clone(), kind, Some(place as f64 + 1.0));
        }
        for (place, (entity, by_user, by_client)) in order.into_iter().enumerate() {
            let expected = Limit { per_second: place as f64 + 1.0, by_user, by_client };
            assert_eq!(limits.of_client(kind, "u", "c"), Some(expected));
            assert_eq!(limits.of_client(QuotaKind::ConsumerByteRate, "u", "c"), None);
            limits.set(entity, kind, None);
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn a_quota_of_somebody_else_does_not_hold() {
        let kind = QuotaKind::RequestPercentage;
        let mut limits = Limits::default();
        limits.set(entity(Some(Some("u")), Some(Some("c"))), kind, Some(1.0));
        limits.set(entity(None, Some(Some("d"))), kind, Some(2.0));
        assert_eq!(limits.of_client(kind, "u", "x"), None);
        assert_eq!(limits.of_client(kind, "v", "c"), None);
        assert_eq!(limits.of_client(kind, "u", "d").unwrap().per_second, 2.0);
        assert!(limits.any(kind) && !limits.any(QuotaKind::ProducerByteRate));
    }

    #[test]
    fn addresses_have_their_own_or_the_default() {
        let kind = QuotaKind::ConnectionCreationRate;
        let mut limits = Limits::default();
        let of = |limits: &Limits, address: &str| {
            limits.of_address(address.parse().unwrap()).map(|limit| limit.per_second)
        };
        limits.set(Entity::of_parts([("ip", Some("10.0.0.1"))]).unwrap(), kind, Some(3.0));
        assert_eq!(of(&limits, "::ffff:10.0.0.1"), Some(3.0));
        assert_eq!(of(&limits, "10.0.0.2"), None);
        limits.set(Entity::Ip(Name::Default), kind, Some(9.0));
        assert_eq!((of(&limits, "10.0.0.1"), of(&limits, "::1")), (Some(3.0), Some(9.0)));
    }
}
