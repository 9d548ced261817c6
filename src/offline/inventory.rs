//! Inventory of the files of an upstream, the same for a mirror and for another bundle.

use super::metadata::FileValidators;
use crate::bundle::{Record, ReleaseRecord};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::Timestamp;

/// A file that upstream has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UpstreamFile {
    /// The folder, unless it is the default one, as in [`ReleaseRecord`].
    pub(super) folder: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    /// The file extension, without the dot.
    pub(super) ext: String,
    /// Possible paths, the likeliest first: a mirror moves files while they are fetched.
    pub(super) paths: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) published: Option<Timestamp>,
    pub(super) md5: Option<Md5>,
    pub(super) sha256: Option<Sha256>,
    /// Whether it is in the index.
    pub(super) is_listed: bool,
    /// Its record in the index.
    pub(super) index: Option<String>,
    /// Its record in another bundle, which makes reading the file unnecessary.
    pub(super) record: Option<Box<ReleaseRecord>>,
}

impl UpstreamFile {
    /// Returns folder (empty for the default one) and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (self.folder.as_deref().unwrap_or_default(), &self.name)
    }

    /// Returns the path in the mirror's index.
    pub(super) fn path(&self) -> &str {
        self.paths.first().map_or("", String::as_str)
    }

    /// Returns true if a checksum can verify its bytes.
    pub(super) fn is_verifiable(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some() || self.record.is_some()
    }
}

/// All files of an upstream at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) files: Vec<UpstreamFile>,
    /// Events of earlier days besides publications: archivals and restores.
    pub(super) events: Vec<Record>,
    /// Whether a file that is not in `files` has been removed; otherwise that is unknown.
    pub(super) is_complete: bool,
    /// Whether times of publication are known.
    pub(super) has_dates: bool,
    /// Digests of the metadata files; unchanged if nothing changed.
    pub(super) fingerprint: Vec<Sha256>,
    /// The serial of a bundle.
    pub(super) serial: Option<u64>,
    /// Validators of all metadata files; `None` if one of them has none.
    pub(super) validators: Option<Vec<FileValidators>>,
    pub(super) warnings: Vec<String>,
}
