//! A place in a topic as options name it.

use std::str::FromStr;

/// `latest`, `earliest`, `offset:N`, or `time:` with milliseconds since 1970 or RFC 3339. Holds what the broker reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Position(pub(crate) String);

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || {
            "say latest, earliest, offset:N, time:MS (since 1970), or time:2026-01-31T08:00:00Z".to_owned()
        };
        let whole = |text: &str| text.parse::<u64>().is_ok_and(|number| i64::try_from(number).is_ok());
        match text.split_once(':') {
            None if matches!(text, "latest" | "earliest") => Ok(Self(text.to_owned())),
            Some(("offset" | "time", number)) if whole(number) => Ok(Self(text.to_owned())),
            Some(("time", moment)) => {
                let moment: jiff::Timestamp = moment.parse().map_err(|_| allowed())?;
                let ms = moment.as_millisecond();
                if ms < 0 { Err(allowed()) } else { Ok(Self(format!("time:{ms}"))) }
            }
            _ => Err(allowed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_milliseconds_and_the_rest_stays() {
        for text in ["latest", "earliest", "offset:0", "time:1700000000000"] {
            assert_eq!(text.parse(), Ok(Position(text.to_owned())));
        }
        assert_eq!("time:2023-11-14T22:13:20Z".parse(), Ok(Position("time:1700000000000".to_owned())));
        assert_eq!("time:2023-11-14T23:13:20.5+01:00".parse(), Ok(Position("time:1700000000500".to_owned())));
        for text in
            ["", "now", "offset:", "offset:-1", "time:yesterday", "time:1969-01-01T00:00:00Z", "latest:1"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
