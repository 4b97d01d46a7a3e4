//! What one look at the node found.

use serde::Serialize;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One line of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, in one word.
    pub(super) check: &'static str,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_step: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, found: found.into(), next_step: None }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { level: Level::Warn, check, found: found.into(), next_step: Some(next_step.into()) }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, found: found.into(), next_step: Some(next_step.into()) }
    }

    /// What was found and what to do, as one line.
    pub(super) fn line(&self) -> String {
        match &self.next_step {
            Some(next_step) => format!("{}; {next_step}", self.found),
            None => self.found.clone(),
        }
    }
}
