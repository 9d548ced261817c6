//! Inventory of the files of an upstream, which is a mirror or another bundle.

use super::metadata::FileValidators;
use base::model::digest::{Md5, Sha256};
use base::model::time::Timestamp;
use formats::bundle::{Record, ReleaseRecord};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UpstreamFile {
    /// The folder, unless it is the default one, as in [`ReleaseRecord`].
    pub(super) folder: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    /// The file extension, without the dot.
    pub(super) ext: String,
    /// Possible paths, the likeliest first: the mirror may move the file before it is fetched.
    pub(super) paths: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) published: Option<Timestamp>,
    pub(super) md5: Option<Md5>,
    pub(super) sha256: Option<Sha256>,
    /// Whether the index lists the file as the package's current version.
    pub(super) is_listed: bool,
    /// The file's record in the index.
    pub(super) index: Option<String>,
    /// The file's record in the bundle that is read; with a record the contents need not be read.
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

    /// Returns whether a checksum of the file's bytes is known.
    pub(super) fn is_verifiable(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some() || self.record.is_some()
    }
}

/// All files of an upstream at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) files: Vec<UpstreamFile>,
    /// Events of earlier days other than publications: archivals and restores.
    pub(super) events: Vec<Record>,
    /// Whether `files` are all files of upstream: then a known file that is not among them has been removed.
    pub(super) is_complete: bool,
    /// Whether times of publication are known.
    pub(super) has_dates: bool,
    /// Digests of the metadata files, to detect a change.
    pub(super) fingerprint: Vec<Sha256>,
    /// The serial of the bundle; `None` for a mirror.
    pub(super) serial: Option<u64>,
    /// Validators of all metadata files; `None` if one of them has none.
    pub(super) validators: Option<Vec<FileValidators>>,
    pub(super) warnings: Vec<String>,
}
