//! What each client used lately.

use super::{Limit, QuotaKind, rate::Rate, tokens::Tokens};
use std::collections::BTreeMap;

/// Clients that are remembered, of all kinds of quotas together. A client id costs a client nothing, so their number is
/// bounded: about 500 bytes each.
const CLIENTS_MAX: usize = 20_000;

/// How often clients that have gone are looked for when there is no room for another.
const SWEEP_MS: u64 = 1_000;

/// Over how much time rates are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// `quota.window.num`, at least 1.
    pub count: usize,
    /// `quota.window.size.seconds`, at least 1 ms.
    pub window_ms: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { count: 11, window_ms: 1_000 }
    }
}

impl Windows {
    /// The time of all windows together.
    pub(super) fn span_ms(self) -> u64 {
        self.count as u64 * self.window_ms
    }
}

/// Who uses something: a user with a client id. For connections the client is the address, and there is no user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client<'a> {
    /// The user.
    pub user: &'a str,
    /// The client id.
    pub id: &'a str,
}

/// What clients used, of every kind of quota.
#[derive(Debug)]
pub struct Usage {
    windows: Windows,
    clients_max: usize,
    kinds: [OfKind; QuotaKind::ALL.len()],
    clients: usize,
    swept_ms: u64,
}

/// By user, then by client id; empty where the quota does not tell them apart.
#[derive(Debug, Default)]
struct OfKind {
    clients: BTreeMap<String, BTreeMap<String, Used>>,
    /// Those for whom there is no room: they share what one of them might use.
    others: Option<Used>,
}

#[derive(Clone, Debug)]
enum Used {
    Rate(Rate),
    Tokens(Tokens),
}

impl Usage {
    /// Nobody used anything yet.
    #[must_use]
    pub fn new(windows: Windows) -> Self {
        assert!(windows.count > 0 && windows.window_ms > 0, "{windows:?}");
        Self { windows, clients_max: CLIENTS_MAX, kinds: Default::default(), clients: 0, swept_ms: 0 }
    }

    /// Counts `amount`, and says how long the client is to wait before it uses more, ms.
    pub fn charge(
        &mut self,
        kind: QuotaKind,
        client: Client<'_>,
        limit: Limit,
        amount: f64,
        now_ms: u64,
    ) -> u64 {
        let windows = self.windows;
        let wait_ms = match self.used(kind, client, limit, now_ms) {
            Used::Rate(rate) => {
                rate.record(windows, amount, now_ms);
                rate.wait_ms(windows, limit.per_second, now_ms)
            }
            Used::Tokens(tokens) => {
                tokens.take(windows, limit.per_second, amount, now_ms);
                tokens.wait_ms(windows, limit.per_second, now_ms)
            }
        };
        match kind {
            // A thread is not held up for long by anybody, nor is a connection.
            QuotaKind::RequestPercentage | QuotaKind::ConnectionCreationRate => {
                wait_ms.min(windows.window_ms)
            }
            _ => wait_ms,
        }
    }

    /// As [`Usage::charge`], but a client that has to wait already is charged nothing: it is to be refused.
    pub fn charge_strictly(
        &mut self,
        kind: QuotaKind,
        client: Client<'_>,
        limit: Limit,
        amount: f64,
        now_ms: u64,
    ) -> Result<(), u64> {
        match self.charge(kind, client, limit, 0.0, now_ms) {
            0 => {
                self.charge(kind, client, limit, amount, now_ms);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// Takes back what was charged and then not used.
    pub fn refund(&mut self, kind: QuotaKind, client: Client<'_>, limit: Limit, amount: f64, now_ms: u64) {
        self.charge(kind, client, limit, -amount, now_ms);
    }

    /// The most that a client can use at once without waiting in any case.
    #[must_use]
    pub fn burst(&self, limit: Limit) -> f64 {
        limit.per_second * (self.windows.span_ms() - self.windows.window_ms) as f64 / 1e3
    }

    fn used(&mut self, kind: QuotaKind, client: Client<'_>, limit: Limit, now_ms: u64) -> &mut Used {
        let user = if limit.by_user { client.user } else { "" };
        let id = if limit.by_client { client.id } else { "" };
        let place = kind as usize;
        let known = self.kinds[place].clients.get(user).is_some_and(|clients| clients.contains_key(id));
        if !known && self.clients >= self.clients_max {
            self.sweep(now_ms);
        }
        let full = self.clients >= self.clients_max;
        let of_kind = &mut self.kinds[place];
        if known || !full {
            self.clients += usize::from(!known);
            // The owned names are made only for a client that is new.
            if !known {
                let of_user = of_kind.clients.entry(user.to_owned()).or_default();
                of_user.insert(id.to_owned(), Used::new(kind));
            }
            let of_user = of_kind.clients.get_mut(user).expect("known, or just inserted");
            return of_user.get_mut(id).expect("known, or just inserted");
        }
        of_kind.others.get_or_insert_with(|| Used::new(kind))
    }

    /// Forgets those of whom nothing counts any more.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms < self.swept_ms + SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let windows = self.windows;
        for of_kind in &mut self.kinds {
            for clients in of_kind.clients.values_mut() {
                clients.retain(|_, used| !used.is_idle(windows, now_ms));
            }
            of_kind.clients.retain(|_, clients| !clients.is_empty());
        }
        self.clients = self.count();
    }

    fn count(&self) -> usize {
        self.kinds.iter().flat_map(|of_kind| of_kind.clients.values()).map(BTreeMap::len).sum()
    }

    /// Recounts what is counted.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.clients, self.count());
        assert!(self.clients <= self.clients_max);
    }
}

impl Used {
    fn new(kind: QuotaKind) -> Self {
        match kind {
            QuotaKind::ControllerMutationRate => Self::Tokens(Tokens::default()),
            _ => Self::Rate(Rate::default()),
        }
    }

