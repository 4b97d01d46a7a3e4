//! Where a subscription begins, or is sent to.

use crate::partition::Partition;
use keyway_log::ReadError;
use keyway_record::{Offset, Timestamp};
use std::{fmt, str::FromStr};

/// A place in a topic, to be found in each of its partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StartPosition {
    /// The next message.
    Latest,
    /// The oldest message that the log has.
    Earliest,
    /// This offset, or the nearest one that the log has or gives next.
    Offset(Offset),
    /// The first message of this time or later; the next message if there is none.
    Time(Timestamp),
}

/// Why a text is no position.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "'{given}' is no start position; say latest, earliest, offset:N with N from 0, or time:MS since 1970"
)]
pub(crate) struct StartPositionError {
    given: String,
}

impl StartPosition {
    /// The offset that it means in `partition` now.
    pub(super) fn resolve(self, partition: &Partition) -> Result<Offset, ReadError> {
        let bounds = partition.log.bounds();
        let (start, end) = (bounds.start, bounds.high_watermark);
        Ok(match self {
            Self::Latest => end,
            Self::Earliest => start,
            Self::Offset(offset) => offset.clamp(start, end.max(start)),
            Self::Time(time) => partition.log.find(time)?.map_or(end, |found| found.min(end)),
        })
    }
}

impl FromStr for StartPosition {
    type Err = StartPositionError;

    fn from_str(text: &str) -> Result<Self, StartPositionError> {
        let error = || StartPositionError { given: text.chars().take(64).collect() };
        let number = |text: &str| text.parse::<i64>().ok().filter(|&number| number >= 0).ok_or_else(error);
        match text.split_once(':') {
            None if text == "latest" => Ok(Self::Latest),
            None if text == "earliest" => Ok(Self::Earliest),
            Some(("offset", offset)) => Ok(Self::Offset(Offset(number(offset)?))),
            Some(("time", time)) => Ok(Self::Time(Timestamp(number(time)?))),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Earliest => f.write_str("earliest"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Time(time) => write!(f, "time:{}", time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written_and_nothing_else_is_one() {
        for text in ["latest", "earliest", "offset:0", "offset:17", "time:1700000000000"] {
            assert_eq!(text.parse::<StartPosition>().unwrap().to_string(), text);
        }
        for text in ["", "Latest", "offset", "offset:", "offset:-1", "offset:x", "time:1.5", "latest:1", "17"]
        {
            let error = text.parse::<StartPosition>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")) && error.contains("offset:N"), "{error}");
        }
        let long = "x".repeat(10_000).parse::<StartPosition>().unwrap_err();
        assert!(long.to_string().len() < 200);
    }
}
