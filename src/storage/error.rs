//! Storage errors by meaning, the same for every backend: what was done to what, why it failed, and the way out.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An error of the storage room.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The object is not there.
    #[error("{0} is not in storage")]
    NotFound(String),
    /// The disk or the quota is full.
    #[error("no space left for {0}")]
    Full(String),
    /// The operating system refused.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// What was attempted, as a verb: `read`, `write`, `rename` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The S3 server refused, or could not be reached within the bounded retries.
    #[error("cannot {action} {object}: {source}")]
    S3 {
        /// What was attempted, as a verb: `read`, `write`, `delete` …
        action: &'static str,
        /// `s3://bucket/key`.
        object: String,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// No usable AWS credentials.
    #[error(
        "no AWS credentials for s3://{bucket}: {reason}; give the host an IAM role, set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or name a profile with S3Storage.Profile"
    )]
    Credentials {
        /// The bucket they are for.
        bucket: String,
        /// What the standard chain said.
        reason: String,
    },
    /// The bytes ended before, or went past, the declared length.
    #[error("{object} is {expected} bytes long, but {got} bytes came")]
    Length {
        /// The object or file.
        object: String,
        /// Bytes declared.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// The range begins at or after the end of the object.
    #[error("bytes {}-{} of {object} do not exist: it has {size} bytes", range.start, range.end)]
    Range {
        /// The object.
        object: String,
        /// What was asked for (end exclusive).
        range: Range<u64>,
        /// Bytes in the object.
        size: u64,
    },
    /// Places that cannot be used as configured, found when storage is opened or probed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unusable(Vec<Unusable>),
    /// Nothing may be stored in a class before an administrator settles whose it is.
    #[error(
        "nothing is stored in the storage class {class}, which {why}; see rspm storage list; rspm storage adopt \
             --class={class} makes this database its owner"
    )]
    Refused {
        /// The class.
        class: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("storage: {0}")]
    Other(String),
}

/// One place that cannot be used as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Names of the classes that live there, comma-separated.
    pub classes: String,
    /// The directory, or `s3://bucket/prefix`.
    pub place: String,
    /// The effective user, as `name (uid N)`.
    pub user: String,
    /// What was attempted, and the answer of the operating system or of S3.
    pub problem: String,
    /// The command or the permission that mends it.
    pub remedy: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unusable { classes, place, user, problem, remedy } = self;
        write!(f, "storage class {classes}: '{place}' cannot be used by {user}: {problem}; {remedy}")
    }
}

impl StorageError {
    /// Wraps an I/O error of `action` on `path`; a full disk or quota becomes [`StorageError::Full`].
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StorageError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::Full(path.display().to_string())
            }
            _ => StorageError::Io { action, path: path.to_owned(), source },
        }
    }
}
