//! The classes of stored data, each with its own location.

/// The nine classes of variable data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageClass {
    /// A class of Posit Package Manager. It can be configured, but nothing is stored in it.
    Cache,
    /// Logs of builds.
    Launcher,
    /// Aggregated usage data.
    Metrics,
    /// Packages of local and git sources, and READMEs.
    Packages,
    /// Binaries of R packages.
    Binaries,
    /// Packages fetched from the CRAN mirror.
    Cran,
    /// Packages fetched from the Bioconductor mirror.
    Bioconductor,
    /// Files fetched from PyPI.
    Pypi,
    /// Indexes of closed points, rules for system requirements, and advisories. Never evicted.
    Persistent,
}

impl StorageClass {
    /// All classes.
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

    /// Returns the name in the configuration and in the tables, which is also the name of the default directory.
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

    /// Returns the class with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<StorageClass> {
        StorageClass::ALL.into_iter().find(|class| class.as_str() == name)
    }
}
