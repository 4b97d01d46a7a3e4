//! Log levels by module, which are Kafka's loggers. Who starts the broker has the filter; here are the names and levels that
//! Kafka's tools know. They are not stored: the next start begins with those that it is given.

use crate::settings::Configs;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};
use tracing::level_filters::LevelFilter;

/// What the process logs, by module path; what is set for none of a module's parents either is logged as `root` says.
pub type LogLevels = BTreeMap<String, LevelFilter>;

/// The name of the level that holds where no other does.
pub const ROOT: &str = "root";

/// A filter that can be changed while the process logs.
pub trait LogFilter: Debug + Send + Sync {
    /// The levels now; there is one for [`ROOT`].
    fn levels(&self) -> LogLevels;

    /// Logs by these levels from now on.
    fn set_levels(&self, levels: LogLevels);
}

/// Kafka's levels, and ours. Nothing here is logged as fatal.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("FATAL", LevelFilter::OFF),
    ("ERROR", LevelFilter::ERROR),
    ("WARN", LevelFilter::WARN),
    ("INFO", LevelFilter::INFO),
    ("DEBUG", LevelFilter::DEBUG),
    ("TRACE", LevelFilter::TRACE),
];

/// The names of [`LEVELS`].
pub(crate) const LEVEL_NAMES: &[&str] = &["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// Parts of the broker that log, each with what is below it. A level can be set for any module in one of them too.
const MODULES: [&str; 10] = [
    "keyway",
    "keyway_broker",
    "keyway_broker::danube",
    "keyway_broker::groups",
    "keyway_broker::kafka",
    "keyway_broker::settings",
    "keyway_broker::subscription",
    "keyway_broker::topics",
    "keyway_broker::transactions",
    "keyway_segment_log",
];

/// Kafka's loggers.
#[derive(Debug)]
pub(crate) struct Loggers {
    filter: Arc<dyn LogFilter>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Loggers {
    pub(crate) fn new(filter: Arc<dyn LogFilter>) -> Self {
        Self { filter, changing: Mutex::new(()) }
    }

    /// What is set, by Kafka's names of the levels.
    pub(crate) fn own(&self) -> Configs {
        self.filter.levels().into_iter().map(|(name, level)| (name, level_name(level).to_owned())).collect()
    }

    /// The level of every logger: of those that are set and of the parts of the broker.
    pub(crate) fn all(&self) -> Configs {
        let own = self.own();
        let of_parts = MODULES.iter().map(|module| ((*module).to_owned(), inherited(&own, module)));
        of_parts.chain(own.clone()).collect()
    }

    /// Sets what `changed` makes of what is set.
    pub(crate) fn change<E>(
        &self,
        only_check: bool,
        changed: impl FnOnce(Configs) -> Result<Configs, E>,
    ) -> Result<(), E> {
        let _changing = self.changing.lock().expect("no panic while log levels change");
        let (before, after) = (self.own(), changed(self.own())?);
        if only_check || before == after {
            return Ok(());
        }
        let level = |name: &String| {
            let known = LEVELS.iter().find(|(known, _)| known == name);
            known.expect("levels are checked before they are set").1
        };
        self.filter.set_levels(after.iter().map(|(name, text)| (name.clone(), level(text))).collect());
        for (name, level) in after.iter().filter(|(name, level)| before.get(*name) != Some(level)) {
            tracing::warn!("{name} is logged from level {level} on");
        }
        Ok(())
    }
}

/// Whether a logger has this name: it is set, or a part of the broker, or a module in one.
pub(crate) fn exists(own: &Configs, name: &str) -> bool {
    let is_in = |module: &&str| {
        name.strip_prefix(*module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    own.contains_key(name) || MODULES.iter().any(is_in)
}

/// The level of a module that sets none: that of the nearest one above it, which the filter goes by the beginning of.
fn inherited(own: &Configs, module: &str) -> String {
    let above = own.iter().filter(|(name, _)| module.starts_with(name.as_str()));
    let nearest = above.max_by_key(|(name, _)| name.len()).map(|(_, level)| level);
    nearest.or_else(|| own.get(ROOT)).cloned().unwrap_or_else(|| level_name(LevelFilter::OFF).to_owned())
}

fn level_name(level: LevelFilter) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).expect("the table has every level").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Filter(Mutex<LogLevels>);

    impl LogFilter for Filter {
        fn levels(&self) -> LogLevels {
            self.0.lock().unwrap().clone()
        }

        fn set_levels(&self, levels: LogLevels) {
            *self.0.lock().unwrap() = levels;
        }
    }

    fn loggers(levels: &[(&str, LevelFilter)]) -> Loggers {
        let levels = levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        Loggers::new(Arc::new(Filter(Mutex::new(levels))))
    }

    #[test]
    fn a_part_is_logged_as_what_is_above_it() {
        let loggers = loggers(&[
            (ROOT, LevelFilter::WARN),
            ("keyway_broker", LevelFilter::DEBUG),
            ("h2", LevelFilter::OFF),
        ]);
        let all = loggers.all();
        assert_eq!((all[ROOT].as_str(), all["h2"].as_str()), ("WARN", "FATAL"));
        assert_eq!(
            (all["keyway_broker::kafka"].as_str(), all["keyway_segment_log"].as_str()),
            ("DEBUG", "WARN")
        );
    }

    #[test]
    fn a_change_is_made_once_it_is_more_than_checked() {
        let loggers = loggers(&[(ROOT, LevelFilter::WARN)]);
        let with = |mut own: Configs| {
            own.insert("keyway_broker::kafka::fetch".to_owned(), "TRACE".to_owned());
            Ok::<_, ()>(own)
        };
        loggers.change(true, with).unwrap();
        assert_eq!(loggers.own().len(), 1);
        loggers.change(false, with).unwrap();
        assert_eq!(loggers.filter.levels()["keyway_broker::kafka::fetch"], LevelFilter::TRACE);
        assert_eq!(loggers.change(false, |_| Err(())), Err(()));
        assert_eq!(loggers.own().len(), 2);
    }

    #[test]
    fn names_are_those_of_parts_and_what_is_in_them() {
        let own = Configs::from([(ROOT.to_owned(), "WARN".to_owned())]);
        for (name, is_one) in [
            (ROOT, true),
            ("keyway_broker", true),
            ("keyway_broker::kafka::fetch", true),
            ("keyway_brokers", false),
            ("kafka", false),
            ("", false),
        ] {
            assert_eq!(exists(&own, name), is_one, "{name}");
        }
        assert_eq!(LEVEL_NAMES, LEVELS.map(|(name, _)| name));
    }
}
