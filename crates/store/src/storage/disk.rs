//! Objects in a directory, written so that after a power failure an object is either complete or absent.
//!
//! Objects are stored only in the directory, identified by its device and inode number, whose marker was compared with the
//! database; another directory, after a file system was mounted or unmounted or the directory was moved, is compared first.

use super::{
    Area, BackendObject, Content, IfExists, Key, ListedObject, MarkerKey, OpenObject, Spool, StorageError,
    chunks, clamp_range, memory_cache, spool,
};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Subdirectory of unfinished files: on the same file system, so that a rename finishes them.
pub(super) const SPOOL_DIRECTORY: &str = ".spool";

/// A directory of objects. All functions block.
pub(super) struct Disk {
    root: PathBuf,
    spool_directory: PathBuf,
    /// Directories, relative to `root`, whose entries in their parents are known to be durable.
    durable_directories: Mutex<HashSet<PathBuf>>,
    compared_directories: ComparedDirectories,
}

impl Disk {
    /// Creates the directory (0700) with its missing parents, and its directory of spools.
    pub(super) fn open(root: &Path) -> Result<Disk, StorageError> {
        let missing_directories: Vec<&Path> = root.ancestors().take_while(|path| !path.is_dir()).collect();
        if !missing_directories.is_empty() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root)
                .map_err(|e| StorageError::io("create the directory", root, e))?;
            missing_directories
                .iter()
                .filter_map(|directory| directory.parent())
                .try_for_each(sync_directory)?;
        }
        let disk = Disk::new(root);
        spool::prepare(&disk.spool_directory)?;
        Ok(disk)
    }

    /// Creates the handle; creates no directory.
    pub(super) fn new(root: &Path) -> Disk {
        Disk {
            root: root.to_owned(),
            spool_directory: root.join(SPOOL_DIRECTORY),
            durable_directories: Mutex::default(),
            compared_directories: ComparedDirectories::default(),
        }
    }

    /// Opens a spool in the directory that was compared with the database. [`Disk::commit`] checks it again before the
    /// rename: an object could be stored elsewhere only if the directory were replaced twice in between.
    pub(super) fn spool(&self, class: StorageClass) -> Result<Spool, StorageError> {
        self.compared_directories.check(&self.root, class)?;
        let spool = self.unchecked_spool(class)?;
        self.compared_directories.check(&self.root, class)?;
        Ok(spool)
    }

    fn unchecked_spool(&self, class: StorageClass) -> Result<Spool, StorageError> {
        match Spool::create(&self.spool_directory, class) {
            // The directory was emptied while the server was running.
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                spool::prepare(&self.spool_directory)?;
                Spool::create(&self.spool_directory, class)
            }
            other => other,
        }
    }

    pub(super) fn remove_abandoned_spools(&self) -> Result<usize, StorageError> {
        spool::remove_abandoned(&self.spool_directory)
    }

    /// Turns a spool into an object: fsync, rename, fsync of the directory. With [`IfExists::Keep`], an existing file
    /// of the same size is not replaced; one of a different size cannot have this digest, so it is replaced.
    pub(super) fn commit(&self, spool: Spool, key: &Key, if_exists: IfExists) -> Result<(), StorageError> {
        self.compared_directories.check(&self.root, key.class())?;
        let accepted_size = (if_exists == IfExists::Keep).then(|| spool.size());
        let file = spool.into_file();
        file.as_file().sync_all().map_err(|e| StorageError::io("write", file.path(), e))?;
        match self.install(file, accepted_size, key)? {
            None => Ok(()),
            // The directory was removed while the server was running: create it again, once.
            Some(file) => {
                self.compared_directories.check(&self.root, key.class())?;
                self.durable_directories.lock().clear();
                match self.install(file, accepted_size, key)? {
                    None => Ok(()),
                    Some(_) => Err(StorageError::Other(format!(
                        "the directory of {key} was removed twice during one write"
                    ))),
                }
            }
        }
    }

    /// Renames a synced file, unless one of size `accepted_size` exists; returns the file without a directory.
    fn install(
        &self,
        file: NamedTempFile,
        accepted_size: Option<u64>,
        key: &Key,
    ) -> Result<Option<NamedTempFile>, StorageError> {
        let path = self.root.join(key.path());
        let directory = self.object_directory(Area::Live, key)?;
        // The directory is synced even if the file exists: its writer may not have synced the directory yet.
        if !accepted_size.is_some_and(|length| path.metadata().is_ok_and(|metadata| metadata.len() == length))
        {
            match file.persist(&path) {
                Ok(_) => {}
                Err(e) if e.error.kind() == io::ErrorKind::NotFound => return Ok(Some(e.file)),
                Err(e) => return Err(StorageError::io("create", &path, e.error)),
            }
        }
        sync_directory(&directory).map(|()| None)
    }

    pub(super) fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        let mut spool = self.spool(key.class())?;
        spool.write_all(bytes).map_err(|e| StorageError::io("write", spool.path(), e))?;
        self.commit(spool, key, IfExists::Keep)
    }

    /// Opens an object, whole up to [`memory_cache::MAX_OBJECT_SIZE`] for any range, unless many are in memory.
    pub(super) fn get(&self, key: &Key, range: Option<&Range<u64>>) -> Result<BackendObject, StorageError> {
        let (file, path) = self.open_object(key)?;
        let size = file.metadata().map_err(|e| StorageError::io("read", &path, e))?.len();
        if size <= memory_cache::MAX_OBJECT_SIZE
            && let Some(reservation) = chunks::reserve_memory(size)
        {
            return Ok(BackendObject::Whole(chunks::read_to_memory(&file, &path, &(0..size), reservation)?));
        }
        let range = clamp_range(range, size, key)?;
        Ok(BackendObject::Part(OpenObject { size, content: chunks::content(file, &path, range)? }))
    }

    /// Opens an object of an area as a stream.
    pub(super) fn content_in(&self, area: Area, key: &Key) -> Result<Content, StorageError> {
        let (file, path) = self.open_in(area, key)?;
        let size = file.metadata().map_err(|e| StorageError::io("read", &path, e))?.len();
        chunks::content(file, &path, 0..size)
    }

    pub(super) fn open_object(&self, key: &Key) -> Result<(File, PathBuf), StorageError> {
        self.open_in(Area::Live, key)
    }

    fn open_in(&self, area: Area, key: &Key) -> Result<(File, PathBuf), StorageError> {
        let path = self.path(area, key);
        match File::open(&path) {
            Ok(file) => Ok((file, path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StorageError::NotFound(key.to_string())),
            Err(e) => Err(StorageError::io("read", &path, e)),
        }
    }

    pub(super) fn size(&self, key: &Key) -> Result<Option<u64>, StorageError> {
        let path = self.root.join(key.path());
        match path.metadata() {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StorageError::io("read", &path, e)),
        }
    }

    /// Deletes an object. Not synced: after a power cut the object may reappear, which does no harm.
    pub(super) fn delete(&self, area: Area, key: &Key) -> Result<(), StorageError> {
        remove_file(&self.path(area, key))
    }

    /// Moves an object to another area and sets its time to now; returns false if it does not exist. Not
    /// synced: after a power cut the object is in one of the two areas.
    pub(super) fn move_to(&self, key: &Key, to: Area) -> Result<bool, StorageError> {
        let (from, target) = (self.path(Area::Live, key), self.path(to, key));
        // The time is set first: with its old time, the grace period of the object could be over immediately.
        match File::open(&from).and_then(|file| file.set_modified(SystemTime::now())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StorageError::io("set the time of", &from, e)),
            Ok(()) => {}
        }
        self.object_directory(to, key)?;
        match std::fs::rename(&from, &target) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(false),
            Err(e) => Err(StorageError::io("move aside", &from, e)),
        }
    }

    /// Moves an object from another area back into service, durably; returns false if the area does not have
    /// it, or if an object with this key is in service.
    pub(super) fn restore(&self, key: &Key, from: Area) -> Result<bool, StorageError> {
        let (source, target) = (self.path(from, key), self.path(Area::Live, key));
        if target.exists() || !source.exists() {
            return Ok(false);
        }
        let directory = self.object_directory(Area::Live, key)?;
        match std::fs::rename(&source, &target) {
            Ok(()) => sync_directory(&directory).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StorageError::io("restore", &source, e)),
        }
    }

    pub(super) fn accept(&self, class: StorageClass) {
        if self.compared_directories.accept(class) {
            self.durable_directories.lock().clear();
        }
    }

    /// Returns whether the path names a different directory than when the marker of a class was last read.
    pub(super) fn is_replaced(&self, class: StorageClass) -> Result<bool, StorageError> {
        self.compared_directories.is_replaced(&self.root, class)
    }

    /// Returns whether a missing class should be compared again: its directory was replaced, or has a marker now.
    pub(super) fn needs_comparison(&self, class: StorageClass) -> Result<bool, StorageError> {
        Ok(self.is_replaced(class)? || self.root.join(MarkerKey(class).path()).exists())
    }

    /// Returns the directory, for messages.
    pub(super) fn location_name(&self) -> String {
        self.root.display().to_string()
    }

    /// Returns the bytes of a class's marker; `None` if there is none.
    pub(super) fn read_marker(&self, key: MarkerKey) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.root.join(key.path());
        self.compared_directories.record_read(&self.root, key.0, || match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StorageError::io("read", &path, e)),
        })
    }

    /// Writes a class's marker, durably, into the directory in which it was last read. Unless `replaces` is
    /// set, an existing marker is not replaced.
    pub(super) fn write_marker(
        &self,
        key: MarkerKey,
        bytes: &[u8],
        replaces: bool,
    ) -> Result<(), StorageError> {
        let (folder, path) = (self.root.join(MarkerKey::DIRECTORY), self.root.join(key.path()));
        if self.is_replaced(key.0)? {
            return Err(refusal(key.0));
        }
        create_directory(&folder)?;
        sync_directory(&self.root)?;
        let mut spool = self.unchecked_spool(key.0)?;
        spool.write_all(bytes).map_err(|e| StorageError::io("write", spool.path(), e))?;
        let file = spool.into_file();
        file.as_file().sync_all().map_err(|e| StorageError::io("write", file.path(), e))?;
        let result = if replaces { file.persist(&path) } else { file.persist_noclobber(&path) };
        match result {
            Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StorageError::io("create", &path, e.error));
            }
            Ok(_) | Err(_) => {}
        }
        sync_directory(&folder)
    }

    /// Writes an empty file at a path below the location. It need not survive a crash of the machine.
    pub(super) fn write_empty(&self, path: &str) -> Result<(), StorageError> {
        let path = self.root.join(path);
        let result = path
            .parent()
            .map_or(Ok(()), |folder| DirBuilder::new().mode(0o700).recursive(true).create(folder));
        result.and_then(|()| std::fs::write(&path, [])).map_err(|e| StorageError::io("write", &path, e))
    }

    /// Returns whether there is a file at a path below the location.
    pub(super) fn has(&self, path: &str) -> Result<bool, StorageError> {
        let path = self.root.join(path);
        path.try_exists().map_err(|e| StorageError::io("look up", &path, e))
    }

    /// Deletes a file at a path below the location; a missing one is not an error.
    pub(super) fn delete_path(&self, path: &str) -> Result<(), StorageError> {
        remove_file(&self.root.join(path))
    }

    fn path(&self, area: Area, key: &Key) -> PathBuf {
        self.root.join(area.path(&key.path()))
    }

    /// Returns at most `limit` objects of an area that are in the directory of `from`, in the order of their keys:
    /// those after `from`, or if `inclusive`, from it on.
    pub(super) fn list(
        &self,
        area: Area,
        from: &Key,
        inclusive: bool,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        let mut objects = Vec::new();
        let parent = self.root.join(area.path(from.directory()));
        let first_byte = from.digest().0[0];
        for &byte in fanout_bytes(&parent)?.range(first_byte..) {
            let directory = parent.join(format!("{byte:02x}"));
            let to_error = |e| StorageError::io("list", &directory, e);
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(to_error(e)),
            };
            let names = entries.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>();
            let digests =
                names.map_err(to_error)?.into_iter().filter_map(|n| n.to_str()?.parse::<Sha256>().ok());
            let mut keys: Vec<Key> = digests
                .map(|digest| from.with_digest(digest))
                .filter(|key| key.digest().0[0] == byte && (key > from || inclusive && key == from))
                .collect();
            keys.sort_unstable();
            for key in keys {
                let path = self.path(area, &key);
                match path.metadata().and_then(|m| Ok((m.len(), m.modified()?))) {
                    Ok((size, modified)) => objects.push(ListedObject { key, size, modified }),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(StorageError::io("read", &path, e)),
                }
                if objects.len() == limit {
                    return Ok(objects);
                }
            }
        }
        Ok(objects)
    }

    /// Returns the directory of an object, created (0700) and durable, without a system call if it was used before.
    fn object_directory(&self, area: Area, key: &Key) -> Result<PathBuf, StorageError> {
        match self.create_object_directory(area, key) {
            // A parent directory was removed while the server was running.
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.durable_directories.lock().clear();
                self.create_object_directory(area, key)
            }
            other => other,
        }
    }

    fn create_object_directory(&self, area: Area, key: &Key) -> Result<PathBuf, StorageError> {
        let kind_directory = PathBuf::from(area.path(key.directory()));
        let fanout_directory = kind_directory.join(format!("{:02x}", key.digest().0[0]));
        let directory = self.root.join(&fanout_directory);
        // Locked during the fsyncs: two writers of a new directory must both wait until it is durable.
        let mut durable_directories = self.durable_directories.lock();
        if durable_directories.contains(&fanout_directory) {
            return Ok(directory);
        }
        let parent = self.root.join(&kind_directory);
        if !durable_directories.contains(&kind_directory) {
            if let Some(folder) = area.directory() {
                create_directory(&self.root.join(folder))?;
                sync_directory(&self.root)?;
            }
            create_directory(&parent)?;
            sync_directory(parent.parent().unwrap_or(&self.root))?;
            // An earlier process may have created directories here and ended before its fsync: one covers them all.
            let to_error = |e| StorageError::io("list", &parent, e);
            let entries = std::fs::read_dir(&parent).map_err(to_error)?.collect::<io::Result<Vec<_>>>();
            sync_directory(&parent)?;
            durable_directories.extend(
                entries.map_err(to_error)?.into_iter().map(|entry| kind_directory.join(entry.file_name())),
            );
            durable_directories.insert(kind_directory);
        }
        if !durable_directories.contains(&fanout_directory) {
            create_directory(&directory)?;
            sync_directory(&parent)?;
            durable_directories.insert(fanout_directory);
        }
        Ok(directory)
    }
}

