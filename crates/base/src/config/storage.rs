//! `[Storage]`, `[FileStorage "class"]`, `[S3Storage]`, `[S3Storage "class"]`, resolved to one location per class.

use std::path::PathBuf;

use crate::model::storage_class::StorageClass;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassLocation {
    File(DirectoryLocation),
    S3(S3Location),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLocation {
    pub location: PathBuf,
}

/// A bucket and its connection settings.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct S3Location {
    pub bucket: String,
    /// The prefix of every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Profile of the shared AWS files.
    pub profile: Option<String>,
    pub region: Option<String>,
    /// Whether the shared AWS configuration file is read in addition to the credentials file.
    pub enable_shared_config: bool,
    /// Another S3 server: `http(s)://host[:port]`.
    pub endpoint: Option<String>,
    /// Whether plain HTTP is used; the scheme of `endpoint` takes precedence.
    pub disable_ssl: bool,
    /// Whether addresses are `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Key of the key management service with which S3 encrypts new objects (SSE-KMS).
    pub key_id: Option<String>,
    /// Whether the check of the bucket at start is skipped.
    pub skip_validation: bool,
}

pub(super) const CLASS_COUNT: usize = StorageClass::ALL.len();

/// The locations of all classes.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The locations, in the order of [`StorageClass::ALL`].
    pub locations: [ClassLocation; 9],
    /// The connection properties of `[S3Storage]` for buckets of backups; the bucket is empty.
    pub backups: S3Location,
    /// Directory for spools of classes on S3 (`Server.TempDir`).
    pub spool_dir: PathBuf,
}

impl StorageConfig {
    pub fn location(&self, class: StorageClass) -> &ClassLocation {
        &self.locations[class as usize]
    }
}
