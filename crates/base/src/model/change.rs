//! Changes of a tree, planned by a sync or made by an administrator.

use super::digest::{Md5, Sha256};
use super::ids::{FileId, PackageId, ReleaseId};
use super::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifeState {
    /// In the index; stored as 0.
    Listed,
    /// In `Archive/`; stored as 1.
    Archived,
}

impl LifeState {
    /// Returns the number stored in the tables.
    pub fn as_i64(self) -> i64 {
        match self {
            LifeState::Listed => 0,
            LifeState::Archived => 1,
        }
    }
}

/// A new release of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRelease {
    /// The package's name, as written.
    pub package: String,
    /// The version, as written in file names.
    pub version: String,
    /// 0 for the first publication of this version, increased by one for each re-publication with different bytes.
    pub revision: i64,
    /// Publication time upstream, if known.
    pub published_at: Option<Timestamp>,
    /// The index record: DCF text without final blank line. `None` for an archived release with an unread DESCRIPTION.
    pub stanza: Option<Vec<u8>>,
    /// The DESCRIPTION in the archive, byte for byte, if it was read.
    pub description: Option<Vec<u8>>,
    /// SHA-256 of the README in storage.
    pub readme: Option<Sha256>,
    /// Its files. A release of an R package has one, the source package.
    pub files: Vec<NewFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// The file's name in URLs, such as `{package}_{version}.tar.gz`.
    pub name: String,
    /// Its location upstream, relative to `src/contrib`; empty if only this server has it.
    pub locator: String,
    /// Size in bytes, if known.
    pub size: Option<i64>,
    /// MD5 that the upstream index declares.
    pub md5: Option<Md5>,
    /// Digest of the bytes, if known.
    pub sha256: Option<Sha256>,
    /// Whether the blob is in storage under `sha256`.
    pub stored: bool,
}

/// The key of an existing life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LifeKey {
    pub state: LifeState,
    pub package: PackageId,
    /// The field `Path` of the record, for packages also listed in a subdirectory (`4.6.0/Recommended`), or empty.
    pub path: String,
    pub release: ReleaseId,
    /// The file that the life lists; 0 for the release's own source package.
    pub file: FileId,
    /// The step at which the life began; part of the row's key.
    pub from_seq: i64,
}

/// One change of a tree at its next step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "large plans consist almost only of the large variant")]
pub enum Change {
    /// A new release begins a life.
    Introduce {
        release: NewRelease,
        /// Listed or archived from the start.
        state: LifeState,
        path: String,
    },
    /// A known release begins a life, for example because it is archived or listed again.
    BeginLife {
        state: LifeState,
        package: PackageId,
        release: ReleaseId,
        /// The number of the listed index record, 0 for the release's first source record; see [`Change::Record`].
        variant: i64,
        path: String,
    },
    /// A known release gets a new index record: upstream edited it, or a release that was only in `Archive/` is listed.
    /// The same step contains a [`Change::BeginLife`] with its number.
    Record {
        release: ReleaseId,
        /// The number of the index record, which is lower than the numbers of all earlier records of the release
        /// (-1, -2 …). Numbers above 0 are used for records of binaries.
        variant: i64,
        stanza: Vec<u8>,
        /// The MD5 that the index declares. Used if the MD5 of the release's own file is unknown.
        md5: Option<Md5>,
        /// The size in bytes. Used if the size of the release's own file is unknown.
        size: Option<i64>,
    },
    EndLife(LifeKey),
}

/// The numbers of changes of a transaction, as in the public API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packages that are newly listed.
    pub added: i64,
    /// Packages whose listed version changed.
    pub updated: i64,
    /// Releases that moved to the archive.
    pub archived: i64,
    /// Packages removed from the list.
    pub removed: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.added += other.added;
        self.updated += other.updated;
        self.archived += other.archived;
        self.removed += other.removed;
    }
}

/// A file that a tree never listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProjectFile {
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
    /// Returns whether `other` has all these files.
    pub fn are_in(&self, other: &AttachedFiles) -> bool {
        let is_in = |file: Option<(Sha256, i64)>, other| file.is_none() || file == other;
        is_in(self.signature, other.signature) && is_in(self.provenance, other.provenance)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Sha256, i64)> {
        self.signature.into_iter().chain(self.provenance)
    }
}

/// The content of the files that were uploaded with a distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedContent {
    pub signature: Option<Vec<u8>>,
    /// The provenance object with its attestations.
    pub provenance: Option<Vec<u8>>,
}

/// One change, at its next step, of a tree whose lives list single files: a version of a Python package has several.
/// `yanked` is the reason, which may be empty, or `None` for a file that is not yanked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    Introduce {
        file: Box<NewProjectFile>,
        /// The reason why it is yanked.
        yanked: Option<String>,
    },
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
