//! What a setting's value must look like.

/// The type of a setting, with its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Boolean,
    /// What it would turn on is not there.
    AlwaysFalse,
    /// One of these, or any text if there are none.
    String(&'static [&'static str]),
    /// One of these, in capitals or not.
    AnyCase(&'static [&'static str]),
    /// From this on.
    Short(i64),
    /// From this on.
    Int(i64),
    /// From the first to the second.
    IntIn(i64, i64),
    /// From this on.
    Long(i64),
    Double,
    /// From 0 to 1.
    Ratio,
    /// Each one of these, or any text if there are none.
    List(&'static [&'static str]),
    /// The name of a Java class.
    Class,
    /// Never shown.
    Password,
}

/// Codecs that a topic's batches may be stored in, and `producer` for what the producer chose.
pub(crate) const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

impl Kind {
    /// Kafka's number of the type.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Boolean | Self::AlwaysFalse => 1,
            Self::String(_) | Self::AnyCase(_) => 2,
            Self::Int(_) | Self::IntIn(..) => 3,
            Self::Short(_) => 4,
            Self::Long(_) => 5,
            Self::Double | Self::Ratio => 6,
            Self::List(_) => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(crate) fn accepts(self, value: &str) -> bool {
        let number =
            |min: i64, max: i64| value.parse::<i64>().is_ok_and(|value| (min..=max).contains(&value));
        match self {
            Self::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::AlwaysFalse => value.eq_ignore_ascii_case("false"),
            Self::String(allowed) => allowed.is_empty() || allowed.contains(&value),
            Self::AnyCase(allowed) => allowed.iter().any(|one| one.eq_ignore_ascii_case(value)),
            Self::Short(min) => number(min, i16::MAX.into()),
            Self::Int(min) => number(min, i32::MAX.into()),
            Self::IntIn(min, max) => number(min, max),
            Self::Long(min) => number(min, i64::MAX),
            Self::Double => value.parse::<f64>().is_ok(),
            Self::Ratio => value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Self::List(allowed) => {
                allowed.is_empty()
                    || value.is_empty()
                    || value.split(',').all(|part| allowed.contains(&part.trim()))
            }
            Self::Class | Self::Password => true,
        }
    }

    pub(crate) fn expected(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::AlwaysFalse => "false".to_owned(),
            Self::String([]) => "text".to_owned(),
            Self::String(allowed) | Self::AnyCase(allowed) => format!("one of {}", allowed.join(", ")),
            Self::Short(min) | Self::Int(min) | Self::Long(min) => format!("a number of at least {min}"),
            Self::IntIn(min, max) => format!("a number from {min} to {max}"),
            Self::Double => "a number".to_owned(),
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::List([]) => "a list".to_owned(),
            Self::List(allowed) => format!("a list of {}", allowed.join(", ")),
            Self::Class => "a class".to_owned(),
            Self::Password => "a password".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_type_and_a_range() {
        for (kind, good, bad) in [
            (Kind::Boolean, &["true", "FALSE"][..], &["yes", ""][..]),
            (Kind::IntIn(-1, 9), &["-1", "9"], &["10", "1.0", " 1"]),
            (Kind::Short(1), &["1", "32767"], &["0", "32768"]),
            (Kind::Long(0), &["9223372036854775807"], &["9223372036854775808", "-1"]),
            (Kind::Ratio, &["0", "0.5", "1"], &["1.1", "half"]),
            (Kind::AnyCase(&["upgrade"]), &["Upgrade"], &["up"]),
            (Kind::List(&["compact", "delete"]), &["", "compact, delete"], &["compact,burn"]),
        ] {
            assert!(good.iter().all(|value| kind.accepts(value)), "{kind:?}");
            assert!(!bad.iter().any(|value| kind.accepts(value)), "{kind:?}");
        }
    }
}
