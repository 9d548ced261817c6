//! `pylock.toml` (PEP 751, version 1.0).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::text::{file_name, package, sha256, toml};
use super::{BadLockFile, LockFile, LockKind, LockedFile, SkippedPackage};
use crate::python::file_name::FileName;

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "lock-version")]
    lock_version: String,
    #[serde(default)]
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    index: Option<String>,
    sdist: Option<RawDistribution>,
    #[serde(default)]
    wheels: Vec<RawDistribution>,
    vcs: Option<IgnoredAny>,
    directory: Option<IgnoredAny>,
    archive: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawDistribution {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// Parses the text of the file.
pub(super) fn parse(text: &str) -> Result<LockFile, BadLockFile> {
    let RawFile { lock_version, packages } = toml(text)?;
    if lock_version.split('.').next() != Some("1") {
        let version = lock_version.escape_debug().take(20).collect();
        return Err(BadLockFile::Format { kind: LockKind::Pylock, version, supported: "1.0" });
    }
    let mut lock = LockFile { kind: LockKind::Pylock, packages: Vec::new(), skipped: Vec::new() };
    for raw in packages {
        let RawPackage { name, version, marker, index, sdist, wheels, vcs, directory, archive } = raw;
        let reason = match (vcs, directory, archive) {
            (Some(_), _, _) => Some("it is from a version control system"),
            (None, Some(_), _) => Some("it is from a directory"),
            (None, None, Some(_)) => Some("it is from a URL"),
            (None, None, None) => None,
        };
        if let Some(reason) = reason {
            lock.skipped.push(SkippedPackage { name, reason: reason.into() });
            continue;
        }
        let locked_file = |raw: RawDistribution| {
            let address = raw.url.or(raw.path);
            let digest = raw.hashes.iter().find(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha256"));
            Ok::<_, BadLockFile>(LockedFile {
                name: raw
                    .name
                    .filter(|name| !name.is_empty())
                    .or_else(|| address.as_deref().and_then(file_name)),
                sha256: digest.map(|(_, hex)| sha256(&name, hex)).transpose()?,
                size: raw.size,
            })
        };
        let files = sdist.into_iter().chain(wheels).map(locked_file).collect::<Result<Arc<[_]>, _>>()?;
        let version = version.or_else(|| version_of_files(&name, &files));
        lock.packages.push(package(&name, version, marker, files, index)?);
    }
    Ok(lock)
}

/// Returns the version that the name of a file has: the key `version` is optional.
fn version_of_files(name: &str, files: &[LockedFile]) -> Option<String> {
    let project = name.parse().ok()?;
    let names = files.iter().filter_map(|file| FileName::parse(file.name.as_deref()?).ok());
    names.filter_map(|file| file.version(&project, None)).next()
}
