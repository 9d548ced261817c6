//! `pylock.toml` (PEP 751, version 1.0).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::origin::{self, LOCAL};
use super::text::{file_name, package, sha256, toml};
use super::{BadPythonLockFile, LockedFile, PythonLockFile, PythonLockKind, SkippedPackage};
use crate::python::file_name::FileName;
use crate::python::name;

#[derive(Deserialize)]
struct PylockFile {
    #[serde(rename = "lock-version")]
    lock_version: String,
    #[serde(default)]
    packages: Vec<PylockPackage>,
}

#[derive(Deserialize)]
struct PylockPackage {
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

pub(super) fn parse(text: &str) -> Result<PythonLockFile, BadPythonLockFile> {
    let PylockFile { lock_version, packages } = toml(text)?;
    if lock_version.split('.').next() != Some("1") {
        let version = lock_version.escape_debug().take(20).collect();
        return Err(BadPythonLockFile::Format { kind: PythonLockKind::Pylock, version, supported: "1.0" });
    }
    let mut lock = PythonLockFile { kind: PythonLockKind::Pylock, packages: Vec::new(), skipped: Vec::new() };
    // For each package, the servers of its files.
    let mut servers = Vec::new();
    for raw in packages {
        let PylockPackage { name, version, marker, index, sdist, wheels, vcs, directory, archive } = raw;
        let reason = match (vcs, directory, archive) {
            (Some(_), _, _) => Some("it is from a version control system"),
            (None, Some(_), _) => Some("it is from a directory"),
            (None, None, Some(_)) => Some("it is from a URL"),
            (None, None, None) if index.is_none() && is_local(sdist.iter().chain(&wheels)) => Some(LOCAL),
            (None, None, None) => None,
        };
        if let Some(reason) = reason {
            lock.skipped.push(SkippedPackage { name, reason: reason.into() });
            continue;
        }
        let urls = sdist.iter().chain(&wheels).filter_map(|file| file.url.as_deref());
        servers.push(urls.filter_map(origin::server).collect::<Vec<_>>());
        let locked_file = |raw: RawDistribution| {
            let address = raw.url.or(raw.path);
            let digest = raw.hashes.iter().find(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha256"));
            Ok::<_, BadPythonLockFile>(LockedFile {
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
    add_indexes(&mut lock, &servers);
    Ok(lock)
}

/// Returns true for files of the author's machine, as pip and uv list them for `--find-links`.
fn is_local<'a>(files: impl IntoIterator<Item = &'a RawDistribution>) -> bool {
    let mut files = files.into_iter().peekable();
    let is_on_server = |file: &RawDistribution| match (&file.url, &file.path) {
        (Some(url), _) => !origin::is_local(url),
        (None, path) => path.is_none(),
    };
    files.peek().is_some() && !files.any(is_on_server)
}

/// Adds the index to packages that do not state it, as pip writes them: the index that is on the server of their files, or
/// that has files there, otherwise this server.
fn add_indexes(lock: &mut PythonLockFile, servers: &[Vec<String>]) {
    let mut indexes: HashMap<String, String> = HashMap::new();
    let stated = lock.packages.iter().zip(servers);
    let stated = stated.filter_map(|(package, servers)| Some((package.index.as_deref()?, servers)));
    for (index, servers) in stated {
        for server in origin::server(index).iter().chain(servers) {
            indexes.entry(server.clone()).or_insert_with(|| index.to_owned());
        }
    }
    for (package, servers) in lock.packages.iter_mut().zip(servers) {
        if let Some(server) = servers.first().filter(|_| package.index.is_none()) {
            package.index = Some(indexes.get(server).unwrap_or(server).clone());
        }
    }
}

/// Returns the version that the name of a file has: the key `version` is optional.
fn version_of_files(name: &str, files: &[LockedFile]) -> Option<String> {
    let project = name::parse(name).ok()?;
    let names = files.iter().filter_map(|file| FileName::parse(file.name.as_deref()?).ok());
    names.filter_map(|file| file.version(&project, None)).next()
}