/// Returns the first bytes of the digests for which a directory of objects has a directory; none if it does not exist.
fn fanout_bytes(directory: &Path) -> Result<BTreeSet<u8>, StorageError> {
    let to_error = |e| StorageError::io("list", directory, e);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(e) => return Err(to_error(e)),
    };
    let mut bytes = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(to_error)?.file_name();
        bytes.extend(
            name.to_str().filter(|name| name.len() == 2).and_then(|name| u8::from_str_radix(name, 16).ok()),
        );
    }
    Ok(bytes)
}

/// Removes a file; a missing one is not an error.
fn remove_file(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn create_directory(directory: &Path) -> Result<(), StorageError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(StorageError::io("create the directory", directory, e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes the entries of a directory durable.
fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    let result = File::open(directory).and_then(|d| d.sync_all());
    result.map_err(|e| StorageError::io("sync the directory", directory, e))
}

/// Device and inode number of a directory.
type Id = (u64, u64);

/// The compared directories of a backend: classes may share one, each with its own marker.
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

    /// Accepts the directory in which the marker was last read; returns true if that changes the accepted one.
    pub(super) fn accept(&self, class: StorageClass) -> bool {
        let mut directories = self.0.lock();
        let Some(directory) = directories.get_mut(&class) else { return false };
        let old_directory = directory.accepted_directory;
        directory.accepted_directory = directory.marker_directory.or(old_directory);
        directory.accepted_directory != old_directory
    }

    /// Returns whether the path names a different directory than when the marker was last read.
    pub(super) fn is_replaced(&self, root: &Path, class: StorageClass) -> Result<bool, StorageError> {
        let entry = self.0.lock().get(&class).copied();
        entry.map_or(Ok(false), |entry| Ok(id(root)? != entry.marker_directory))
    }

    /// Checks, with one `stat`, that the path names the accepted directory; [`StorageError::Refused`] if not.
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
