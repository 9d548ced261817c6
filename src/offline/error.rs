//! What ends a command, the sentence it prints and its exit code.

use std::io;
use std::path::{Path, PathBuf};

use crate::upstream::UpstreamError;
use crate::upstream::bundle::BundleError;

/// An error of the downloader.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfflineError {
    /// The mirror.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// A bundle, the destination's own or that of `--base-url`.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// A file of the destination.
    #[error("cannot {doing} {}: {source}{}", .path.display(), way_out(.source))]
    Place { doing: &'static str, path: PathBuf, source: io::Error },
    /// Nothing is wrong with any file, but this is not to be done.
    #[error("{0}")]
    Refused(String),
    /// Wrong usage that the grammar does not know.
    #[error("{0}")]
    Usage(String),
}

impl OfflineError {
    pub(super) fn place(doing: &'static str, path: &Path, source: io::Error) -> OfflineError {
        OfflineError::Place { doing, path: path.to_owned(), source }
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there, or copy what is there to a larger disk, and run the command again: it goes on where it was"
        }
        io::ErrorKind::PermissionDenied => {
            "; give the user who runs this command the directory, or choose another"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or choose another --destination",
        _ => "",
    }
}

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All is there: 0.
    Complete,
    /// Something is missing, and what is missing was named: 1.
    Incomplete,
    /// Something is not what it should be: 3.
    Damaged,
}
