//! Changes of a tree whose lives list single files, because a version of a Python package has several files.

use super::change::LifeKey;
use super::digest::Sha256;
use super::ids::{FileId, PackageId, ReleaseId};

/// A file that a tree never listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPythonFile {
    /// The normalized name of the project.
    pub project: String,
    /// The normalized version.
    pub version: String,
    /// 0 for the first bytes under this file name, increased by one for each replacement by different bytes.
    pub revision: i64,
    /// The file name.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Digest of the bytes, which are in storage.
    pub sha256: Sha256,
    /// Facts for the page of the project, as JSON.
    pub facts: Vec<u8>,
    /// Digest and size in bytes of the METADATA of a wheel, which is in storage.
    pub metadata: Option<(Sha256, i64)>,
}

/// One change of such a tree at its next step. `yanked` is the reason for a yank, which may be empty; `None` for a file
/// that is not yanked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// A new file is listed.
    Introduce {
        /// The file.
        file: Box<NewPythonFile>,
        /// The reason why it is yanked.
        yanked: Option<String>,
    },
    /// A known file is listed.
    BeginLife {
        /// Its project.
        package: PackageId,
        /// Its version.
        release: ReleaseId,
        /// The file.
        file: FileId,
        /// The reason why it is yanked.
        yanked: Option<String>,
    },
    /// A file is no longer listed, or its listing changes.
    EndLife(LifeKey),
}
