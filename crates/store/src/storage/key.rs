//! Names of stored objects: [`Key`] with class, path and media type, and [`MarkerKey`] of the marker of a class.

use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Package bytes, in the class that first stored them.
    Package(StorageClass, Sha256),
    /// A README extracted from a package (class `packages`).
    Readme(Sha256),
    /// A rendered, encoded index of a closed point (class `persistent`), by the digest of its encoded bytes.
    Index(Sha256),
    /// The rules for system requirements as one document (class `persistent`).
    Rules(Sha256),
    /// The advisories of one feed, as compressed JSON lines (class `persistent`).
    Advisories(Sha256),
    /// The aggregated downloads of a past day (class `metrics`).
    Usage(Sha256),
    /// The log of a build (class `launcher`).
    BuildLog(Sha256),
}

impl Key {
    pub fn class(&self) -> StorageClass {
        match self {
            Key::Package(class, _) => *class,
            Key::Readme(_) => StorageClass::Packages,
            Key::Index(_) | Key::Rules(_) | Key::Advisories(_) => StorageClass::Persistent,
            Key::Usage(_) => StorageClass::Metrics,
            Key::BuildLog(_) => StorageClass::Launcher,
        }
    }

    pub fn digest(&self) -> &Sha256 {
        match self {
            Key::Package(_, digest)
            | Key::Readme(digest)
            | Key::Index(digest)
            | Key::Rules(digest)
            | Key::Advisories(digest)
            | Key::Usage(digest)
            | Key::BuildLog(digest) => digest,
        }
    }

    /// Returns the first directory of the path. Each kind of object has its own, so that classes can share a
    /// location and still be listed separately.
    pub fn directory(&self) -> &'static str {
        match self {
            Key::Package(class, _) => class.as_str(),
            Key::Readme(_) => "readmes",
            Key::Index(_) => "indexes",
            Key::Rules(_) => "sysreqs",
            Key::Advisories(_) => "vulns",
            Key::Usage(_) => "usage",
            Key::BuildLog(_) => "build-logs",
        }
    }

    /// Returns the path below the class's location on every backend: `cran/3f/3fa9…` (fan-out by the first byte).
    pub fn path(&self) -> String {
        let digest = self.digest();
        format!("{}/{:02x}/{digest}", self.directory(), digest.0[0])
    }

    /// Returns the media type (RFC 6838) that the object is stored with, if the backend supports it. The
    /// media type sent to clients depends on the file name in the URL, which storage does not know.
    pub fn media_type(&self) -> &'static str {
        match self {
            Key::Package(..) | Key::Index(_) | Key::Usage(_) | Key::Advisories(_) => {
                "application/octet-stream"
            }
            Key::Readme(_) | Key::BuildLog(_) => "text/plain; charset=utf-8",
            Key::Rules(_) => "application/json",
        }
    }

    /// Returns a key for each directory of a class, with the smallest digest, in the order of [`super::Storage::list`].
    pub fn directories(class: StorageClass) -> Vec<Key> {
        let min_digest = Sha256([0; 32]);
        let other_keys = match class {
            StorageClass::Packages => vec![Key::Readme(min_digest)],
            StorageClass::Persistent => {
                vec![Key::Index(min_digest), Key::Rules(min_digest), Key::Advisories(min_digest)]
            }
            StorageClass::Metrics => vec![Key::Usage(min_digest)],
            StorageClass::Launcher => vec![Key::BuildLog(min_digest)],
            StorageClass::Cache
            | StorageClass::Binaries
            | StorageClass::Cran
            | StorageClass::Bioconductor
            | StorageClass::Pypi => Vec::new(),
        };
        [vec![Key::Package(class, min_digest)], other_keys].concat()
    }

    /// Returns the key of an object in the directory `name`; `None` if no kind of object has this directory.
    pub fn in_directory(name: &str, digest: Sha256) -> Option<Key> {
        let keys = StorageClass::ALL.into_iter().flat_map(Key::directories);
        keys.into_iter().find(|key| key.directory() == name).map(|key| key.with_digest(digest))
    }

    pub fn with_digest(&self, digest: Sha256) -> Key {
        match self {
            Key::Package(class, _) => Key::Package(*class, digest),
            Key::Readme(_) => Key::Readme(digest),
            Key::Index(_) => Key::Index(digest),
            Key::Rules(_) => Key::Rules(digest),
            Key::Advisories(_) => Key::Advisories(digest),
            Key::Usage(_) => Key::Usage(digest),
            Key::BuildLog(_) => Key::BuildLog(digest),
        }
    }
}

/// The area of a class that an object is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    Live,
    /// Removed by the sweep: restored if a row refers to it, deleted after a grace period.
    Trash,
    /// Quarantined, because the bytes do not have the digest: never served.
    Damaged,
}

impl Area {
    /// Returns the directory of the area; none for objects in service.
    pub(super) fn directory(self) -> Option<&'static str> {
        match self {
            Area::Live => None,
            Area::Trash => Some("trash"),
            Area::Damaged => Some("damaged"),
        }
    }

    /// Returns a path in the area, below the class's location: `cran/3f/3fa9…`, `trash/cran/3f/3fa9…`.
    pub fn path(self, path: &str) -> String {
        match self.directory() {
            None => path.to_owned(),
            Some(folder) => format!("{folder}/{path}"),
        }
    }
}

/// The key of the marker of a class: an object with the identity of the database whose rows name the objects there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MarkerKey(pub StorageClass);

impl MarkerKey {
    /// The directory of markers. Classes may share a location, so each has its own file there.
    pub(super) const DIRECTORY: &'static str = "owner";

    /// Returns the path below the class's location: `owner/cran`.
    pub fn path(self) -> String {
        format!("{}/{}", MarkerKey::DIRECTORY, self.0.as_str())
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
    use crate::storage::NodeMarker;
    use std::collections::HashSet;

    #[test]
    fn a_path_is_directory_two_digits_and_digest() {
        let digest = Sha256([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(Key::Package(StorageClass::Cran, digest).path(), format!("cran/ab/{hex}"));
        assert_eq!(Key::Readme(digest).path(), format!("readmes/ab/{hex}"));
        assert_eq!(Key::Index(digest).to_string(), format!("indexes/ab/{hex}"));
    }

    #[test]
    fn each_kind_has_its_own_directory_and_class() {
        let mut directories = HashSet::new();
        for class in StorageClass::ALL {
            for key in Key::directories(class) {
                assert_eq!(key.class(), class);
                assert!(directories.insert(key.directory()), "{key}");
            }
        }
        assert_eq!(directories.len(), 15);
        let other_directories = [
            Some(MarkerKey::DIRECTORY),
            Some(NodeMarker::DIRECTORY),
            Area::Trash.directory(),
            Area::Damaged.directory(),
        ];
        assert!(other_directories.into_iter().flatten().all(|folder| directories.insert(folder)));
    }
}
