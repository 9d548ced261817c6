//! Where the real package data lies: `RSPM_TEST_DATA`, else `../shared/data` beside the checkout.

use std::path::PathBuf;

/// The path of a file or folder of the test data; panics with what to do when it is not there.
pub(crate) fn path(relative: &str) -> PathBuf {
    let root = std::env::var_os("RSPM_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = root.join(relative);
    assert!(
        path.exists(),
        "test data '{}' is missing: set RSPM_TEST_DATA to the folder that holds cran-mirror/",
        path.display()
    );
    path
}
