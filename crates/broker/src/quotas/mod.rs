//! Client quotas that act: what is set, what each client uses, and how long it is to wait.
//!
//! Every front charges the same buckets. Where nobody has a quota, one relaxed load is all that a request costs.

mod figures;
mod mute;
mod stored;

use crate::{
    access::Caller,
    internal_topic::{InternalTopic, InternalTopicError},
    settings::Effective,
};
use figures::Figures;
pub(crate) use figures::KindFigures;
use keyway_access::quota::{Client, Entity, Limit, Limits, QuotaKind, Usage, ValueError, Windows};
use keyway_runtime::Clock;
pub(crate) use mute::Mute;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

/// Most entities that quotas are set for, and the longest name of one, bytes: what is set stays in memory.
const ENTITIES_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 1024;

/// The quotas of this broker.
pub(crate) struct Quotas {
    records: Arc<InternalTopic>,
    clock: Arc<dyn Clock>,
    /// A bit for each kind that anybody has a quota of.
    active: AtomicU8,
    limits: RwLock<Arc<Limits>>,
    usage: Mutex<Usage>,
    figures: Figures,
    /// One change at a time; never held by those who are charged.
    changing: tokio::sync::Mutex<()>,
}

/// How many connections a second are taken from all clients together; `None` for any.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct ConnectionRates {
    /// Of all listeners.
    pub(crate) broker: Option<f64>,
    /// Of the one that they come through.
    pub(crate) listener: Option<f64>,
}

/// Whether a connection may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// At once.
    Now,
    /// Once it has waited: the broker, or the listener, takes no more for so long.
    After { wait_ms: u64 },
    /// Not at all: its address opens too many. It is closed once it has waited.
    Never { wait_ms: u64 },
}

/// What becomes of one quota of an entity; `None` takes it away.
pub(crate) type Changes = BTreeMap<QuotaKind, Option<f64>>;

/// Why a change is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("{} is no quota of {}", kind.name(), spelled(entity))]
    Kind { kind: QuotaKind, entity: Entity },
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("the name of an entity has {given} bytes; {NAME_BYTES_MAX} are allowed")]
    Name { given: usize },
    #[error("{ENTITIES_MAX} entities have quotas, which is the limit")]
    TooMany,
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

