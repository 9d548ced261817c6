//! Storage errors, the same for every backend: operation, object, cause and remedy.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, io};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{0} is not in storage")]
    NotFound(String),
    #[error("no space left for {0}")]
    Full(String),
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// The operation, as a verb: `read`, `write`, `rename` …
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The S3 server refused, or could not be reached within the bounded retries.
    #[error("cannot {action} {object}: {source}")]
    S3 {
        /// The operation, as a verb: `read`, `write`, `delete` …
        action: &'static str,
        /// `s3://bucket/key`.
        object: String,
        source: Box<object_store::Error>,
    },
    #[error("cannot {action} {object}: there is no bucket {bucket} (NoSuchBucket)")]
    NoBucket {
        /// The operation, as a verb.
        action: &'static str,
        object: String,
        bucket: String,
    },
    #[error(
        "no AWS credentials for s3://{bucket}: {reason}; give the host an IAM role, set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or name a profile with S3Storage.Profile"
    )]
    Credentials {
        bucket: String,
        /// The error of the standard credential chain.
        reason: String,
    },
    #[error("{object} is {expected} bytes long, but {received} bytes were received")]
    Length {
        object: String,
        /// Bytes declared.
        expected: u64,
        /// Bytes received.
        received: u64,
    },
    /// Reads of an object gave different bytes, or fewer than it has according to its size: the storage or the network is at
    /// fault, not the object.
    #[error("reads of {0} gave different bytes, or not all of them")]
    UnstableRead(String),
    #[error("{object} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        object: String,
        /// The size of the object in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    #[error("bytes {}..{} of {object} do not exist: it has {size} bytes", range.start, range.end)]
    Range {
        object: String,
        /// The requested range (end exclusive).
        range: Range<u64>,
        /// Bytes in the object.
        size: u64,
    },
    /// Locations that cannot be used as configured, found when storage is opened or probed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unusable(Vec<UnusableLocation>),
    /// Nothing may be stored in a class before it is compared, or before an administrator decides its owner.
    #[error(
        "no object may be stored in the storage class {class}, which {reason}; see rspm storage list; rspm storage adopt \
             --class={class} makes this database its owner"
    )]
    Refused {
        class: &'static str,
        /// The problem, as a clause.
        reason: String,
    },
    #[error("storage: {0}")]
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableLocation {
    /// Names of the classes stored there, comma-separated.
    pub classes: String,
    /// The directory, or `s3://bucket/prefix`.
    pub location: String,
    /// The effective user, as `name (uid N)`.
    pub user: Box<str>,
    /// The operation, and the error of the operating system or of S3.
    pub problem: String,
    /// The command or the permission that fixes it.
    pub remedy: String,
    /// Whether only space is missing (`ENOSPC`, `EDQUOT`): objects can be read, and nothing can be stored.
    pub is_full: bool,
}

impl fmt::Display for UnusableLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnusableLocation { classes, location, user, problem, remedy, is_full } = self;
        if *is_full {
            return write!(
                f,
                "storage class {classes}: nothing can be stored in '{location}' by {user}, existing objects are served: \
                 {problem}; {remedy}"
            );
        }
        write!(f, "storage class {classes}: '{location}' cannot be used by {user}: {problem}; {remedy}")
    }
}

impl StorageError {
    /// Wraps an I/O error of `action` on `path`; a full disk or quota becomes [`StorageError::Full`].
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StorageError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::Full(path.display().to_string())
            }
            _ => StorageError::Io { action, path: path.to_owned(), source },
        }
    }

    /// Returns whether locations could not be probed only because their disks or quotas are full.
    pub fn is_only_full(&self) -> bool {
        match self {
            StorageError::Full(_) => true,
            StorageError::Unusable(locations) => locations.iter().all(|location| location.is_full),
            _ => false,
        }
    }
}
