//! What goes to stderr of what happens, and its levels, which Kafka's tools can change while the broker runs.

use crate::failure::Failure;
use keyway_broker::{LogFilter, LogLevels, ROOT_LOG_LEVEL};
use std::io::IsTerminal;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

/// The filter of this process's log.
#[derive(Clone, Debug)]
pub(crate) struct Log(Handle<Targets, Registry>);

impl Log {
    /// Starts logging by `filter`: a level, or levels by module.
    pub(crate) fn start(filter: &str) -> Result<Self, Failure> {
        let targets: Targets = filter.parse().map_err(|error| {
            Failure::Usage(format!("--log (or RUST_LOG) '{filter}': {error}; try a level such as 'info'"))
        })?;
        let (filter, handle) = reload::Layer::new(targets);
        let lines = fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            // A full disk under stderr is no reason to panic.
            .log_internal_errors(false);
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        Ok(Self(handle))
    }
}

impl LogFilter for Log {
    fn levels(&self) -> LogLevels {
        self.0.with_current(levels_of).expect("the log lives as long as the process")
    }

    fn set_levels(&self, levels: LogLevels) {
        self.0.reload(targets_of(levels)).expect("the log lives as long as the process");
    }
}

fn levels_of(targets: &Targets) -> LogLevels {
    let root = targets.default_level().unwrap_or(LevelFilter::OFF);
    let levels = targets.iter().map(|(module, level)| (module.to_owned(), level));
    [(ROOT_LOG_LEVEL.to_owned(), root)].into_iter().chain(levels).collect()
}

fn targets_of(mut levels: LogLevels) -> Targets {
    let root = levels.remove(ROOT_LOG_LEVEL).unwrap_or(LevelFilter::OFF);
    Targets::new().with_default(root).with_targets(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_back() {
        let targets: Targets = "warn,krafka=off,keyway_broker::kafka=debug".parse().unwrap();
        let levels = levels_of(&targets);
        let expected = [
            ("keyway_broker::kafka", LevelFilter::DEBUG),
            ("krafka", LevelFilter::OFF),
            (ROOT_LOG_LEVEL, LevelFilter::WARN),
        ];
        assert_eq!(levels, expected.map(|(name, level)| (name.to_owned(), level)).into());
        let again = targets_of(levels);
        assert!(again.would_enable("keyway_broker::kafka::fetch", &tracing::Level::DEBUG));
        assert!(!again.would_enable("krafka", &tracing::Level::ERROR));
        assert_eq!(levels_of(&again), levels_of(&targets));
    }
}
