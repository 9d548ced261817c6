//! The folder of test data. Tests and benchmarks include this file (`#[path]`), so it uses no other module of theirs.

use std::path::PathBuf;

/// `RSPM_TEST_DATA`, or else the folder that `tests/setup` creates in the cache.
pub(crate) fn root() -> PathBuf {
    let folder_of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || {
        folder_of("XDG_CACHE_HOME").or_else(|| Some(folder_of("HOME")?.join(".cache"))).unwrap_or_default()
    };
    folder_of("RSPM_TEST_DATA").unwrap_or_else(|| cache().join("rstudio-pm/data"))
}
