//! Spools: files being written that are not objects yet, and the removal of abandoned ones.

use super::{Key, StorageError};
use base::model::kind::StorageClass;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::NamedTempFile;

/// Name prefix of this process's spools. Locks do not identify them on NFS, where two of one process do not conflict.
static PREFIX: LazyLock<String> = LazyLock::new(|| format!("spool-{:016x}-", rand::random::<u64>()));

/// Returns the number of bytes available on the file system of a file, if known. Blocking.
pub(super) fn available_bytes(file: &File) -> Option<u64> {
    let stat = nix::sys::statvfs::fstatvfs(file).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

/// A file being written that is not an object yet: in the class's own directory (disk) or in a local directory
/// (S3). It is removed if dropped without [`super::Storage::commit`].
#[derive(Debug)]
pub struct Spool {
    file: NamedTempFile,
    size: u64,
    class: StorageClass,
}

impl Spool {
    /// Returns the path of the file, for concurrent readers.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Appends bytes. Blocking: call it outside of the async threads, or with few bytes. [`StorageError::io`]
    /// classifies the error (a full disk).
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_file_mut().write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// See [`available_bytes`].
    pub fn available_bytes(&self) -> Option<u64> {
        available_bytes(self.file.as_file())
    }

    /// Returns the class for which the spool was opened; it can only become an object of this class.
    pub fn class(&self) -> StorageClass {
        self.class
    }

    pub(super) fn check_class(&self, key: &Key) -> Result<(), StorageError> {
        if self.class == key.class() {
            return Ok(());
        }
        let spool_class = self.class.as_str();
        Err(StorageError::Other(format!("{key} cannot be committed from a spool of class '{spool_class}'")))
    }

    /// Creates an empty file of mode 0600, locked so that no other process deletes it as abandoned.
    pub(super) fn create(dir: &Path, class: StorageClass) -> Result<Spool, StorageError> {
        let to_error = |e| StorageError::io("create a file in", dir, e);
        loop {
            let file = tempfile::Builder::new()
                .prefix(PREFIX.as_str())
                .permissions(std::fs::Permissions::from_mode(0o600))
                .tempfile_in(dir)
                .map_err(to_error)?;
            // File systems without locks are accepted: `remove_abandoned` then checks the age of the file.
            let is_locked_by_sweep = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            // `remove_abandoned` in another process may also have deleted the file between creation and lock.
            if !is_locked_by_sweep && file.as_file().metadata().map_err(to_error)?.nlink() > 0 {
                return Ok(Spool { file, size: 0, class });
            }
        }
    }

    pub(super) fn into_file(self) -> NamedTempFile {
        self.file
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }
}

/// Creates the directory of spools, mode 0700, in an existing parent. In `/tmp` another user may have created it first.
pub(super) fn prepare(dir: &Path) -> Result<(), StorageError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StorageError::io("create the directory", dir, e));
        }
        Ok(()) | Err(_) => {}
    }
    // SECURITY: a link or a directory of another user would let that user read or replace stored objects.
    let metadata = dir.symlink_metadata().map_err(|e| StorageError::io("check", dir, e))?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        let cause =
            io::Error::new(io::ErrorKind::PermissionDenied, "it is not a directory of this user; remove it");
        return Err(StorageError::io("write unfinished files to", dir, cause));
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| StorageError::io("set mode 0700 of", dir, e))?;
    }
    Ok(())
}

/// Deletes the spools in `dir` whose writer has ended; returns their number.
pub(super) fn remove_abandoned(dir: &Path) -> Result<usize, StorageError> {
    let to_error = |e| StorageError::io("list", dir, e);
    let mut removed_count = 0;
    for entry in std::fs::read_dir(dir).map_err(to_error)? {
        let entry = entry.map_err(to_error)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("spool-")
            && !name.starts_with(PREFIX.as_str())
            && let Some(_lock) = lock_abandoned(&entry.path())
        {
            removed_count += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(removed_count)
}

/// Returns the locked file if its writer has ended. While it is locked, a process that has created the file and not yet
/// locked it creates another.
fn lock_abandoned(path: &Path) -> Option<File> {
    const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let file = File::open(path).ok()?;
    let is_abandoned = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            let modified = file.metadata().and_then(|m| m.modified()).ok();
            modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > MAX_AGE)
        }
    };
    is_abandoned.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_private_and_is_deleted_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path(), StorageClass::Cran).unwrap();
        spool.write_all(b"half").unwrap();
        assert_eq!(spool.path().metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!((spool.size(), std::fs::read(spool.path()).unwrap()), (4, b"half".to_vec()));
        let path = spool.path().to_owned();
        drop(spool);
        assert!(!path.exists());
    }

    #[test]
    fn a_sweep_deletes_only_abandoned_spools() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(dir.path(), StorageClass::Cran).unwrap();
        std::fs::write(dir.path().join("spool-0000000000000000-dead"), "half").unwrap();
        let other_spool = dir.path().join("spool-1111111111111111-live");
        std::fs::write(&other_spool, "half").unwrap();
        let spool_lock = File::open(&other_spool).unwrap();
        spool_lock.lock().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
        assert_eq!(remove_abandoned(dir.path()).unwrap(), 1);
        assert!(spool.path().exists() && other_spool.exists() && dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_symbolic_link_as_the_directory_of_spools_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(prepare(&link).unwrap_err().to_string().contains("not a directory of this user"));
    }
}
