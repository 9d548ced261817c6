//! Lock files of Python tools: the packages of the main index with their versions, digests and markers. Five formats are
//! recognized by their content: `pylock.toml` (PEP 751), `uv.lock`, `poetry.lock`, `pdm.lock` and `Pipfile.lock`.

mod origin;
mod pipfile;
mod pylock;
mod tables;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base::model::digest::Sha256;
use base::model::project_name::{BadProjectName, ProjectName};

/// Maximum size of a lock file, in bytes. Lock files of large workspaces have about 5 MB.
const MAX_FILE: usize = 16 << 20;
/// Maximum number of packages of a lock file, also from elsewhere than an index; large workspaces have about 2,000.
const MAX_PACKAGES: usize = 50_000;
/// Maximum number of files of all packages; a list that several packages have counts for each of them. Lock files of
/// large workspaces list about 30,000 files.
const MAX_FILES: usize = 500_000;

/// The tool or standard that defines the format of a lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PythonLockKind {
    /// `pylock.toml`, `pylock.*.toml`: PEP 751.
    Pylock,
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`.
    Poetry,
    /// `pdm.lock`.
    Pdm,
    /// `Pipfile.lock`.
    Pipfile,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonLockFile {
    pub kind: PythonLockKind,
    /// The packages from the main index, in the order of the file (in `Pipfile.lock`: by group and name). A project has
    /// several entries if its version depends on the environment.
    pub packages: Vec<LockedPackage>,
    /// Packages that are not from the main index.
    pub skipped: Vec<SkippedPackage>,
}

/// A package from an index, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPackage {
    pub name: ProjectName,
    pub version: String,
    /// The condition for its installation, as written.
    pub marker: Option<String>,
    /// The files that the lock file lists for the version; may be empty. The versions of a package may share a list.
    pub files: Arc<[LockedFile]>,
    /// The index as [`origin::index`] writes it; `None` for the default one, or if the file does not state it.
    index: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// The file name; `None` in `Pipfile.lock`, which has only digests.
    pub name: Option<String>,
    /// The SHA-256; `None` if the lock file has only digests of other algorithms.
    pub sha256: Option<Sha256>,
    /// Size in bytes, if stated.
    pub size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedPackage {
    pub name: String,
    /// The reason, which names the origin of the package: another index, a checkout, a URL or a directory.
    pub reason: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPythonLockFile {
    #[error("the file has {0} bytes, more than the {MAX_FILE} allowed")]
    TooLarge(usize),
    #[error("the file has {count} {items}, more than the {limit} allowed; lock fewer projects in one file")]
    TooMany { count: usize, items: &'static str, limit: usize },
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    /// The text is neither TOML nor JSON, or a value has the wrong type.
    #[error("line {line}: {message}; lock the project again with its tool")]
    Syntax { line: usize, message: String },
    #[error(
        "this is not a lock file of a known format: pylock.toml, uv.lock, poetry.lock, pdm.lock or Pipfile.lock"
    )]
    Unknown,
    #[error("the file has version {version} of the format of {kind}; version {supported} is supported")]
    Format { kind: PythonLockKind, version: String, supported: &'static str },
    #[error(transparent)]
    Name(#[from] BadProjectName),
    #[error("the package '{0}' has no version; lock the project again with its tool")]
    NoVersion(String),
    #[error("the package '{package}' has the digest '{text}', which is not 64 hexadecimal digits of SHA-256")]
    Digest { package: String, text: String },
}

impl PythonLockKind {
    pub const ALL: [PythonLockKind; 5] = [
        PythonLockKind::Pylock,
        PythonLockKind::Uv,
        PythonLockKind::Poetry,
        PythonLockKind::Pdm,
        PythonLockKind::Pipfile,
    ];

    pub fn file_name(self) -> &'static str {
        match self {
            PythonLockKind::Pylock => "pylock.toml",
            PythonLockKind::Uv => "uv.lock",
            PythonLockKind::Poetry => "poetry.lock",
            PythonLockKind::Pdm => "pdm.lock",
            PythonLockKind::Pipfile => "Pipfile.lock",
        }
    }
}

impl fmt::Display for PythonLockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

/// Parses a lock file.
///
/// # Errors
/// [`BadPythonLockFile`], for the first defect. A file of an unknown version is refused as a whole.
pub fn parse(bytes: &[u8]) -> Result<PythonLockFile, BadPythonLockFile> {
    if bytes.len() > MAX_FILE {
        return Err(BadPythonLockFile::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadPythonLockFile::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lock = if text.trim_start().starts_with('{') {
        pipfile::parse(text)?
    } else {
        let head: tables::FormatKeys = text::toml(text)?;
        match head.kind()? {
            PythonLockKind::Pylock => pylock::parse(text)?,
            kind => tables::parse(kind, text)?,
        }
    };
    let files = lock.packages.iter().fold(0usize, |sum, package| sum.saturating_add(package.files.len()));
    let packages = lock.packages.len().saturating_add(lock.skipped.len());
    for (count, items, limit) in [(packages, "packages", MAX_PACKAGES), (files, "files", MAX_FILES)] {
        if count > limit {
            return Err(BadPythonLockFile::TooMany { count, items, limit });
        }
    }
    origin::skip_other_indexes(&mut lock);
    Ok(lock)
}

#[cfg(test)]
mod origin_tests;
#[cfg(test)]
mod tests;
