//! Records the directory in which a class was compared with the database. Detects that the path names another directory
//! later, because a file system was mounted or unmounted, or the directory was moved.
//!
//! A directory is identified by its device and inode number. Objects are stored only in the directory whose marker was
//! compared with the database; another directory is compared first.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::StorageError;
use base::model::storage_class::StorageClass;

/// Device and inode number of a directory.
type Id = (u64, u64);

/// The directories of a backend that were compared, by class: several classes may share a directory, each with its own
/// marker.
#[derive(Default)]
pub(super) struct ComparedDirectories(Mutex<BTreeMap<StorageClass, ComparedDirectory>>);

#[derive(Clone, Copy, Default)]
struct ComparedDirectory {
    /// The directory in which the marker was last read; `None` if it did not exist, or was replaced during the read.
    marker_directory: Option<Id>,
    /// The directory in which objects may be stored; before the first comparison `None`, which allows any directory.
    accepted_directory: Option<Id>,
}

impl ComparedDirectories {
    /// Reads the marker of a class with `read`, and records the directory that it is in.
    pub(super) fn record_read<T>(
        &self,
        root: &Path,
        class: StorageClass,
        read: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let old_id = id(root)?;
        let marker = read()?;
        let new_id = id(root)?;
        self.0.lock().entry(class).or_default().marker_directory =
            if old_id == new_id { new_id } else { None };
        Ok(marker)
    }

    /// Accepts the directory in which the marker was last read, after it was compared; returns true if that changes the
    /// accepted directory.
    pub(super) fn accept(&self, class: StorageClass) -> bool {
        let mut directories = self.0.lock();
        let Some(directory) = directories.get_mut(&class) else { return false };
        let old_directory = directory.accepted_directory;
        directory.accepted_directory = directory.marker_directory.or(old_directory);
        directory.accepted_directory != old_directory
    }

    /// Returns true if the path names a different directory than when the marker was last read.
    pub(super) fn is_replaced(&self, root: &Path, class: StorageClass) -> Result<bool, StorageError> {
        let entry = self.0.lock().get(&class).copied();
        entry.map_or(Ok(false), |entry| Ok(id(root)? != entry.marker_directory))
    }

    /// Checks that the path names the accepted directory, with one `stat`.
    ///
    /// # Errors
    /// [`StorageError::Refused`] if it names another directory.
    pub(super) fn check(&self, root: &Path, class: StorageClass) -> Result<(), StorageError> {
        let accepted_directory = self.0.lock().get(&class).and_then(|entry| entry.accepted_directory);
        match accepted_directory {
            Some(_) if id(root)? != accepted_directory => Err(refusal(class)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Returns the error that the class is in a different directory than the accepted one.
pub(super) fn refusal(class: StorageClass) -> StorageError {
    let reason = "is in a different directory than before and has not been compared with the database since; it may not be mounted";
    StorageError::Refused { class: class.as_str(), reason: reason.to_owned() }
}

fn id(root: &Path) -> Result<Option<Id>, StorageError> {
    match root.metadata() {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("find the directory", root, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: StorageClass = StorageClass::Packages;

    #[test]
    fn only_the_directory_that_was_compared_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("mounted"), dir.path().join("away"));
        let directories = ComparedDirectories::default();
        let read = || directories.record_read(&root, CLASS, || Ok(())).unwrap();
        let is_refused = || matches!(directories.check(&root, CLASS), Err(StorageError::Refused { .. }));
        std::fs::create_dir(&root).unwrap();
        assert!(!is_refused() && !directories.is_replaced(&root, CLASS).unwrap(), "nothing was compared");
        read();
        assert!(directories.accept(CLASS) && !directories.accept(CLASS) && !is_refused());

        std::fs::rename(&root, &other).unwrap();
        assert!(is_refused() && directories.is_replaced(&root, CLASS).unwrap(), "no directory");
        std::fs::create_dir(&root).unwrap();
        assert!(is_refused() && directories.is_replaced(&root, CLASS).unwrap());
        read();
        assert!(is_refused() && !directories.is_replaced(&root, CLASS).unwrap(), "read and not accepted");
        assert!(directories.check(&root, StorageClass::Cran).is_ok(), "another class");

        std::fs::rename(&root, dir.path().join("mount-point")).unwrap();
        std::fs::rename(&other, &root).unwrap();
        assert!(!is_refused() && directories.is_replaced(&root, CLASS).unwrap(), "mounted again");
    }

    #[test]
    fn a_directory_that_is_replaced_while_its_marker_is_read_is_not_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mounted");
        std::fs::create_dir(&root).unwrap();
        let directories = ComparedDirectories::default();
        directories.record_read(&root, CLASS, || Ok(())).unwrap();
        directories.accept(CLASS);
        let replace = || {
            std::fs::rename(&root, dir.path().join("away")).unwrap();
            std::fs::create_dir(&root).unwrap();
            Ok(())
        };
        directories.record_read(&root, CLASS, replace).unwrap();
        assert!(!directories.accept(CLASS));
        assert!(directories.check(&root, CLASS).is_err() && directories.is_replaced(&root, CLASS).unwrap());
    }
}
