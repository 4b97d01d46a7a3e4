//! Ranges of message versions, as Kafka's definitions write them: `4-18`, `12+`, `7`, `none`.

use anyhow::Context;
use std::{fmt, str::FromStr};

/// Versions from `min` to `max`, both included; empty if `min` is larger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// What has to be asked of a version to know whether it lies in a range.
pub(super) enum Condition {
    Always,
    Never,
    If(String),
}

impl Versions {
    pub(super) const NONE: Self = Self { min: 1, max: 0 };

    pub(super) fn and(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    /// From the first version of either to the last.
    pub(super) fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.min > self.max
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The Rust condition for `version`, known to lie in `valid`, to lie in this range.
    pub(super) fn condition(self, valid: Self) -> Condition {
        let both = self.and(valid);
        let Self { min, max } = both;
        if both.is_empty() {
            return Condition::Never;
        }
        match (min > valid.min, max < valid.max) {
            (false, false) => Condition::Always,
            (true, false) => Condition::If(format!("version >= {min}")),
            (false, true) => Condition::If(format!("version <= {max}")),
            (true, true) => Condition::If(format!("({min}..={max}).contains(&version)")),
        }
    }
}

impl FromStr for Versions {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let number = |text: &str| text.parse().with_context(|| format!("version {text:?}"));
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(min) = text.strip_suffix('+') {
            return Ok(Self { min: number(min)?, max: i16::MAX });
        }
        match text.split_once('-') {
            Some((min, max)) => Ok(Self { min: number(min)?, max: number(max)? }),
            None => number(text).map(|only| Self { min: only, max: only }),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            range if range.is_empty() => f.write_str("none"),
            Self { min, max: i16::MAX } => write!(f, "{min}+"),
            Self { min, max } if min == max => write!(f, "{min}"),
            Self { min, max } => write!(f, "{min}-{max}"),
        }
    }
}
