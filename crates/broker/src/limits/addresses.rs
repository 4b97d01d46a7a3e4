//! How many connections one address may have.

use std::{collections::BTreeMap, net::IpAddr};

/// `max.connections.per.ip` and its overrides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AddressLimits {
    most: usize,
    overrides: BTreeMap<IpAddr, usize>,
}

/// Why a list of overrides is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AddressLimitsError {
    #[error("{0:?} is not ADDRESS:NUMBER")]
    Form(String),
    #[error("{0:?} is no IP address")]
    Address(String),
}

impl AddressLimits {
    /// `overrides` as Kafka writes them: `127.0.0.1:50,::1:20`, the number behind the last colon.
    pub(crate) fn parse(most: usize, overrides: &str) -> Result<Self, AddressLimitsError> {
        let one = |text: &str| {
            let form = || AddressLimitsError::Form(text.to_owned());
            let (address, number) = text.rsplit_once(':').ok_or_else(form)?;
            let number = number.trim().parse().map_err(|_| form())?;
            let address = address.trim().trim_start_matches('[').trim_end_matches(']');
            let address: IpAddr =
                address.parse().map_err(|_| AddressLimitsError::Address(address.to_owned()))?;
            Ok((address.to_canonical(), number))
        };
        let listed = overrides.split(',').map(str::trim).filter(|text| !text.is_empty());
        Ok(Self { most, overrides: listed.map(one).collect::<Result<_, _>>()? })
    }

    /// The most connections of this address. Whoever is on this machine is not counted unless an override names it: a
    /// proxy or a test of a thousand clients is one address there.
    pub(crate) fn of(&self, address: IpAddr) -> usize {
        let address = address.to_canonical();
        match self.overrides.get(&address) {
            Some(&most) => most,
            None if address.is_loopback() => usize::MAX,
            None => self.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_override_or_what_all_have() {
        let limits = AddressLimits::parse(1_000, " 10.0.0.1:5, [::1]:7,fe80::1:8").unwrap();
        let of = |address: &str| limits.of(address.parse().unwrap());
        assert_eq!((of("10.0.0.1"), of("::ffff:10.0.0.1"), of("10.0.0.2")), (5, 5, 1_000));
        assert_eq!((of("::1"), of("fe80::1"), of("127.0.0.1")), (7, 8, usize::MAX));
        assert_eq!(AddressLimits::parse(1, "").unwrap().of([10, 0, 0, 1].into()), 1);
    }

    #[test]
    fn what_is_no_list_of_overrides_is_refused() {
        for text in ["10.0.0.1", "10.0.0.1:many", "10.0.0.1:-1"] {
            assert_eq!(AddressLimits::parse(1, text), Err(AddressLimitsError::Form(text.to_owned())));
        }
        assert_eq!(AddressLimits::parse(1, "host:5"), Err(AddressLimitsError::Address("host".to_owned())));
    }
}
