//! Files of packages: found in storage, on mirrors and in bundles, and what is read from them.

pub(in crate::serve) mod archive_details;
pub mod binaries;
pub(in crate::serve) mod bundle_files;
pub mod bundles;
pub mod file;
pub mod located;
pub(in crate::serve) mod mirror_fetch;
pub mod package_files;
pub mod remote_binaries;
pub mod stored_again;
pub(in crate::serve) mod upstream;

use tokio::sync::Mutex;

pub(in crate::serve) struct FileCaches {
    located: file::Cache,
    bundles: bundles::SharedBundles,
    verified: bundle_files::VerifiedFiles,
    binary_probes: remote_binaries::ProbeCache,
    read_archives: archive_details::Cache,
    readmes: bundle_files::ReadmeCache,
    /// Held while an archive, or a README of a bundle, is read.
    archive_lock: Mutex<()>,
}

impl FileCaches {
    pub(in crate::serve) fn new() -> FileCaches {
        FileCaches {
            located: file::Cache::new(file::CACHE_ENTRIES),
            bundles: bundles::SharedBundles::default(),
            verified: bundle_files::VerifiedFiles::default(),
            binary_probes: remote_binaries::ProbeCache::new(remote_binaries::CACHE_ENTRIES),
            read_archives: archive_details::Cache::new(archive_details::CACHE_ENTRIES),
            readmes: bundle_files::ReadmeCache::default(),
            archive_lock: Mutex::default(),
        }
    }
}
