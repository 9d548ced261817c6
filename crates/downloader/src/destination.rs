//! The destination directory: atomic writes, one writer at a time, and an index of the existing files.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;
use tempfile::{Builder, NamedTempFile};

use super::error::OfflineError;
use super::workers;
use base::model::time::Timestamp;
use formats::bundle::{layout, note, self_digest};
use formats::tlog::note::Signer;

/// Prefix of the names of temporary files.
pub(super) const TEMP_PREFIX: &str = ".tmp-";
/// File name of a lock.
pub(super) const LOCK: &str = ".lock";

/// A directory with a bundle, or for a new one.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    root: PathBuf,
    /// The key that signs heads, if the bundle is signed.
    signer: Option<Arc<Signer>>,
}

/// The lock of one writer; released when it is dropped or the writer exits.
pub(super) struct Lock {
    /// `None` on a file system without locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the result of locking `file`, the file of the lock of `dir` or that directory. Fails if another writer holds the
    /// lock.
    fn new(file: File, result: Result<(), TryLockError>, dir: &Path) -> Result<Lock, OfflineError> {
        match result {
            Ok(()) => Ok(Lock { file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(OfflineError::Refused(format!(
                "another rspm-offline-downloader writes to {}; wait until it is done, or choose another directory",
                dir.display()
            ))),
            // Some network file systems and USB sticks do not support locks.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(Lock { file: None }),
            Err(TryLockError::Error(e)) => Err(OfflineError::destination("lock", dir, e)),
        }
    }

    /// Returns whether there is no other writer; on a file system without locks that is unknown.
    pub(super) fn is_held(&self) -> bool {
        self.file.is_some()
    }
}

impl Destination {
    /// Opens the directory, which is created if missing.
    pub(super) fn create(root: &Path) -> Result<Destination, OfflineError> {
        fs::create_dir_all(root).map_err(|e| OfflineError::destination("create the directory", root, e))?;
        Destination::open(root)
    }

    /// Opens the directory for reading only; the directory may be missing.
    pub(super) fn open_read_only(root: &Path) -> Result<Destination, OfflineError> {
        let absolute_path = std::path::absolute(root)
            .map_err(|e| OfflineError::destination("find the directory", root, e))?;
        Ok(Destination { signer: None, root: absolute_path.canonicalize().unwrap_or(absolute_path) })
    }

    /// Opens the directory, which must exist.
    pub(super) fn open(root: &Path) -> Result<Destination, OfflineError> {
        // The path is absolute, so that it can be converted to a URL.
        let root =
            root.canonicalize().map_err(|e| OfflineError::destination("find the directory", root, e))?;
        if root.is_dir() {
            return Ok(Destination { root, signer: None });
        }
        Err(OfflineError::Refused(format!("{} is not a directory", root.display())))
    }

    /// Returns the same directory for a writer that signs heads.
    pub(super) fn signed_by(self, signer: Signer) -> Destination {
        Destination { signer: Some(Arc::new(signer)), ..self }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns the `file:` URL of the directory.
    pub(super) fn url(&self) -> Result<String, OfflineError> {
        let url = url::Url::from_file_path(&self.root);
        let error = || OfflineError::Refused(format!("{} cannot be written as a URL", self.root.display()));
        url.map(String::from).map_err(|()| error())
    }

    /// Locks a folder for this process and removes the temporary files in the folder. If another writer holds the lock,
    /// the call waits if `wait` is true and otherwise fails.
    pub(super) fn lock(&self, folder: &str, wait: bool) -> Result<Lock, OfflineError> {
        let dir = self.folder(folder)?;
        let path = dir.join(LOCK);
        let to_error = |e| OfflineError::destination("lock", &path, e);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(to_error)?;
        let result = if wait { file.lock().map_err(TryLockError::Error) } else { file.try_lock() };
        let lock = Lock::new(file, result, &dir)?;
        if lock.is_held() {
            self.remove_temp_files(folder)?;
        }
        Ok(lock)
    }

    /// Locks the directory itself for this process: a web server would serve the file of another lock.
    pub(super) fn lock_itself(&self) -> Result<Lock, OfflineError> {
        let to_error = |e| OfflineError::destination("lock", &self.root, e);
        let directory = File::open(&self.root).map_err(to_error)?;
        let result = directory.try_lock();
        Lock::new(directory, result, &self.root)
    }

    /// Removes temporary files of killed writers from a folder; the caller holds the lock.
    pub(super) fn remove_temp_files(&self, folder: &str) -> Result<(), OfflineError> {
        let dir = self.path(folder);
        for name in names(&dir)?.iter().filter(|name| name.starts_with(TEMP_PREFIX)) {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(|e| OfflineError::destination("remove", &path, e))?;
        }
        Ok(())
    }

    /// Returns a folder, which is created if missing.
    pub(super) fn folder(&self, relative: &str) -> Result<PathBuf, OfflineError> {
        let path = self.path(relative);
        fs::create_dir_all(&path).map_err(|e| OfflineError::destination("create the directory", &path, e))?;
        Ok(path)
    }

    /// Creates a temporary file in an existing folder; the file is removed if it is dropped before [`persist`].
    pub(super) fn temp_file(dir: &Path) -> io::Result<NamedTempFile> {
        let permissions = fs::Permissions::from_mode(0o644);
        Builder::new().prefix(TEMP_PREFIX).permissions(permissions).tempfile_in(dir)
    }

    /// Writes a file atomically and durably.
    pub(super) fn put(&self, relative: &str, bytes: &[u8]) -> Result<(), OfflineError> {
        let path = self.path(relative);
        let to_error = |e| OfflineError::destination("write", &path, e);
        let dir = self.folder(folder_of(relative))?;
        let mut file = Destination::temp_file(&dir).map_err(to_error)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(to_error)?;
        persist(file, &path).map_err(to_error)?;
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(to_error)
    }

    /// As [`Destination::put`], unless the file already has these bytes.
    pub(super) fn put_if_changed(&self, relative: &str, bytes: &[u8]) -> Result<(), OfflineError> {
        match fs::read(self.path(relative)) {
            Ok(current_bytes) if current_bytes == bytes => Ok(()),
            _ => self.put(relative, bytes),
        }
    }

    /// Writes the note that signs a file which ends with its own digest, if the bundle is signed. Call it before the file is
    /// written: a reader may require the note.
    pub(super) fn put_note(&self, relative: &str, bytes: &[u8]) -> Result<(), OfflineError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let refusal = |e| OfflineError::Refused(format!("{}: {e}", self.path(relative).display()));
        let note = note::sign(bytes, signer).map_err(refusal)?;
        self.put_if_changed(&layout::note_path(relative, self_digest::digest(bytes)), note.as_bytes())
    }

    /// Returns whether a file has the note that [`Destination::put_note`] would write.
    pub(super) fn has_note(&self, relative: &str, bytes: &[u8]) -> bool {
        let path = self.path(&layout::note_path(relative, self_digest::digest(bytes)));
        self.signer.as_ref().is_none_or(|signer| {
            let note = note::sign(bytes, signer);
            note.is_ok_and(|note| fs::read(path).is_ok_and(|current_note| current_note == note.as_bytes()))
        })
    }

    /// Syncs all written files to disk, before a head names them.
    pub(super) fn sync(&self) -> Result<(), OfflineError> {
        let to_error = |e| OfflineError::destination("write", &self.root, e);
        let dir = File::open(&self.root).map_err(to_error)?;
        nix::unistd::syncfs(&dir).map_err(|e| to_error(e.into()))
    }

    /// Returns the files in the two-character folders below `objects` by name, with their sizes in bytes. Removes
    /// temporary files of killed writers; the caller holds the lock.
    pub(super) fn objects(&self, objects: &str) -> Result<HashMap<String, u64>, OfflineError> {
        let root = self.path(objects);
        let folders: Vec<PathBuf> =
            names(&root)?.iter().filter(|name| name.len() == 2).map(|name| root.join(name)).collect();
        let mut sizes = HashMap::new();
        for folder_sizes in workers::parallel_map(&folders, |folder| file_sizes(folder)) {
            sizes.extend(folder_sizes?);
        }
        Ok(sizes)
    }

    /// Checks that there is free space for files to be fetched; `note` is the end of the message. Fails if the files
    /// are larger than the free space, if it is known.
    pub(super) fn require_space(&self, size: u64, note: &str) -> Result<(), OfflineError> {
        let Ok(stat) = nix::sys::statvfs::statvfs(&self.root) else { return Ok(()) };
        #[allow(clippy::useless_conversion, reason = "the width differs between systems")]
        let free_space = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
        if free_space >= size {
            return Ok(());
        }
        Err(OfflineError::Refused(format!(
            "{} has {} of free space, but {} must be fetched: free space there or choose another directory{note}",
            self.root.display(),
            HumanBytes(free_space),
            HumanBytes(size)
        )))
    }

    pub(super) fn read(&self, relative: &str) -> Result<Vec<u8>, OfflineError> {
        let path = self.path(relative);
        fs::read(&path).map_err(|e| OfflineError::destination("read", &path, e))
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, relative: &str) -> Result<(), OfflineError> {
        let path = self.path(relative);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(OfflineError::destination("remove", &path, e))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the parent folder of a path.
pub(super) fn folder_of(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Returns the regular files in a folder, with their sizes.
fn file_sizes(dir: &Path) -> Result<Vec<(String, u64)>, OfflineError> {
    let mut files = Vec::new();
    for entry in entries(dir)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(TEMP_PREFIX) {
            // If the file cannot be removed, the next run tries again.
            let _ = fs::remove_file(entry.path());
        } else if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((name, metadata.len()));
        }
    }
    Ok(files)
}

/// Returns the names in a folder, sorted; none if the folder is missing.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, OfflineError> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries(dir)?.into_iter().map(name).collect();
    names.sort_unstable();
    Ok(names)
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, OfflineError> {
    let to_error = |e| OfflineError::destination("list", dir, e);
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(to_error),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(e) => Err(to_error(e)),
    }
}

/// Renames a temporary file to its final path.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|e| e.error).map(drop)
}

/// Sets the modification time of a file to the time of its publication; a failure is harmless.
pub(super) fn set_published_time(file: &File, published: Option<Timestamp>) {
    let seconds = published.and_then(|time| u64::try_from(time.seconds()).ok());
    if let Some(time) =
        seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
    {
        let _ = file.set_modified(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_atomically_and_is_world_readable() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(&dir.path().join("a b/ü")).unwrap();
        destination.put("v3/1/head.json", b"one").unwrap();
        destination.put("v3/1/head.json", b"two").unwrap();
        let path = destination.path("v3/1/head.json");
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(names(&destination.path("v3/1")).unwrap(), ["head.json"]);
        assert!(destination.url().unwrap().ends_with("/a%20b/%C3%BC"));
    }

    #[test]
    fn a_folder_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let lock = destination.lock("v3", false).unwrap();
        let message = destination.lock("v3", false).err().map(|e| e.to_string()).unwrap();
        assert!(message.contains("another rspm-offline-downloader"), "{message}");
        let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let error = OfflineError::destination("write", dir.path(), read_only).to_string();
        for text in [message, error] {
            assert!(text.ends_with("or choose another directory"), "{text}");
        }
        assert!(destination.lock("bioc/v4", false).is_ok());
        drop(lock);
        assert!(destination.lock("v3", false).is_ok());

        let lock = destination.lock_itself().unwrap();
        assert!(lock.is_held() && destination.lock_itself().is_err());
        drop(lock);
        assert!(destination.lock_itself().is_ok());
    }

    #[test]
    fn temp_files_of_killed_writers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let folder = destination.folder("obj/ab").unwrap();
        fs::write(folder.join("abcd.tar.gz"), "1234").unwrap();
        fs::write(folder.join(".tmp-dead"), "12").unwrap();
        assert_eq!(destination.objects("obj").unwrap(), HashMap::from([("abcd.tar.gz".to_owned(), 4)]));
        assert_eq!(names(&folder).unwrap(), ["abcd.tar.gz"]);
    }
}
