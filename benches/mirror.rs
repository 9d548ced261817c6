//! The full-size mirror of the tests, in a temporary directory.

#[path = "../tests/support/data_root.rs"]
mod data_root;
#[path = "../tests/support/full_mirror.rs"]
mod full_mirror;

pub(crate) use data_root::root as data;

/// Number of current packages.
pub(crate) const PACKAGES: usize = full_mirror::CRAN.listed_count;
/// Number of current and archived releases.
pub(crate) const RELEASES: usize = full_mirror::CRAN.listed_count + full_mirror::CRAN.archived_count;

/// A mirror on disk; removed on drop.
pub(crate) struct Mirror {
    folder: tempfile::TempDir,
}

impl Mirror {
    /// Writes the mirror with the index of the test data if there is one, else with generated names.
    pub(crate) fn write() -> Mirror {
        let folder = tempfile::tempdir().expect("a folder");
        let index_file = data().join("cran-index-full/PACKAGES.gz");
        let index = index_file.exists().then_some(index_file.as_path());
        full_mirror::write(folder.path(), full_mirror::CRAN, index).expect("a mirror");
        Mirror { folder }
    }

    /// The directory of the mirror.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The `file://` URL of the mirror.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }
}
