//! `Pipfile.lock`: a JSON object of groups, each an object of packages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::text::{digest, excerpt, package};
use super::{BadPythonLockFile, LockedFile, PythonLockFile, PythonLockKind, SkippedPackage, origin};
use base::model::project_name::ProjectName;

#[derive(Deserialize)]
struct PipfileLock {
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
    /// The groups `default` and `develop`, and further groups of the user.
    #[serde(flatten)]
    groups: BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "pipfile-spec")]
    format: Option<u64>,
    /// The indexes; the first one is the default.
    #[serde(default)]
    sources: Vec<RawSource>,
}

#[derive(Deserialize)]
struct RawSource {
    name: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct PipfilePackage {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    markers: Option<String>,
    index: Option<String>,
    git: Option<IgnoredAny>,
    hg: Option<IgnoredAny>,
    svn: Option<IgnoredAny>,
    bzr: Option<IgnoredAny>,
    path: Option<IgnoredAny>,
    file: Option<IgnoredAny>,
}

pub(super) fn parse(text: &str) -> Result<PythonLockFile, BadPythonLockFile> {
    let syntax = |error: serde_json::Error| BadPythonLockFile::Syntax {
        line: error.line(),
        message: excerpt(&error.to_string()),
    };
    let PipfileLock { meta, groups } = serde_json::from_str(text).map_err(syntax)?;
    let meta = meta.ok_or(BadPythonLockFile::Unknown)?;
    if let Some(format) = meta.format.filter(|format| *format != 6) {
        let kind = PythonLockKind::Pipfile;
        return Err(BadPythonLockFile::Format { kind, version: format.to_string(), supported: "6" });
    }
    let indexes: Vec<(Option<String>, Option<String>)> = meta
        .sources
        .into_iter()
        .map(|source| (source.name, source.url.as_deref().map(origin::index)))
        .collect();
    let default = indexes.first();
    let mut lock =
        PythonLockFile { kind: PythonLockKind::Pipfile, packages: Vec::new(), skipped: Vec::new() };
    let mut positions: HashMap<(ProjectName, String), usize> = HashMap::new();
    for (name, value) in groups.into_values().flatten() {
        let raw: PipfilePackage = serde_json::from_value(value).map_err(|error| {
            BadPythonLockFile::Syntax { line: 1, message: excerpt(&format!("the package '{name}': {error}")) }
        })?;
        let reason = match (&raw.git, &raw.path, &raw.file) {
            (Some(_), _, _) => Some("it is from a git repository"),
            _ if raw.hg.is_some() || raw.svn.is_some() || raw.bzr.is_some() => {
                Some("it is from a version control system")
            }
            (None, Some(_), _) => Some("it is from a directory"),
            (None, None, Some(_)) => Some("it is from a URL"),
            (None, None, None) => None,
        };
        if let Some(reason) = reason {
            lock.skipped.push(SkippedPackage { name, reason: reason.into() });
            continue;
        }
        let version = raw.version.map(|text| text.trim_start_matches('=').trim().to_owned());
        let locked_file = |hash: &String| {
            Ok::<_, BadPythonLockFile>(LockedFile { name: None, sha256: digest(&name, hash)?, size: None })
        };
        let files = raw.hashes.iter().map(locked_file).collect::<Result<Arc<[_]>, _>>()?;
        // The address of the named index; the name of one that is not in the file.
        let named = indexes.iter().find(|(name, _)| raw.index.is_some() && *name == raw.index);
        let is_default = named.zip(default).is_some_and(|((name, url), (first, first_url))| {
            name == first || url.is_some() && url == first_url
        });
        let index = named.and_then(|(_, url)| url.clone()).or(raw.index).filter(|_| !is_default);
        let locked = package(&name, version, raw.markers, files, index)?;
        // A package of several groups is listed in each of them; equal entries are stored once.
        let key = (locked.name.clone(), locked.version.clone());
        let position = *positions.entry(key).or_insert(lock.packages.len());
        if lock.packages.get(position) != Some(&locked) {
            lock.packages.push(locked);
        }
    }
    Ok(lock)
}
