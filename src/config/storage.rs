//! `[Storage]`, `[FileStorage "class"]`, `[S3Storage]`, `[S3Storage "class"]`, resolved to one place per class.

use std::path::PathBuf;

/// The nine classes of variable data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageClass {
    /// Computed artefacts.
    Cache,
    /// Output of builds.
    Launcher,
    /// Aggregated usage data.
    Metrics,
    /// Packages of local and git sources, and READMEs.
    Packages,
    /// Ready-built binaries.
    Binaries,
    /// Packages fetched from the CRAN mirror.
    Cran,
    /// Packages fetched from the Bioconductor mirror.
    Bioconductor,
    /// Files fetched from PyPI.
    Pypi,
    /// Rendered indexes of closed snapshots; never evicted.
    Persistent,
}

impl StorageClass {
    /// All nine.
    pub const ALL: [StorageClass; 9] = [
        StorageClass::Cache,
        StorageClass::Launcher,
        StorageClass::Metrics,
        StorageClass::Packages,
        StorageClass::Binaries,
        StorageClass::Cran,
        StorageClass::Bioconductor,
        StorageClass::Pypi,
        StorageClass::Persistent,
    ];

    /// The name in the gcfg, in the tables, and of the default directory.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StorageClass::Cache => "cache",
            StorageClass::Launcher => "launcher",
            StorageClass::Metrics => "metrics",
            StorageClass::Packages => "packages",
            StorageClass::Binaries => "binaries",
            StorageClass::Cran => "cran",
            StorageClass::Bioconductor => "bioconductor",
            StorageClass::Pypi => "pypi",
            StorageClass::Persistent => "persistent",
        }
    }
}

/// Where one class lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    File(FilePlace),
    /// A bucket.
    S3(S3Place),
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// Absolute path.
    pub location: PathBuf,
}

/// A bucket and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// Prepended to every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Profile of the shared AWS files.
    pub profile: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Read the shared AWS config file too.
    pub enable_shared_config: bool,
    /// Another S3 server: `http(s)://host[:port]`.
    pub endpoint: Option<String>,
    /// Plain HTTP to Amazon's own address; with an endpoint, that says it.
    pub disable_ssl: bool,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Key of the key management service that S3 encrypts what is written with (SSE-KMS).
    pub key_id: Option<String>,
    /// Nothing is asked of the bucket before it is needed.
    pub skip_validation: bool,
}

/// The places of all classes.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// In the order of [`StorageClass::ALL`].
    pub places: [Place; 9],
    /// Spools of classes on S3 go here (`Server.TempDir`).
    pub spool_dir: PathBuf,
}

impl StorageConfig {
    /// The place of a class.
    #[must_use]
    pub fn place(&self, class: StorageClass) -> &Place {
        &self.places[class as usize]
    }
}
