//! Every object the server ever stores is a variant of [`Key`], which knows its class, path and media type; and
//! [`Owner`], the marker of a class.

use crate::config::StorageClass;
use crate::model::digest::Sha256;
use std::fmt;

/// The name of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Package bytes, in the class that first stored them.
    Package(StorageClass, Sha256),
    /// A README extracted from a package (class `packages`).
    Readme(Sha256),
    /// A rendered, encoded index of a closed point (class `persistent`), by the digest of its encoded bytes.
    Index(Sha256),
    /// The rule base of system requirements as one document (class `persistent`).
    Rules(Sha256),
    /// The advisories of one place, as compressed JSON lines (class `persistent`).
    Advisories(Sha256),
    /// The downloads of a finished day, added up (class `metrics`).
    Usage(Sha256),
}

impl Key {
    /// The class whose place holds the object.
    #[must_use]
    pub fn class(&self) -> StorageClass {
        match self {
            Key::Package(class, _) => *class,
            Key::Readme(_) => StorageClass::Packages,
            Key::Index(_) | Key::Rules(_) | Key::Advisories(_) => StorageClass::Persistent,
            Key::Usage(_) => StorageClass::Metrics,
        }
    }

    /// The digest of the object's bytes.
    #[must_use]
    pub fn digest(&self) -> &Sha256 {
        match self {
            Key::Package(_, digest)
            | Key::Readme(digest)
            | Key::Index(digest)
            | Key::Rules(digest)
            | Key::Advisories(digest)
            | Key::Usage(digest) => digest,
        }
    }

    /// The first directory of the path. No two kinds of object share one, so classes may share a directory or a
    /// bucket and still be listed apart.
    #[must_use]
    pub fn shelf(&self) -> &'static str {
        match self {
            Key::Package(class, _) => class.as_str(),
            Key::Readme(_) => "readmes",
            Key::Index(_) => "indexes",
            Key::Rules(_) => "sysreqs",
            Key::Advisories(_) => "vulns",
            Key::Usage(_) => "usage",
        }
    }

    /// The path below the class's place, the same on every backend: `cran/3f/3fa9…` (fan-out by the first byte).
    #[must_use]
    pub fn path(&self) -> String {
        let digest = self.digest();
        format!("{}/{:02x}/{digest}", self.shelf(), digest.0[0])
    }

    /// The media type (RFC 6838) the object is stored with where the backend keeps one. What a client is told
    /// depends on the file name in the URL, which storage does not know.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self {
            Key::Package(..) | Key::Index(_) | Key::Usage(_) | Key::Advisories(_) => {
                "application/octet-stream"
            }
            Key::Readme(_) => "text/plain; charset=utf-8",
            Key::Rules(_) => "application/json",
        }
    }

    /// A key of every shelf of a class, each with the smallest digest, in the order of listing.
    #[must_use]
    pub fn shelves(class: StorageClass) -> Vec<Key> {
        let first = Sha256([0; 32]);
        let extra = match class {
            StorageClass::Packages => vec![Key::Readme(first)],
            StorageClass::Persistent => vec![Key::Index(first), Key::Rules(first), Key::Advisories(first)],
            StorageClass::Metrics => vec![Key::Usage(first)],
            StorageClass::Cache
            | StorageClass::Launcher
            | StorageClass::Binaries
            | StorageClass::Cran
            | StorageClass::Bioconductor
            | StorageClass::Pypi => Vec::new(),
        };
        [vec![Key::Package(class, first)], extra].concat()
    }

    /// The key of the same kind with another digest.
    pub(super) fn with_digest(&self, digest: Sha256) -> Key {
        match self {
            Key::Package(class, _) => Key::Package(*class, digest),
            Key::Readme(_) => Key::Readme(digest),
            Key::Index(_) => Key::Index(digest),
            Key::Rules(_) => Key::Rules(digest),
            Key::Advisories(_) => Key::Advisories(digest),
            Key::Usage(_) => Key::Usage(digest),
        }
    }
}

/// Where within its class an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// In service.
    Live,
    /// Removed by the clean-up: brought back when a row needs it, deleted after a grace period.
    Trash,
    /// Its bytes are not those of its digest: never served.
    Damaged,
}

impl Area {
    /// The directory above the shelves; none for objects in service.
    pub(super) fn folder(self) -> Option<&'static str> {
        match self {
            Area::Live => None,
            Area::Trash => Some("trash"),
            Area::Damaged => Some("damaged"),
        }
    }

    /// The path of something below the class's place: `cran/3f/3fa9…`, `trash/cran/3f/3fa9…`.
    #[must_use]
    pub fn path(self, path: &str) -> String {
        match self.folder() {
            None => path.to_owned(),
            Some(folder) => format!("{folder}/{path}"),
        }
    }
}

/// The marker of a class: an object that holds the identity of the database whose rows name the objects there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub StorageClass);

impl Owner {
    /// The directory of markers. Classes may share a place, so each has a file of its own there.
    pub(super) const FOLDER: &'static str = "owner";

    /// The path below the class's place: `owner/cran`.
    #[must_use]
    pub fn path(self) -> String {
        format!("{}/{}", Owner::FOLDER, self.0.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_path_is_the_shelf_two_digits_and_the_digest() {
        let digest = Sha256([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(Key::Package(StorageClass::Cran, digest).path(), format!("cran/ab/{hex}"));
        assert_eq!(Key::Readme(digest).path(), format!("readmes/ab/{hex}"));
        assert_eq!(Key::Index(digest).to_string(), format!("indexes/ab/{hex}"));
    }

    #[test]
    fn no_two_kinds_share_a_shelf_and_each_knows_its_class() {
        let mut seen = HashSet::new();
        for class in StorageClass::ALL {
            for key in Key::shelves(class) {
                assert_eq!(key.class(), class);
                assert!(seen.insert(key.shelf()), "{key}");
            }
        }
        assert_eq!(seen.len(), 14);
        let others = [Some(Owner::FOLDER), Area::Trash.folder(), Area::Damaged.folder()];
        assert!(others.into_iter().flatten().all(|folder| seen.insert(folder)));
    }
}
