//! The places of a port: one for each connection, so many in all and so many for one address.

use crate::settings::Settings;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

/// The places of one port. Settings are looked at for every connection, so they change while the broker runs.
pub(crate) struct Places {
    settings: Arc<Settings>,
    /// The port's own bound, where it is lower than the setting.
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("{most} connections are open, which is the most of this port")]
    Port { most: usize },
    #[error("max.connections.per.ip is {most} for this address, and it has as many open")]
    Address { most: usize },
}

/// A place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// At most `most`, and no more than the settings allow.
    pub(crate) fn new(settings: &Arc<Settings>, most: usize) -> Arc<Self> {
        Arc::new(Self { settings: settings.clone(), most, taken: Mutex::default() })
    }

    /// A place for a connection from `address`.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let address = address.to_canonical();
        let settings = self.settings.now();
        let most = self.most.min(settings.connections_max);
        self.taken().take(address, most, settings.address_limits.of(address))?;
        Ok(Place { places: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no panic while places are counted")
    }
}

impl Taken {
    fn take(&mut self, address: IpAddr, most: usize, of_address_most: usize) -> Result<(), NoPlace> {
        if self.all >= most {
            return Err(NoPlace::Port { most });
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= of_address_most {
            return Err(NoPlace::Address { most: of_address_most });
        }
        self.by_address.insert(address, of_address + 1);
        self.all += 1;
        self.check();
        Ok(())
    }

    fn give_back(&mut self, address: IpAddr) {
        let left = self.by_address.get_mut(&address).expect("it was taken");
        *left -= 1;
        if *left == 0 {
            self.by_address.remove(&address);
        }
        self.all -= 1;
        self.check();
    }

    /// An address is remembered while it has a place, so there are no more addresses than places.
    fn check(&self) {
        assert!(self.by_address.len() <= self.all, "{} addresses have {}", self.by_address.len(), self.all);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().give_back(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let [a, b, refused]: [IpAddr; 3] = [1, 2, 3].map(|last| [10, 0, 0, last].into());
        let mut taken = Taken::default();
        assert_eq!(taken.take(a, 3, 2), Ok(()));
        assert_eq!(taken.take(a, 3, 2), Ok(()));
        assert_eq!(taken.take(a, 3, 2), Err(NoPlace::Address { most: 2 }));
        assert_eq!(taken.take(refused, 3, 0), Err(NoPlace::Address { most: 0 }));
        assert_eq!(taken.take(b, 3, 2), Ok(()));
        assert_eq!(taken.take(b, 3, 2), Err(NoPlace::Port { most: 3 }));
        taken.give_back(a);
        assert_eq!(taken.take(b, 3, 2), Ok(()));
        taken.give_back(a);
        taken.give_back(b);
        taken.give_back(b);
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