impl Quotas {
    /// What was set in earlier lives of the broker.
    pub(crate) fn recover(
        settings: &Effective,
        clock: &Arc<dyn Clock>,
        records: &Arc<InternalTopic>,
    ) -> Result<Self, InternalTopicError> {
        let mut limits = Limits::default();
        for (key, value) in records.entries() {
            let decoded = stored::decode(&key, &value).map_err(|reason| records.malformed(reason))?;
            let Some((entity, quotas)) = decoded else { continue };
            for (kind, value) in quotas {
                limits.set(entity.clone(), kind, Some(value));
            }
        }
        Ok(Self {
            records: records.clone(),
            clock: clock.clone(),
            active: AtomicU8::new(active(&limits)),
            limits: RwLock::new(Arc::new(limits)),
            usage: Mutex::new(Usage::new(settings.quota_windows)),
            figures: Figures::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// What is set.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.limits.read().expect("no panic while the limits are locked").clone()
    }

    /// Changes the quotas of one entity; durable when this returns.
    pub(crate) async fn change(
        &self,
        entity: &Entity,
        changes: &Changes,
        only_check: bool,
    ) -> Result<(), ChangeError> {
        let _changing = self.changing.lock().await;
        let mut limits = Limits::clone(&self.limits());
        let longest = entity.parts().iter().filter_map(|(_, name)| *name).map(str::len).max();
        if let Some(given) = longest.filter(|&bytes| bytes > NAME_BYTES_MAX) {
            return Err(ChangeError::Name { given });
        }
        for (&kind, &value) in changes {
            if !kind.applies_to(entity) {
                return Err(ChangeError::Kind { kind, entity: entity.clone() });
            }
            value.map_or(Ok(()), |value| kind.check(value))?;
            limits.set(entity.clone(), kind, value);
        }
        if limits.entities().count() > ENTITIES_MAX {
            return Err(ChangeError::TooMany);
        }
        if only_check {
            return Ok(());
        }
        let quotas = limits.of(entity);
        let value = (!quotas.is_empty()).then(|| stored::encode(&quotas));
        let apply = || {
            self.active.store(active(&limits), Relaxed);
            *self.limits.write().expect("no panic while the limits are locked") = Arc::new(limits);
        };
        Ok(self.records.put_and(vec![(stored::key(entity), value)], apply).await?)
    }

    /// Counts a connection from `address` to the listener of this name.
    pub(crate) fn connect(&self, address: IpAddr, listener: &str, most: ConnectionRates) -> Admission {
        let kind = QuotaKind::ConnectionCreationRate;
        let limit = if self.has(kind) { self.limits().of_address(address) } else { None };
        if limit.is_none() && most == ConnectionRates::default() {
            return Admission::Now;
        }
        let now_ms = self.clock.now().0;
        let mut usage = self.usage.lock().expect("no panic while the usage is locked");
        if let Some(limit) = limit {
            let name = address.to_canonical().to_string();
            let client = Client { user: "", id: &name };
            let wait_ms = usage.charge(kind, client, limit, 1.0, now_ms);
            if wait_ms > 0 {
                // It does not come in, so it does not count.
                usage.refund(kind, client, limit, 1.0, now_ms);
                self.figures.throttled(kind, wait_ms);
                return Admission::Never { wait_ms };
            }
        }
        // Listeners are counted as users would be, who have no such quota.
        let client = Client { user: listener, id: "" };
        let waits_ms = [(most.broker, false), (most.listener, true)].map(|(per_second, by_user)| {
            let limit = per_second.map(|per_second| Limit { per_second, by_user, by_client: false });
            limit.map_or(0, |limit| usage.charge(kind, client, limit, 1.0, now_ms))
        });
        match waits_ms[0].max(waits_ms[1]) {
            0 => Admission::Now,
            wait_ms => Admission::After { wait_ms },
        }
    }

    /// Whether anybody has any quota.
    pub(crate) fn any(&self) -> bool {
        self.active.load(Relaxed) != 0
    }

    /// Whether anybody has a quota of this kind.
    pub(crate) fn has(&self, kind: QuotaKind) -> bool {
        self.active.load(Relaxed) & bit(kind) != 0
    }

    /// Counts what a client uses, and says how long it is to wait, ms.
    pub(crate) fn charge(&self, kind: QuotaKind, caller: &Caller, client_id: &str, amount: f64) -> u64 {
        self.with(kind, caller, client_id, |usage, client, limit, now_ms| {
            usage.charge(kind, client, limit, amount, now_ms)
        })
        .unwrap_or(0)
    }

    /// Takes back what was charged and then not used.
    pub(crate) fn refund(&self, kind: QuotaKind, caller: &Caller, client_id: &str, amount: f64) {
        self.with(kind, caller, client_id, |usage, client, limit, now_ms| {
            usage.refund(kind, client, limit, amount, now_ms);
        });
    }

    /// As [`Quotas::charge`], but who has to wait already is charged nothing, and is to be refused for so long.
    pub(crate) fn charge_strictly(
        &self,
        kind: QuotaKind,
        caller: &Caller,
        client_id: &str,
        amount: f64,
    ) -> Result<(), u64> {
        self.with(kind, caller, client_id, |usage, client, limit, now_ms| {
            usage.charge_strictly(kind, client, limit, amount, now_ms)
        })
        .unwrap_or(Ok(()))
    }

    /// The most that a client may use at once without waiting in any case; `None` without a quota.
    pub(crate) fn burst(&self, kind: QuotaKind, caller: &Caller, client_id: &str) -> Option<f64> {
        self.with(kind, caller, client_id, |usage, _, limit, _| usage.burst(limit))
    }

    /// Notes for the metrics that somebody is held back.
    pub(crate) fn throttled(&self, kind: QuotaKind, wait_ms: u64) {
        self.figures.throttled(kind, wait_ms);
    }

    /// How often and for how long clients were held back, by kind.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (QuotaKind, KindFigures)> {
        self.figures.all()
    }

    fn with<T>(
        &self,
        kind: QuotaKind,
        caller: &Caller,
        client_id: &str,
        then: impl FnOnce(&mut Usage, Client<'_>, Limit, u64) -> T,
    ) -> Option<T> {
        if !self.has(kind) {
            return None;
        }
        let user = caller.principal.name();
        let limit = self.limits().of_client(kind, user, client_id)?;
        let now_ms = self.clock.now().0;
        let mut usage = self.usage.lock().expect("no panic while the usage is locked");
        Some(then(&mut usage, Client { user, id: client_id }, limit, now_ms))
    }
}

/// `user alice, client-id default`.
fn spelled(entity: &Entity) -> String {
    let part = |(kind, name): &(&str, Option<&str>)| format!("{kind} {}", name.unwrap_or("default"));
    entity.parts().iter().map(part).collect::<Vec<_>>().join(", ")
}

fn bit(kind: QuotaKind) -> u8 {
    1 << kind as u8
}

fn active(limits: &Limits) -> u8 {
    QuotaKind::ALL.into_iter().filter(|&kind| limits.any(kind)).map(bit).sum()
}

/// The windows that Kafka's settings ask for.
pub(crate) fn windows(count: usize, seconds: u64) -> Windows {
    Windows { count, window_ms: seconds.saturating_mul(1_000) }
}
