//! Changes to a tree, as a sync plans them and an administrator makes them: the one currency of both.

use super::digest::{Md5, Sha256};
use super::ids::{FileId, PackageId, ReleaseId};
use super::time::Timestamp;

/// How a release lives in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifeState {
    /// In the index: `state` 0.
    Listed,
    /// In `Archive/`: `state` 1.
    Archived,
}

impl LifeState {
    /// As the tables store it.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        match self {
            LifeState::Listed => 0,
            LifeState::Archived => 1,
        }
    }
}

/// A release that is new to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRelease {
    /// The package's name, as written.
    pub package: String,
    /// The version, as written: in file names the string is the identity.
    pub version: String,
    /// 0 for the first bytes seen under this version, one more for each re-publication with other bytes.
    pub revision: i64,
    /// When it was published upstream, where that is known.
    pub published_at: Option<Timestamp>,
    /// The index record, DCF text without the blank line that ends it; `None` for archived releases whose
    /// DESCRIPTION was never read.
    pub stanza: Option<Vec<u8>>,
    /// The DESCRIPTION as it stands in the archive, where it was read.
    pub description: Option<Vec<u8>>,
    /// SHA-256 of the README kept in storage.
    pub readme: Option<Sha256>,
    /// Its file.
    pub file: NewFile,
}

/// The file of a new release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// The file's name in URLs: `{package}_{version}.tar.gz`.
    pub name: String,
    /// Where upstream keeps it, relative to `src/contrib`; empty when the bytes are ours alone.
    pub locator: String,
    /// Bytes, where known.
    pub size: Option<i64>,
    /// What the upstream index declares.
    pub md5: Option<Md5>,
    /// Known once the bytes are ours.
    pub sha256: Option<Sha256>,
    /// True when the blob is in storage under `sha256`.
    pub stored: bool,
}

/// A life that exists, as a plan names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LifeKey {
    /// Listed or archived.
    pub state: LifeState,
    /// The package.
    pub package: PackageId,
    /// Sub-directory of a second record (`4.6.0/Recommended`), else empty.
    pub path: String,
    /// The release.
    pub release: ReleaseId,
    /// The file, 0 where the release's own file is meant.
    pub file: FileId,
    /// The step the life began with: part of the row's key.
    pub from_seq: i64,
}

/// One change of a tree at its next step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "the plans that are large hold almost nothing but the large variant"
)]
pub enum Change {
    /// A release never seen before begins a life.
    Introduce {
        /// What it is.
        release: NewRelease,
        /// Listed or archived from the start.
        state: LifeState,
        /// As in [`LifeKey::path`].
        path: String,
    },
    /// A known release begins a life (superseded into the archive, or restored).
    Open {
        /// Listed or archived.
        state: LifeState,
        /// The package.
        package: PackageId,
        /// The release.
        release: ReleaseId,
        /// The record to show: 0 is the release's first source record, see [`Change::Record`].
        variant: i64,
        /// As in [`LifeKey::path`].
        path: String,
    },
    /// A known release gets another index record: upstream edits a record without touching the file, and a release
    /// known from `Archive/` alone has none before it is listed. A [`Change::Open`] that shows it goes with it.
    Record {
        /// The release.
        release: ReleaseId,
        /// The record's number: below every one the release had (-1, -2 …); those above 0 belong to binaries.
        variant: i64,
        /// As [`NewRelease::stanza`].
        stanza: Vec<u8>,
        /// What the index declares, where nothing is known of the release's own file yet.
        md5: Option<Md5>,
        /// Bytes, likewise.
        size: Option<i64>,
    },
    /// A life ends.
    Close(LifeKey),
}

/// What a transaction did, as the public API counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packages listed that were not before.
    pub added: i64,
    /// Packages whose listed version changed.
    pub updated: i64,
    /// Releases that moved to the archive.
    pub archived: i64,
    /// Packages gone from the list.
    pub removed: i64,
}
