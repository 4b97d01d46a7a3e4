//! How a command ends when it does not end well: one line for people, one exit code for scripts.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Why a command did not do what it was asked. The text is one line that names the cause and the next step.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Tried and failed.
    Failed(String),
    /// The options do not go together.
    Usage(String),
    /// A topic or partition that is not there.
    NotFound(String),
    /// No broker, or no answer in time.
    Unavailable(String),
    /// The disk failed under a running broker.
    Disk(String),
    /// Ended by a signal; nothing to say.
    Stopped {
        /// The signal's number.
        signal: u8,
    },
}

const SIGPIPE: u8 = 13;

impl Failure {
    /// Prints the line, if there is one to print, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (code, line) = match self {
            Self::Failed(line) => (1, line),
            Self::Usage(line) => (2, line),
            Self::NotFound(line) => (3, line),
            Self::Unavailable(line) => (5, line),
            Self::Disk(line) => (6, line),
            Self::Stopped { signal } => return ExitCode::from(128 + signal),
        };
        note(line);
        ExitCode::from(code)
    }

    /// The same, with the place that it is about in front.
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Usage(line) => Self::Usage(format!("{place}: {line}")),
            other => other,
        }
    }

    /// What an error of writing data to stdout means.
    pub(crate) fn of_stdout(error: &io::Error) -> Self {
        match error.kind() {
            // The reader, such as `head`, has seen enough.
            io::ErrorKind::BrokenPipe => Self::Stopped { signal: SIGPIPE },
            _ => Self::Failed(format!("cannot write to stdout: {error}")),
        }
    }

    /// The same failure with words put before its line.
    pub(crate) fn after(self, words: &str) -> Self {
        match self {
            Self::Failed(line) => Self::Failed(format!("{words}{line}")),
            Self::Usage(line) => Self::Usage(format!("{words}{line}")),
            Self::NotFound(line) => Self::NotFound(format!("{words}{line}")),
            Self::Unavailable(line) => Self::Unavailable(format!("{words}{line}")),
            Self::Disk(line) => Self::Disk(format!("{words}{line}")),
            Self::Stopped { signal } => Self::Stopped { signal },
        }
    }
}

/// Prints one line on stderr. A closed stderr is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "keyway: {line}");
}
