//! The indexes of the packages of a lock file: their comparison, the main one, and directories in place of indexes.

use std::collections::HashMap;

use url::Url;

use super::{LockedPackage, PythonLockFile, PythonLockKind, SkippedPackage};

/// PyPI, also for its former address and that of its files.
pub(super) const PYPI: &str = "https://pypi.org/simple";
/// The reason for packages whose files are on the machine of the author.
pub(super) const LOCAL: &str = "it is from a file or a directory, not from an index";

/// Returns an index in one spelling: without user, password, default port and slash at the end. A text that is not a URL,
/// such as a path, is returned as it is.
pub(super) fn index(text: &str) -> String {
    let Some(mut url) = Url::parse(text).ok().filter(Url::has_host) else { return text.to_owned() };
    if matches!(url.host_str(), Some("pypi.org" | "pypi.python.org" | "files.pythonhosted.org")) {
        return PYPI.to_owned();
    }
    // SECURITY: the index occurs in messages.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// Returns the server of an address as an index, which stands for the index of a file at this address.
pub(super) fn server(address: &str) -> Option<String> {
    let url = Url::parse(address).ok().filter(|url| url.has_host() && !is_local(address))?;
    Some(index(url.join("/").ok()?.as_str()))
}

/// Returns true for the address or the path of a file or directory.
pub(super) fn is_local(address: &str) -> bool {
    // `C:\dist` is a URL with the scheme `c`.
    Url::parse(address).map_or(true, |url| url.scheme() == "file" || url.scheme().len() == 1)
}

/// Skips the packages that are not from the main index: the default one if a package is from it, otherwise PyPI, otherwise
/// the index with most packages. The others are those of a team, or variants for certain hardware, or from a directory. In
/// `pylock.toml`, which has no default index, packages of an unknown index count as those of the main one.
pub(super) fn skip_other_indexes(lock: &mut PythonLockFile) {
    let has_default = lock.kind != PythonLockKind::Pylock;
    // In `Pipfile.lock`, an index may have a name without an address.
    let is_path =
        |index: &str| is_local(index) && (lock.kind != PythonLockKind::Pipfile || index.contains(':'));
    let mut counts: HashMap<Option<&str>, usize> = HashMap::new();
    let mut indexes = Vec::new();
    for package in &lock.packages {
        let index = package.index.as_deref();
        if index.is_some_and(is_path) || index.is_none() && !has_default {
            continue;
        }
        let count = counts.entry(index).or_default();
        *count += 1;
        if *count == 1 {
            indexes.push(index);
        }
    }
    // Of several maxima, `max_by_key` returns the last one, and the first one in the file is the main one.
    let rank = |index: &&Option<&str>| (index.is_none(), **index == Some(PYPI), counts.get(*index).copied());
    let main = indexes.iter().rev().max_by_key(rank).copied().flatten().map(str::to_owned);
    let is_of_main =
        |package: &LockedPackage| package.index == main || package.index.is_none() && !has_default;
    let mut others = Vec::new();
    let mut of_main = Vec::with_capacity(lock.packages.len());
    for package in std::mem::take(&mut lock.packages) {
        if package.index.as_deref().is_some_and(is_path) {
            others.push(SkippedPackage { name: package.name.to_string(), reason: LOCAL.into() });
        } else if is_of_main(&package) {
            of_main.push(package);
        } else {
            let index = package.index.as_deref().unwrap_or("the default");
            let index: String = index.escape_debug().take(200).collect();
            let reason = format!("it is from another index, {index}").into();
            others.push(SkippedPackage { name: package.name.to_string(), reason });
        }
    }
    lock.packages = of_main;
    lock.skipped.extend(others);
}
