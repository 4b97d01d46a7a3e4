//! The brokers that a partition is assigned to by hand.

use crate::node::NODE_ID;
use std::collections::BTreeSet;

/// Checks one partition's brokers. All partitions of a topic have as many, `factor`. Brokers that are not there are as
/// good as a factor above 1; this one must be among them, because it keeps the one copy there is.
pub(super) fn check(broker_ids: &[i32], factor: usize) -> Result<(), String> {
    let distinct: BTreeSet<_> = broker_ids.iter().collect();
    if broker_ids.is_empty() {
        Err("a partition is assigned to no broker".to_owned())
    } else if distinct.len() != broker_ids.len() {
        Err(format!("a partition is assigned to a broker twice: {broker_ids:?}"))
    } else if broker_ids.iter().any(|id| *id < 0) {
        Err(format!("there is no broker with a negative id: {broker_ids:?}"))
    } else if broker_ids.len() != factor {
        Err(format!("{broker_ids:?} are not as many brokers as the topic's other partitions have, {factor}"))
    } else if !broker_ids.contains(&NODE_ID) {
        Err(format!("{broker_ids:?} lack broker {NODE_ID}, which is the only one here"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_broker_is_among_distinct_ones() {
        assert_eq!(check(&[1], 1), Ok(()));
        assert_eq!(check(&[2, 1, 3], 3), Ok(()));
        for (ids, factor) in
            [(&[][..], 0), (&[1, 1], 2), (&[1, -1], 2), (&[1, 2], 3), (&[1, 2], 1), (&[2], 1), (&[2, 3], 2)]
        {
            assert!(check(ids, factor).is_err(), "{ids:?}");
        }
    }
}