    fn is_idle(&self, windows: Windows, now_ms: u64) -> bool {
        match self {
            Self::Rate(rate) => rate.is_idle(windows, now_ms),
            Self::Tokens(tokens) => tokens.is_idle(windows, now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: QuotaKind = QuotaKind::ProducerByteRate;
    const EACH: Limit = Limit { per_second: 1_000.0, by_user: true, by_client: true };

    #[test]
    fn a_quota_tells_apart_whom_it_names() {
        let mut usage = Usage::new(Windows::default());
        let (a, b) = (Client { user: "u", id: "a" }, Client { user: "u", id: "b" });
        assert!(usage.charge(BYTES, a, EACH, 20_000.0, 0) > 0);
        assert_eq!(usage.charge(BYTES, b, EACH, 1.0, 0), 0);
        let of_user = Limit { by_client: false, ..EACH };
        assert!(usage.charge(BYTES, a, of_user, 20_000.0, 0) > 0);
        assert!(usage.charge(BYTES, b, of_user, 1.0, 0) > 0, "both are the user's");
        assert_eq!(usage.charge(QuotaKind::ConsumerByteRate, a, EACH, 1.0, 0), 0, "another kind");
        usage.check();
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let mut usage = Usage::new(Windows::default());
        let (kind, client) = (QuotaKind::ControllerMutationRate, Client { user: "u", id: "" });
        let limit = Limit { per_second: 2.0, ..EACH };
        assert_eq!(
            usage.charge_strictly(kind, client, limit, 100.0, 0),
            Ok(()),
            "the first goes over the bucket"
        );
        assert_eq!(usage.charge_strictly(kind, client, limit, 5.0, 0), Err(39_000));
        assert_eq!(usage.charge_strictly(kind, client, limit, 5.0, 19_000), Err(20_000));
        assert_eq!(usage.charge_strictly(kind, client, limit, 5.0, 39_000), Ok(()));
    }

    #[test]
    fn made_up_clients_do_not_use_up_the_memory() {
        let mut usage = Usage { clients_max: 50, ..Usage::new(Windows::default()) };
        let mut waits = 0;
        for n in 0..500 {
            let id = format!("c{n}");
            waits += usage.charge(BYTES, Client { user: "u", id: &id }, EACH, 1_000.0, 1_000 + n);
            usage.check();
        }
        assert!(waits > 0, "the many share one quota");
        let late = 60_000;
        assert_eq!(usage.charge(BYTES, Client { user: "u", id: "new" }, EACH, 1.0, late), 0);
        usage.check();
        assert_eq!(usage.clients, 1, "those who went are forgotten");
    }

    proptest! {
        /// Somebody who sends whenever it may is held to the quota.
        #[test]
        fn who_waits_as_told_keeps_its_rate(limit in 1_000.0..1e7_f64, parts in prop::collection::vec(0.01..3.0_f64, 400)) {
            let mut usage = Usage::new(Windows::default());
            let limit = Limit { per_second: limit, ..EACH };
            let client = Client { user: "u", id: "c" };
            let (mut now_ms, mut sent) = (0, 0.0);
            for part in parts {
                let amount = limit.per_second * part;
                sent += amount;
                now_ms += usage.charge(BYTES, client, limit, amount, now_ms) + 1;
            }
            let seconds = now_ms as f64 / 1e3;
            // On top come the windows of the start and the last amount, which nobody waits for. Kafka's sliding windows
            // let a little more pass: a sample leaves as a whole, and with it what was too much.
            let most = limit.per_second * (seconds * 1.1 + 15.0);
            prop_assert!(sent <= most, "{sent} in {seconds} s of {limit:?}");
            prop_assert!(sent >= limit.per_second * seconds * 0.9, "{sent} in {seconds} s of {limit:?}");
        }
    }
}
