//! What an upstream says it has, as rows of files: the same for a mirror and for another bundle.

use super::told::Told;
use crate::bundle::{Record, Ver};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::Timestamp;

/// A file that upstream has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// As in `Ver`: where it is not in the usual folder.
    pub(super) folder: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    /// The ending of its file, without the dot.
    pub(super) ext: String,
    /// Where it may be, the likeliest first: a mirror moves files while they are fetched.
    pub(super) paths: Vec<String>,
    pub(super) size: Option<u64>,
    pub(super) published: Option<Timestamp>,
    pub(super) md5: Option<Md5>,
    pub(super) sha256: Option<Sha256>,
    /// It is in the index.
    pub(super) listed: bool,
    /// Its record there.
    pub(super) index: Option<String>,
    /// Of another bundle: all that is known of it, so that nobody has to look into the file.
    pub(super) told: Option<Box<Ver>>,
}

impl Row {
    /// Folder, the usual one as an empty text, and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (self.folder.as_deref().unwrap_or_default(), &self.name)
    }

    /// Where the mirror says that it is.
    pub(super) fn path(&self) -> &str {
        self.paths.first().map_or("", String::as_str)
    }

    /// Whether a checksum tells that its bytes are those of the mirror.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some() || self.told.is_some()
    }
}

/// All of it, of one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    pub(super) rows: Vec<Row>,
    /// What happened on earlier days besides publications: archivals and returns.
    pub(super) events: Vec<Record>,
    /// What is missing among the rows is gone; without it, nobody knows.
    pub(super) complete: bool,
    /// Times of publication are told.
    pub(super) dated: bool,
    /// Over the files that told it: unchanged when nothing changed.
    pub(super) fingerprint: Vec<Sha256>,
    /// Of a bundle: its serial.
    pub(super) serial: Option<u64>,
    /// What upstream said of all files that tell it, where it says of each whether it is still the same.
    pub(super) told: Option<Vec<Told>>,
    pub(super) warnings: Vec<String>,
}
