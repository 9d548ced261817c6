//! `uv.lock`, `poetry.lock` and `pdm.lock`: TOML with an array of tables `[[package]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::origin::{self, LOCAL, PYPI};
use super::text::{digest, file_name, package, toml};
use super::{BadPythonLockFile, LockedFile, LockedPackage, PythonLockFile, PythonLockKind, SkippedPackage};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The keys that distinguish the formats.
#[derive(Deserialize)]
pub(super) struct FormatKeys {
    #[serde(rename = "lock-version")]
    lock_version: Option<IgnoredAny>,
    packages: Option<IgnoredAny>,
    version: Option<u64>,
    metadata: Option<FormatMetadata>,
}

#[derive(Deserialize)]
struct FormatMetadata {
    /// In lock files of Poetry.
    #[serde(rename = "lock-version")]
    lock_version: Option<IgnoredAny>,
    /// In lock files of Poetry; PDM uses the key `content_hash`.
    #[serde(rename = "content-hash")]
    content_hash: Option<IgnoredAny>,
    /// In lock files of PDM.
    #[serde(rename = "lock_version")]
    pdm_lock_version: Option<IgnoredAny>,
}

impl FormatKeys {
    pub(super) fn kind(&self) -> Result<PythonLockKind, BadPythonLockFile> {
        if self.lock_version.is_some() || self.packages.is_some() {
            return Ok(PythonLockKind::Pylock);
        }
        if let Some(metadata) = &self.metadata {
            if metadata.pdm_lock_version.is_some() {
                return Ok(PythonLockKind::Pdm);
            }
            if metadata.lock_version.is_some() || metadata.content_hash.is_some() {
                return Ok(PythonLockKind::Poetry);
            }
        }
        match self.version {
            Some(1) => Ok(PythonLockKind::Uv),
            Some(version) => {
                let version = version.to_string();
                Err(BadPythonLockFile::Format { kind: PythonLockKind::Uv, version, supported: "1" })
            }
            None => Err(BadPythonLockFile::Unknown),
        }
    }
}

#[derive(Deserialize)]
struct LockDocument {
    #[serde(default)]
    package: Vec<LockTable>,
    metadata: Option<PoetryMetadata>,
}

#[derive(Default, Deserialize)]
struct PoetryMetadata {
    /// The files by package, in lock files of Poetry before 1.4.
    #[serde(default)]
    files: BTreeMap<String, Vec<RawEntry>>,
}

