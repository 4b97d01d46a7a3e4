//! Where the keys stand.

use super::fetch::Fetcher;
use super::key_set::{KeySet, KeySetError, Origin, SET_BYTES_MAX};
use std::{fs, io, io::Read, os::unix::fs::PermissionsExt, path::PathBuf};

/// Where the keys stand.
pub(super) enum Source {
    File(PathBuf),
    Url(Fetcher),
}

impl Source {
    /// The file or URL, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(fetcher) => fetcher.url().to_string(),
        }
    }
}

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Anybody on the machine can make tokens.
    #[error("{path} has a shared secret and everybody on this machine can read it; run chmod 600 {path}")]
    WorldReadable {
        /// The file.
        path: PathBuf,
    },
    /// What is there is of no use.
    #[error("{place} cannot be used: {cause}")]
    Keys {
        /// The file or URL.
        place: String,
        /// What is wrong.
        cause: KeySetError,
    },
}

/// The keys of a file.
pub(super) fn read_file(path: &PathBuf) -> Result<KeySet, SourceError> {
    let failed = |cause| SourceError::File { path: path.clone(), cause };
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    let mut text = Vec::new();
    file.take(SET_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    let place = path.display().to_string();
    let set = KeySet::read(&text, Origin::File).map_err(|cause| SourceError::Keys { place, cause })?;
    if set.has_secret() && mode & 0o004 != 0 {
        return Err(SourceError::WorldReadable { path: path.clone() });
    }
    Ok(set)
}
