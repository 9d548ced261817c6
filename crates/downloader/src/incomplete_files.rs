//! Files that could not be fetched, and archives that may have been damaged in transit. Their list is stored in the
//! folder of a head, for the next run and for `validate`, and is copied with the directory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use super::error::OfflineError;
use base::model::digest::Sha256;
use formats::bundle::{Product, self_digest};

/// File name, in the folder of a head. Bundles contain it, so it cannot be renamed.
pub(super) const FILE: &str = ".owed.json";

/// Incomplete files of a product. The keys are paths on the mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IncompleteFiles {
    /// Files that could not be fetched, with the reason.
    #[serde(default, rename = "missing")]
    pub(super) missing_files: BTreeMap<String, String>,
    /// Archives that cannot be read as packages and have no checksum in the index.
    #[serde(default, rename = "unreadable")]
    unreadable_archives: BTreeMap<String, UnreadableArchive>,
}

/// An archive that cannot be read as a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnreadableArchive {
    /// SHA-256 of the fetched bytes.
    sha256: String,
    /// Whether a later run fetched the same bytes: then the file on the mirror is damaged, not the transfer.
    confirmed: bool,
}

impl IncompleteFiles {
    /// Reads the file; empty if it is missing or damaged.
    pub(super) fn read(destination: &Destination, product: &Product) -> IncompleteFiles {
        let bytes = std::fs::read(destination.path(&file(product))).unwrap_or_default();
        self_digest::parse(&bytes).unwrap_or_default()
    }

    /// Writes the file, or removes it if there is nothing to record.
    pub(super) fn save(&self, destination: &Destination, product: &Product) -> Result<(), OfflineError> {
        let file = file(product);
        if *self != IncompleteFiles::default() {
            return destination.put_if_changed(&file, &self_digest::serialize(self));
        }
        destination.remove(&file)
    }

    /// Returns whether an archive must be fetched again, to find out whether it was damaged in transit.
    pub(super) fn needs_confirmation(&self, path: &str) -> bool {
        self.unreadable_archives.get(path).is_some_and(|archive| !archive.confirmed)
    }

    /// Returns whether any archive must be fetched again.
    pub(super) fn has_unconfirmed_archive(&self) -> bool {
        self.unreadable_archives.values().any(|archive| !archive.confirmed)
    }

    /// Returns whether the next run needs to fetch none of these files.
    pub(super) fn is_resolved(&self) -> bool {
        self.missing_files.is_empty() && !self.has_unconfirmed_archive()
    }

    /// Returns the number of archives that cannot be read as packages.
    pub(super) fn unreadable_count(&self) -> usize {
        self.unreadable_archives.len()
    }

    /// Records a fetched archive; returns false if an earlier run fetched the same unreadable bytes.
    pub(super) fn record_archive(&mut self, path: &str, sha256: Sha256, is_readable: bool) -> bool {
        let sha256 = sha256.to_string();
        if let Some(entry) = self.unreadable_archives.get_mut(path).filter(|entry| entry.sha256 == sha256) {
            entry.confirmed = true;
            return false;
        }
        self.unreadable_archives.remove(path);
        if !is_readable {
            self.unreadable_archives.insert(path.to_owned(), UnreadableArchive { sha256, confirmed: false });
        }
        true
    }
}

fn file(product: &Product) -> String {
    format!("{}/{FILE}", product.root())
}
