//! Why a data folder could not be opened, and why a running store stopped.

use std::{io, path::PathBuf};

/// Why a store could not be opened. Each line names the cause and the next step.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the folder.
    #[error("{} is in use by {}; stop that process or choose another data folder", folder.display(), holder_text(*holder))]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// Process id of the holder, if it can be told.
        holder: Option<u32>,
    },
    /// A file or folder could not be created, read or written.
    #[error("cannot {action} {}: {source}; check that the folder exists, has space and belongs to this user", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// Written by another version of this program.
    #[error("{} has format version {found}, and this program reads version {supported}; use the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it states.
        found: u16,
        /// The version this program knows.
        supported: u16,
    },
    /// A file of another store lies in the folder.
    #[error("{} belongs to another data folder; put back the file that was here", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The description of the partitions is gone, and records are there.
    #[error("neither manifest in {} is valid, and the folder holds records; nothing was changed: restore manifest.0 or manifest.1 from a backup", folder.display())]
    NoManifest {
        /// The data folder.
        folder: PathBuf,
    },
    /// Committed bytes are damaged: a later commit says that they were flushed, or a commit says what cannot be.
    #[error("{} is damaged at byte {position} ({reason}), so records that were acknowledged would be lost; nothing was changed: restore the file from a backup, or start once with --cut-damaged-log, which ends the log there and keeps what follows in *.corrupt", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// What was found.
        reason: String,
    },
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a running store stopped for good. The process should end with it and start again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{action} failed ({message}); nothing more is acknowledged, restart once the disk is well")]
pub struct Failure {
    /// What was being done.
    pub action: &'static str,
    /// The operating system's kind of error.
    pub kind: io::ErrorKind,
    /// The operating system's words.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(action: &'static str, error: &io::Error) -> Self {
        Self { action, kind: error.kind(), message: error.to_string() }
    }

    /// The store was closed while something was still under way.
    pub(crate) fn closed() -> Self {
        Self::new("using a closed log", &io::Error::other("the log is closed"))
    }

    pub(crate) fn to_io(&self) -> io::Error {
        io::Error::new(self.kind, self.clone())
    }
}
