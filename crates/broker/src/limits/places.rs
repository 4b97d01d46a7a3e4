//! Places for connections: so many in all, so many of one listener, and so many for one address.

use crate::settings::Settings;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

/// Connections of a listener for administrators at a time: a few scrapers, a few people, and room for mistakes.
const ADMINISTRATORS_MAX: usize = 256;

/// The places that some listeners share. Settings are looked at for every connection, so they change while the broker runs.
pub(crate) struct Places {
    settings: Arc<Settings>,
    audience: Audience,
    taken: Mutex<Taken>,
}

/// Whom listeners are for.
enum Audience {
    /// All of them together have `max.connections`.
    Clients,
    /// Each has its own number, so that whoever administrates gets in when clients have taken all places.
    Administrators,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_listener: BTreeMap<String, usize>,
    by_address: BTreeMap<IpAddr, usize>,
}

/// The most connections there may be when one more comes.
#[derive(Clone, Copy)]
struct Bounds {
    all: usize,
    of_listener: usize,
    of_address: usize,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("max.connections is {most}, and as many are open")]
    Broker { most: usize },
    #[error(
        "this listener may have {most} connections, and has as many open; its own max.connections is the limit"
    )]
    Listener { most: usize },
    #[error("max.connections.per.ip is {most} for this address, and it has as many open")]
    Address { most: usize },
}

/// A place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    listener: String,
    address: IpAddr,
}

impl Places {
    /// Those of all listeners that clients use.
    pub(crate) fn of_clients(settings: &Arc<Settings>) -> Arc<Self> {
        Self::of(settings, Audience::Clients)
    }

    /// Those of one listener for administrators.
    pub(crate) fn of_administrators(settings: &Arc<Settings>) -> Arc<Self> {
        Self::of(settings, Audience::Administrators)
    }

    fn of(settings: &Arc<Settings>, audience: Audience) -> Arc<Self> {
        Arc::new(Self { settings: settings.clone(), audience, taken: Mutex::default() })
    }

    /// A place for a connection from `address` to the listener of this name.
    pub(crate) fn take(self: &Arc<Self>, listener: &str, address: IpAddr) -> Result<Place, NoPlace> {
        let address = address.to_canonical();
        let settings = self.settings.now();
        let own = settings.listener_connections_max(listener);
        let of_address = settings.address_limits.of(address);
        let bounds = match self.audience {
            Audience::Clients => {
                Bounds { all: settings.connections_max, of_listener: own.unwrap_or(usize::MAX), of_address }
            }
            Audience::Administrators => {
                Bounds { all: usize::MAX, of_listener: own.unwrap_or(ADMINISTRATORS_MAX), of_address }
            }
        };
        self.taken().take(listener, address, bounds)?;
        Ok(Place { places: self.clone(), listener: listener.to_owned(), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no panic while places are counted")
    }
}

impl Taken {
    fn take(&mut self, listener: &str, address: IpAddr, most: Bounds) -> Result<(), NoPlace> {
        if self.all >= most.all {
            return Err(NoPlace::Broker { most: most.all });
        }
        let of_listener = self.by_listener.get(listener).copied().unwrap_or(0);
        if of_listener >= most.of_listener {
            return Err(NoPlace::Listener { most: most.of_listener });
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= most.of_address {
            return Err(NoPlace::Address { most: most.of_address });
        }
        self.by_listener.insert(listener.to_owned(), of_listener + 1);
        self.by_address.insert(address, of_address + 1);
        self.all += 1;
        self.check();
        Ok(())
    }

    fn give_back(&mut self, listener: &str, address: IpAddr) {
        *self.by_listener.get_mut(listener).expect("it was taken") -= 1;
        let left = self.by_address.get_mut(&address).expect("it was taken");
        *left -= 1;
        if *left == 0 {
            self.by_address.remove(&address);
        }
        self.all -= 1;
        self.check();
    }

    /// Every place is one listener's. An address is remembered while it has a place, so there are no more addresses than
    /// places.
    fn check(&self) {
        assert_eq!(self.by_listener.values().sum::<usize>(), self.all);
        assert!(self.by_address.len() <= self.all, "{} addresses have {}", self.by_address.len(), self.all);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().give_back(&self.listener, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_by_listener_and_by_address() {
        let [a, b, refused]: [IpAddr; 3] = [1, 2, 3].map(|last| [10, 0, 0, last].into());
        let most = Bounds { all: 3, of_listener: 3, of_address: 2 };
        let mut taken = Taken::default();
        assert_eq!(taken.take("ONE", a, most), Ok(()));
        assert_eq!(taken.take("OTHER", a, most), Ok(()));
        assert_eq!(taken.take("ONE", a, most), Err(NoPlace::Address { most: 2 }));
        let none = Bounds { of_address: 0, ..most };
        assert_eq!(taken.take("ONE", refused, none), Err(NoPlace::Address { most: 0 }));
        let one = Bounds { of_listener: 1, ..most };
        assert_eq!(taken.take("ONE", b, one), Err(NoPlace::Listener { most: 1 }));
        assert_eq!(taken.take("THIRD", b, one), Ok(()));
        assert_eq!(taken.take("ONE", b, most), Err(NoPlace::Broker { most: 3 }));
        taken.give_back("ONE", a);
        assert_eq!(taken.take("ONE", b, one), Ok(()));
        taken.give_back("OTHER", a);
        taken.give_back("THIRD", b);
        taken.give_back("ONE", b);
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
