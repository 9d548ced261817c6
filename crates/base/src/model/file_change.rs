//! Changes of a tree whose lives list single files, because a version of a Python package has several files.

use super::change::LifeKey;
use super::digest::Sha256;
use super::ids::{FileId, PackageId, ReleaseId};

/// A file that a tree never listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPythonFile {
    /// The normalized name of the project.
    pub project: String,
    pub version: String,
    /// 0 for the first bytes under this file name, increased by one for each replacement by different bytes.
    pub revision: i64,
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Digest of the bytes, which are in storage.
    pub sha256: Sha256,
    /// Facts for the page of the project, as JSON.
    pub facts: Vec<u8>,
    /// Digest and size in bytes of the METADATA of a wheel, which is in storage.
    pub metadata: Option<(Sha256, i64)>,
    /// The files that were uploaded with it.
    pub attached: AttachedFiles,
}

/// The files that were uploaded with a distribution: digest and size in bytes of each, which is in storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachedFiles {
    pub signature: Option<(Sha256, i64)>,
    /// The provenance object with its attestations.
    pub provenance: Option<(Sha256, i64)>,
}

impl AttachedFiles {
    /// Returns true if `other` has all these files.
    pub fn are_in(&self, other: &AttachedFiles) -> bool {
        let is_in = |file: Option<(Sha256, i64)>, other| file.is_none() || file == other;
        is_in(self.signature, other.signature) && is_in(self.provenance, other.provenance)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Sha256, i64)> {
        self.signature.into_iter().chain(self.provenance)
    }
}

/// One change of such a tree at its next step. `yanked` is the reason for a yank, which may be empty; `None` for a file
/// that is not yanked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// A new file is listed.
    Introduce {
        file: Box<NewPythonFile>,
        /// The reason why it is yanked.
        yanked: Option<String>,
    },
    /// A known file is listed.
    BeginLife {
        package: PackageId,
        release: ReleaseId,
        file: FileId,
        /// The number of its facts, see [`FileChange::Facts`].
        variant: i64,
        /// The reason why it is yanked.
        yanked: Option<String>,
    },
    /// New facts about a known file, for its lives with this number. 0 is the number of the first facts.
    Facts { file: FileId, variant: i64, facts: Vec<u8> },
    /// Files that were uploaded with a known file replace earlier ones of their kind.
    Attach { file: FileId, attached: AttachedFiles },
    /// A file is no longer listed, or its listing changes.
    EndLife(LifeKey),
}
