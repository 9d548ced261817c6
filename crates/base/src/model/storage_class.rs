//! The classes of stored data, each with its own location.

use crate::words;

words! {
    /// The nine classes of variable data.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum StorageClass {
        /// A class of Posit Package Manager. It can be configured, but nothing is stored in it.
        Cache = "cache",
        Launcher = "launcher",
        Metrics = "metrics",
        /// Packages of local and git sources, and READMEs.
        Packages = "packages",
        Binaries = "binaries",
        /// Packages fetched from the CRAN mirror.
        Cran = "cran",
        /// Packages fetched from the Bioconductor mirror.
        Bioconductor = "bioconductor",
        Pypi = "pypi",
        /// Indexes of closed points, rules for system requirements, and advisories. Never evicted.
        Persistent = "persistent",
    }
}