#[derive(Deserialize)]
struct LockTable {
    name: String,
    version: Option<String>,
    source: Option<Source>,
    sdist: Option<RawEntry>,
    #[serde(default)]
    wheels: Vec<RawEntry>,
    #[serde(default)]
    files: Vec<RawEntry>,
    /// In lock files of PDM.
    marker: Option<String>,
    /// In lock files of Poetry: a text, or one text per group.
    markers: Option<Markers>,
    /// In lock files of uv: alternatives.
    #[serde(default, rename = "resolution-markers")]
    resolution_markers: Vec<String>,
    /// In lock files of PDM, this and the next two keys are origins other than an index.
    git: Option<IgnoredAny>,
    url: Option<IgnoredAny>,
    path: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Markers {
    Text(String),
    Groups(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Source {
    /// In lock files of Poetry.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// In lock files of Poetry, and in those of uv for packages that are not from an index.
    url: Option<String>,
    /// This and the following keys are in lock files of uv. The value is an address or the path of a directory.
    registry: Option<String>,
    git: Option<IgnoredAny>,
    path: Option<IgnoredAny>,
    directory: Option<IgnoredAny>,
    editable: Option<IgnoredAny>,
    r#virtual: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawEntry {
    file: Option<String>,
    url: Option<String>,
    path: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

/// Parses the text of a lock file in one of the three formats.
pub(super) fn parse(kind: PythonLockKind, text: &str) -> Result<PythonLockFile, BadPythonLockFile> {
    let LockDocument { package: packages, metadata } = toml(text)?;
    let mut earlier_files =
        EarlierFiles { unread: metadata.unwrap_or_default().files, read: BTreeMap::new() };
    let mut lock = PythonLockFile { kind, packages: Vec::with_capacity(packages.len()), skipped: Vec::new() };
    for raw in packages {
        if let Some(reason) = other_origin(kind, &raw) {
            lock.skipped.push(SkippedPackage { name: raw.name, reason: reason.into() });
            continue;
        }
        let locked = locked_package(kind, raw, &mut earlier_files)?;
        // PDM writes an entry for each combination of extras; equal ones are stored once.
        if !lock.packages.last().is_some_and(|last| is_same(last, &locked)) {
            lock.packages.push(locked);
        }
    }
    Ok(lock)
}

/// The lists of files outside of the packages. The versions of a package have one list, which is stored once.
struct EarlierFiles {
    unread: BTreeMap<String, Vec<RawEntry>>,
    read: BTreeMap<String, Arc<[LockedFile]>>,
}

impl EarlierFiles {
    /// Returns the list of a package; empty if there is none.
    fn of(&mut self, package: &str) -> Result<Arc<[LockedFile]>, BadPythonLockFile> {
        if let Some(entries) = self.unread.remove(package) {
            let files = locked_files(package, entries)?;
            self.read.insert(package.to_owned(), files);
        }
        Ok(self.read.get(package).map(Arc::clone).unwrap_or_default())
    }
}

/// Returns whether two packages are equal. A shared list of files is not compared with itself.
fn is_same(a: &LockedPackage, b: &LockedPackage) -> bool {
    (&a.name, &a.version, &a.marker, &a.index) == (&b.name, &b.version, &b.marker, &b.index)
        && (Arc::ptr_eq(&a.files, &b.files) || a.files == b.files)
}

/// Returns a message with the origin of a package, unless it is from an index.
fn other_origin(kind: PythonLockKind, raw: &LockTable) -> Option<&'static str> {
    const GIT: &str = "it is from a git repository";
    const URL: &str = "it is from a URL";
    const DIRECTORY: &str = "it is from a directory";
    let source = raw.source.as_ref();
    match kind {
        PythonLockKind::Poetry => match source.and_then(|source| source.kind.as_deref()) {
            None | Some("legacy" | "pypi") => None,
            Some("git") => Some(GIT),
            Some("url") => Some(URL),
            Some(_) => Some(DIRECTORY),
        },
        PythonLockKind::Pdm if raw.git.is_some() => Some(GIT),
        PythonLockKind::Pdm if raw.url.is_some() => Some(URL),
        PythonLockKind::Pdm if raw.path.is_some() => Some(DIRECTORY),
        PythonLockKind::Pdm
            if raw.files.first().and_then(|file| file.url.as_deref()).is_some_and(origin::is_local) =>
        {
            Some(LOCAL)
        }
        PythonLockKind::Pdm => None,
        PythonLockKind::Uv | PythonLockKind::Pylock | PythonLockKind::Pipfile => match source {
            Some(source) if source.registry.is_some() => None,
            Some(source) if source.git.is_some() => Some(GIT),
            Some(Source { path: None, directory: None, editable: None, r#virtual: None, .. }) => Some(URL),
            Some(_) | None => Some(DIRECTORY),
        },
    }
}

/// Returns the index of a package; `None` for the default one. PDM names none, but lists addresses of files only of other
/// indexes than the default, or else of all files: their host stands for the index.
fn index(kind: PythonLockKind, raw: &LockTable) -> Option<String> {
    let source = raw.source.as_ref();
    match kind {
        // PyPI is the default, also under a name of the project.
        PythonLockKind::Poetry => source?.url.clone().filter(|url| origin::index(url) != PYPI),
        PythonLockKind::Pdm => origin::server(raw.files.first()?.url.as_deref()?),
        PythonLockKind::Uv | PythonLockKind::Pylock | PythonLockKind::Pipfile => source?.registry.clone(),
    }
}

fn locked_package(
    kind: PythonLockKind,
    raw: LockTable,
    earlier_files: &mut EarlierFiles,
) -> Result<LockedPackage, BadPythonLockFile> {
    let index = index(kind, &raw);
    let markers = match raw.markers {
        Some(Markers::Text(text)) => vec![text],
        Some(Markers::Groups(groups)) => groups.into_values().collect(),
        None => raw.resolution_markers,
    };
    let marker = raw.marker.or_else(|| any_of(markers));
    let own_files = locked_files(&raw.name, raw.sdist.into_iter().chain(raw.wheels).chain(raw.files))?;
    let files = if own_files.is_empty() { earlier_files.of(&raw.name)? } else { own_files };
    package(&raw.name, raw.version, marker, files, index)
}

fn locked_files(
    package: &str,
    entries: impl IntoIterator<Item = RawEntry>,
) -> Result<Arc<[LockedFile]>, BadPythonLockFile> {
    let locked_file = |entry: RawEntry| {
        let address = entry.url.or(entry.path);
        Ok::<_, BadPythonLockFile>(LockedFile {
            name: entry
                .file
                .filter(|name| !name.is_empty())
                .or_else(|| address.as_deref().and_then(file_name)),
            sha256: entry.hash.map(|hash| digest(package, &hash)).transpose()?.flatten(),
            size: entry.size,
        })
    };
    entries.into_iter().map(locked_file).collect()
}

/// Joins alternative markers by `or`.
fn any_of(mut markers: Vec<String>) -> Option<String> {
    markers.dedup();
    match markers.len() {
        0 => None,
        1 => markers.pop(),
        _ => Some(markers.iter().map(|marker| format!("({marker})")).collect::<Vec<_>>().join(" or ")),
    }
}
