//! Backups in a directory: its lock, and access to files that others may have changed. Unfinished ones are in `tmp/`.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tempfile::NamedTempFile;

use super::error::BackupError;

const TEMP_DIRECTORY: &str = "tmp";
/// The lock of programs that use the files: shared, and exclusive for those that remove files.
const LOCK: &str = "lock";
/// The lock of programs that add files.
const WRITER_LOCK: &str = "writer";

#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
    owner: u32,
}

pub struct DirectoryLock(Vec<File>);

impl Directory {
    /// Creates the directory `root` and the directories `names` in it (mode 0700) if missing.
    pub(super) fn create(root: &Path, names: &[&str]) -> Result<(), BackupError> {
        create_directory(root)?;
        names.iter().chain([&TEMP_DIRECTORY]).try_for_each(|name| create_directory(&root.join(name)))
    }

    pub(super) fn open(root: &Path) -> Result<Directory, BackupError> {
        let metadata = root.metadata().map_err(BackupError::io("open", root))?;
        if !metadata.is_dir() {
            return Err(BackupError::Refused(format!("{} is not a directory", root.display())));
        }
        Ok(Directory { root: root.to_owned(), owner: metadata.uid() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock that excludes all other programs, to remove files.
    pub(super) fn lock(&self) -> Result<DirectoryLock, BackupError> {
        let (file, path) = self.open_lock(LOCK)?;
        self.lock_result(file.try_lock(), file, &path)
    }

    /// Takes the lock of a program that adds files; it excludes programs that add or remove files.
    pub(super) fn lock_to_add(&self) -> Result<DirectoryLock, BackupError> {
        let (file, path) = self.open_lock(LOCK)?;
        let mut lock = self.lock_result(file.try_lock_shared(), file, &path)?;
        let (file, path) = self.open_lock(WRITER_LOCK)?;
        lock.0.extend(self.lock_result(file.try_lock(), file, &path)?.0);
        Ok(lock)
    }

    fn open_lock(&self, name: &str) -> Result<(File, PathBuf), BackupError> {
        let path = self.root.join(name);
        let result = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        Ok((result.map_err(BackupError::io("open", &path))?, path))
    }

    /// Takes the lock of readers; it excludes programs that remove files. Has no effect where it is
    /// impossible, as on a read-only file system.
    pub(super) fn lock_shared(&self) -> Result<DirectoryLock, BackupError> {
        let path = self.root.join(LOCK);
        let result = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
        match result {
            Ok(file) => self.lock_result(file.try_lock_shared(), file, &path),
            Err(_) => Ok(DirectoryLock(Vec::new())),
        }
    }

    fn lock_result(
        &self,
        result: Result<(), TryLockError>,
        file: File,
        path: &Path,
    ) -> Result<DirectoryLock, BackupError> {
        match result {
            Ok(()) => Ok(DirectoryLock(vec![file])),
            Err(TryLockError::WouldBlock) => Err(BackupError::InUse(format!(
                "{} is in use: another program makes, reads or prunes backups in it; try again when that is done, or wait \
                 with --lock-timeout=1h",
                self.root.display()
            ))),
            // File systems without locks are accepted.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(DirectoryLock(Vec::new()))
            }
            Err(TryLockError::Error(error)) => Err(BackupError::io("lock", path)(error)),
        }
    }

    /// Removes the files of an interrupted backup.
    pub(super) fn remove_unfinished(&self) -> Result<(), BackupError> {
        let directory = self.root.join(TEMP_DIRECTORY);
        for entry in std::fs::read_dir(&directory).map_err(BackupError::io("list", &directory))? {
            let path = entry.map_err(BackupError::io("list", &directory))?.path();
            // A backup creates no directories here.
            if !path.symlink_metadata().map_err(BackupError::io("read", &path))?.is_dir() {
                std::fs::remove_file(&path).map_err(BackupError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Lists all files below a directory with their sizes. SECURITY: links are not followed, and a directory
    /// that is a link is refused: pruning would remove the files of its target.
    pub(super) fn list(&self, path: &str) -> Result<Vec<(String, u64)>, BackupError> {
        let mut files = Vec::new();
        require_directory(&self.root.join(path))?;
        self.list_into(path, &mut files)?;
        Ok(files)
    }

    fn list_into(&self, path: &str, files: &mut Vec<(String, u64)>) -> Result<(), BackupError> {
        let directory = self.root.join(path);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(BackupError::io("list", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(BackupError::io("list", &directory))?;
            let metadata = entry.path().symlink_metadata().map_err(BackupError::io("read", &entry.path()))?;
            // Backups contain only ASCII names; other files are skipped.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            match metadata.is_dir() {
                true => self.list_into(&format!("{path}/{name}"), files)?,
                false => files.push((format!("{path}/{name}"), metadata.len())),
            }
        }
        Ok(())
    }

    /// Removes files durably; a missing file is not an error.
    pub(super) fn remove(&self, paths: &[String]) -> Result<(), BackupError> {
        for path in paths {
            let path = self.root.join(path);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::io("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if paths.is_empty() { Ok(()) } else { self.sync() }
    }

    pub(super) fn create_unfinished(&self) -> Result<NamedTempFile, BackupError> {
        let directory = self.root.join(TEMP_DIRECTORY);
        NamedTempFile::new_in(&directory).map_err(BackupError::io("create a file in", &directory))
    }

    /// Gives a file its final path, durably. An existing file at that path is replaced only if `replaces` is set.
    pub(super) fn install(
        &self,
        file: NamedTempFile,
        path: &Path,
        replaces: bool,
    ) -> Result<(), BackupError> {
        file.as_file().sync_all().map_err(BackupError::io("write", path))?;
        let result = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
        result.map_err(|error| BackupError::io("create", path)(error.error))?;
        sync_directory(path.parent().unwrap_or(&self.root))
    }

    pub(super) fn sync(&self) -> Result<(), BackupError> {
        let error = BackupError::io("write to disk", &self.root);
        let result = File::open(&self.root).and_then(|root| Ok(nix::unistd::syncfs(&root)?));
        result.map_err(error)
    }

    /// Returns the size of a file. SECURITY: refuses links and files of other users: a link could lead to any
    /// file of the machine, and another user could change a file after it was verified.
    pub(super) fn checked_size(&self, path: &Path) -> Result<Option<u64>, BackupError> {
        let relative =
            path.strip_prefix(&self.root).map_err(|_| BackupError::damaged(path, "is not in the folder"))?;
        let (mut current, mut last_metadata) = (self.root.clone(), None);
        for name in relative.components() {
            if last_metadata.as_ref().is_some_and(|parent: &Metadata| !parent.is_dir()) {
                return Err(BackupError::damaged(&current, "is not a directory"));
            }
            current.push(name);
            let metadata = match current.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                metadata => metadata.map_err(BackupError::io("read", &current))?,
            };
            self.check_owner(&current, &metadata)?;
            last_metadata = Some(metadata);
        }
        match last_metadata {
            Some(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Some(_) | None => Err(BackupError::damaged(path, "is not a regular file")),
        }
    }

    fn check_owner(&self, path: &Path, metadata: &Metadata) -> Result<(), BackupError> {
        if metadata.is_symlink() {
            return Err(BackupError::damaged(path, "is a symbolic link"));
        }
        let uid = metadata.uid();
        if ![self.owner, geteuid().as_raw(), 0].contains(&uid) {
            return Err(BackupError::damaged(
                path,
                format!(
                    "belongs to user {uid}, and the folder to user {}; if the folder was copied from another machine: \
                     chown -R rstudio-pm: {}",
                    self.owner,
                    self.root.display()
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn open_file(&self, path: &Path) -> Result<(File, u64), BackupError> {
        if self.checked_size(path)?.is_none() {
            return Err(BackupError::damaged(path, "is missing"));
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
        let file = file.map_err(BackupError::io("open", path))?;
        let metadata = file.metadata().map_err(BackupError::io("read", path))?;
        self.check_owner(path, &metadata)?;
        if !metadata.is_file() {
            return Err(BackupError::damaged(path, "is not a regular file"));
        }
        Ok((file, metadata.len()))
    }
}

fn create_directory(path: &Path) -> Result<(), BackupError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(path.parent().unwrap_or(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_directory(path),
        Err(error) => Err(BackupError::io("create the directory", path)(error)),
    }
}

/// Refuses a link and any other file that is not a directory. A missing directory is accepted.
fn require_directory(path: &Path) -> Result<(), BackupError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io("read", path)(error)),
        Ok(metadata) if metadata.is_symlink() => Err(BackupError::damaged(
            path,
            "is a symbolic link; a folder of backups has its files on one file system: remove the link, or move the whole \
             folder",
        )),
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(BackupError::damaged(path, "is not a directory")),
    }
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let result = File::open(path).and_then(|directory| directory.sync_all());
    result.map_err(BackupError::io("write to disk", path))
}
