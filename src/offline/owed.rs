//! What the mirror declared and could not give, and archives that may have been damaged on the way: noted beside a head, for
//! the next run and for `validate`, and carried with the directory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::OfflineError;
use super::place::Place;
use crate::bundle::{Product, seal};
use crate::model::digest::Sha256;

/// Its name, beside a head.
pub(super) const FILE: &str = ".owed.json";

/// The note of a product. Its keys are paths on the mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// Files that could not be fetched, and why.
    #[serde(default)]
    pub(super) missing: BTreeMap<String, String>,
    /// Archives that cannot be read as packages, and of which the index tells no checksum.
    #[serde(default)]
    unreadable: BTreeMap<String, Unreadable>,
}

/// An archive that cannot be read as a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unreadable {
    /// SHA-256 of what came.
    sha256: String,
    /// A later run got the same bytes: that is what the mirror has.
    confirmed: bool,
}

impl Owed {
    /// The note; an empty one where there is none, or none that can be read.
    pub(super) fn read(place: &Place, product: &Product) -> Owed {
        let bytes = std::fs::read(place.path(&file(product))).unwrap_or_default();
        seal::open(&bytes).unwrap_or_default()
    }

    /// Writes the note; an empty one is removed.
    pub(super) fn leave(&self, place: &Place, product: &Product) -> Result<(), OfflineError> {
        let file = file(product);
        if *self != Owed::default() {
            return place.keep(&file, &seal::seal(self));
        }
        let path = place.path(&file);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(OfflineError::place("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Whether an archive has to be asked for once more.
    pub(super) fn doubts(&self, path: &str) -> bool {
        self.unreadable.get(path).is_some_and(|archive| !archive.confirmed)
    }

    /// Whether any has to be.
    pub(super) fn has_doubts(&self) -> bool {
        self.unreadable.values().any(|archive| !archive.confirmed)
    }

    /// Whether the next run has nothing to ask for because of it.
    pub(super) fn is_settled(&self) -> bool {
        self.missing.is_empty() && !self.has_doubts()
    }

    /// Archives that cannot be read as packages.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Notes what came of an archive; false when it is what an earlier run got, which is noted already.
    pub(super) fn came(&mut self, path: &str, sha256: Sha256, is_readable: bool) -> bool {
        let sha256 = sha256.to_string();
        if let Some(before) = self.unreadable.get_mut(path).filter(|before| before.sha256 == sha256) {
            before.confirmed = true;
            return false;
        }
        self.unreadable.remove(path);
        if !is_readable {
            self.unreadable.insert(path.to_owned(), Unreadable { sha256, confirmed: false });
        }
        true
    }
}

fn file(product: &Product) -> String {
    format!("{}/{FILE}", product.root())
}
