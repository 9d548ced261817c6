//! Errors of the downloader and the exit status of its commands.

use std::io;
use std::path::{Path, PathBuf};

use super::progress::Output;
use upstream::UpstreamError;
use upstream::origin::bundle::BundleError;

#[derive(Debug, thiserror::Error)]
pub(super) enum OfflineError {
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Bundle(#[from] BundleError),
    #[error("cannot {operation} {}: {source}{}", .path.display(), remedy(.source))]
    Destination { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
}

impl OfflineError {
    pub(super) fn destination(operation: &'static str, path: &Path, source: io::Error) -> OfflineError {
        OfflineError::Destination { operation, path: path.to_owned(), source }
    }

    /// Adds to the error of a server that denies access how to get it.
    pub(super) fn if_denied(self, remedy: &str) -> OfflineError {
        match self {
            OfflineError::Upstream(UpstreamError::Refused { url, reason })
                if reason.ends_with("access denied") =>
            {
                UpstreamError::Refused { url, reason: format!("{reason}; {remedy}") }.into()
            }
            other => other,
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, or copy the directory to a larger disk, and run the command again: the download resumes"
        }
        io::ErrorKind::PermissionDenied => {
            "; give the user who runs this command access to the directory, or choose another"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or choose another directory",
        _ => "",
    }
}

/// Result of a command, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExitStatus {
    /// Everything is present: 0.
    Complete,
    /// Files are missing and were reported: 1.
    Incomplete,
    /// Files are damaged: 3.
    Damaged,
}

impl ExitStatus {
    /// Returns the status after the download of one more product or version. A failure of upstream is reported with the
    /// name of the product, and does not affect the others; any other one ends the download.
    pub(super) fn after(
        self,
        result: Result<ExitStatus, OfflineError>,
        output: Output,
        name: &str,
    ) -> Result<ExitStatus, OfflineError> {
        match result {
            Ok(ExitStatus::Complete) => Ok(self),
            Ok(other) => Ok(other),
            Err(error @ (OfflineError::Upstream(_) | OfflineError::Refused(_) | OfflineError::Bundle(_))) => {
                output.warn(&format!("could not download {name}: {error}"));
                Ok(ExitStatus::Incomplete)
            }
            Err(error) => Err(error),
        }
    }
}
