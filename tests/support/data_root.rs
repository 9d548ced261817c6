//! The folder of test data, for tests and benchmarks alike (`#[path]`), so it needs nothing of either.

use std::path::PathBuf;

/// `RSPM_TEST_DATA`, else the folder that `tests/setup` makes in the cache.
pub(crate) fn root() -> PathBuf {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache"))).unwrap_or_default();
    of("RSPM_TEST_DATA").unwrap_or_else(|| cache().join("rstudio-pm/data"))
}
