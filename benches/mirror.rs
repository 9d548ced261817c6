//! The full-size mirror of the tests, in a folder of its own.

#[path = "../tests/support/data_root.rs"]
mod data_root;
#[path = "../tests/support/full_mirror.rs"]
mod full_mirror;

pub(crate) use data_root::root as data;

/// Current packages.
pub(crate) const PACKAGES: usize = full_mirror::CRAN.listed;
/// Current and archived releases.
pub(crate) const RELEASES: usize = full_mirror::CRAN.listed + full_mirror::CRAN.archived;

/// A mirror on disk; removed on drop.
pub(crate) struct Mirror {
    folder: tempfile::TempDir,
}

impl Mirror {
    /// Writes it: of the real index where the test data has it, else of made-up names.
    pub(crate) fn write() -> Mirror {
        let folder = tempfile::tempdir().expect("a folder");
        let real = data().join("cran-index-full/PACKAGES.gz");
        let index = real.exists().then_some(real.as_path());
        full_mirror::write(folder.path(), full_mirror::CRAN, index).expect("a mirror");
        Mirror { folder }
    }

    /// Its `file://` address.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }
}
