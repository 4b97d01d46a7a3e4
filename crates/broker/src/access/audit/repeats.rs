//! What happens again and again gets one line, and a second one at the end of the minute that says how often. So a client in
//! a loop neither fills a disk nor hides what else happens.

use super::event::Fields;
use keyway_record::Millis;
use std::collections::BTreeMap;

/// How long the same is not told again, ms.
pub(super) const WINDOW_MS: u64 = 60_000;

/// Most different events that a window tells of; with the longest names these are 16 MiB.
const LISTED_MAX: usize = 4_096;

/// The events of a window.
#[derive(Debug)]
pub(super) struct Repeats {
    ends: Millis,
    listed: BTreeMap<String, Repeated>,
    unlisted: u64,
}

#[derive(Debug)]
struct Repeated {
    fields: Fields,
    times: u64,
}

impl Repeats {
    /// Windows of which the first begins now.
    pub(super) fn new(now: Millis) -> Self {
        Self { ends: now.plus(WINDOW_MS), listed: BTreeMap::new(), unlisted: 0 }
    }

    /// Counts the event; its fields are given back if they are to be written.
    pub(super) fn count(&mut self, same: String, fields: impl FnOnce() -> Fields) -> Option<Fields> {
        if let Some(repeated) = self.listed.get_mut(&same) {
            repeated.times += 1;
            return None;
        }
        if self.listed.len() >= LISTED_MAX {
            self.unlisted += 1;
            return None;
        }
        let fields = fields();
        self.listed.insert(same, Repeated { fields: fields.clone(), times: 0 });
        Some(fields)
    }

    /// What is to be written about the window that ended, if one did.
    pub(super) fn ended(&mut self, now: Millis) -> Vec<Fields> {
        if now < self.ends { Vec::new() } else { self.end(now) }
    }

    /// Ends the window; what is to be written about it.
    pub(super) fn end(&mut self, now: Millis) -> Vec<Fields> {
        self.ends = now.plus(WINDOW_MS);
        let mut lines = Vec::new();
        for (_, Repeated { mut fields, times }) in std::mem::take(&mut self.listed) {
            if times > 0 {
                fields.insert("repeated".to_owned(), times.into());
                lines.push(fields);
            }
        }
        let unlisted = std::mem::take(&mut self.unlisted);
        if unlisted > 0 {
            let fields = [("event", "unlisted".into()), ("count", unlisted.into())];
            lines.push(fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(event: &str) -> Fields {
        Fields::from_iter([("event".to_owned(), event.into())])
    }

    #[test]
    fn a_loop_makes_two_lines_a_window() {
        let mut repeats = Repeats::new(Millis(0));
        let mut written = 0;
        for at in 0..WINDOW_MS {
            assert!(repeats.ended(Millis(at)).is_empty());
            written += usize::from(repeats.count("denied a".to_owned(), || fields("denied")).is_some());
        }
        assert!(
            repeats.count("denied b".to_owned(), || fields("denied")).is_some(),
            "another has a line of its own"
        );
        assert_eq!(written, 1);
        let lines = repeats.ended(Millis(WINDOW_MS));
        assert_eq!(lines.len(), 1, "what happened once is told already");
        assert_eq!(lines[0]["repeated"], WINDOW_MS - 1);
        assert!(repeats.ended(Millis(2 * WINDOW_MS)).is_empty(), "it is told once");
        assert!(repeats.count("denied a".to_owned(), || fields("denied")).is_some(), "and anew afterwards");
    }

    #[test]
    fn ever_new_names_make_a_bounded_number_of_lines() {
        let mut repeats = Repeats::new(Millis(0));
        let more = 100_000;
        let written = (0..LISTED_MAX + more)
            .filter(|name| repeats.count(name.to_string(), || fields("denied")).is_some())
            .count();
        assert_eq!(written, LISTED_MAX);
        let lines = repeats.end(Millis(1));
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["event"], &lines[0]["count"]), (&"unlisted".into(), &more.into()));
    }
}
