//! The folder of backups: its layout, its lock, and access to files that others may have changed.
//!
//! `manifests/<time>.json` is a backup, `db/<digest>.dump` its rows, `db/<digest>.objects` the list of its files, and
//! `blobs/<two digits>/<two digits>/<digest>` a file. `tmp/` has files that are being written.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use sha2::Digest;
use tempfile::NamedTempFile;

use super::error::BackupError;
use super::part::Part;
use crate::model::digest::Sha256;

const MANIFESTS: &str = "manifests";
const DATABASES: &str = "db";
const BLOBS: &str = "blobs";
const UNFINISHED: &str = "tmp";
const LOCK: &str = "lock";
/// Largest manifest that is read, in bytes.
const MAX_MANIFEST_SIZE: u64 = 16 << 20;

/// A folder of backups.
pub struct Folder {
    root: PathBuf,
    /// The owner of the folder.
    owner: u32,
}

/// The right to use a folder until it is dropped.
pub struct FolderLock(#[allow(dead_code, reason = "held, not read")] Option<File>);

impl Folder {
    /// Opens a folder to write backups, creating it and its directories (mode 0700) if missing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(root: &Path) -> Result<(Folder, FolderLock), BackupError> {
        if !root.is_absolute() {
            return Err(BackupError::Refused(format!("{} is not an absolute path", root.display())));
        }
        create_directory(root)?;
        let folder = Folder::open(root)?;
        for name in [MANIFESTS, DATABASES, BLOBS, UNFINISHED] {
            create_directory(&root.join(name))?;
        }
        let lock = folder.lock()?;
        folder.remove_unfinished()?;
        Ok((folder, lock))
    }

    /// Opens a folder with backups.
    ///
    /// # Errors
    /// It is no directory.
    pub fn open(root: &Path) -> Result<Folder, BackupError> {
        let metadata = root.metadata().map_err(BackupError::io("open", root))?;
        if !metadata.is_dir() {
            return Err(BackupError::Refused(format!("{} is not a directory", root.display())));
        }
        Ok(Folder { root: root.to_owned(), owner: metadata.uid() })
    }

    /// The path of the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the lock that excludes all other programs, to write or remove files.
    ///
    /// # Errors
    /// Another program has a lock.
    pub fn lock(&self) -> Result<FolderLock, BackupError> {
        let path = self.root.join(LOCK);
        let result = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        let file = result.map_err(BackupError::io("open", &path))?;
        self.lock_result(file.try_lock(), file, &path)
    }

    /// Takes the lock that readers share; it excludes programs that write or remove files. Has no effect on a folder that
    /// cannot be locked, such as one on a read-only file system.
    ///
    /// # Errors
    /// Another program writes or removes files.
    pub fn lock_shared(&self) -> Result<FolderLock, BackupError> {
        let path = self.root.join(LOCK);
        let result = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
        match result {
            Ok(file) => self.lock_result(file.try_lock_shared(), file, &path),
            Err(_) => Ok(FolderLock(None)),
        }
    }

    fn lock_result(
        &self,
        result: Result<(), TryLockError>,
        file: File,
        path: &Path,
    ) -> Result<FolderLock, BackupError> {
        match result {
            Ok(()) => Ok(FolderLock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(BackupError::Refused(format!(
                "{} is in use: a backup is made, restored or pruned at this moment; try again when that is done",
                self.root.display()
            ))),
            // File systems without locks are accepted.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(FolderLock(None))
            }
            Err(TryLockError::Error(error)) => Err(BackupError::io("lock", path)(error)),
        }
    }

    fn remove_unfinished(&self) -> Result<(), BackupError> {
        let directory = self.root.join(UNFINISHED);
        for entry in std::fs::read_dir(&directory).map_err(BackupError::io("list", &directory))? {
            let path = entry.map_err(BackupError::io("list", &directory))?.path();
            std::fs::remove_file(&path).map_err(BackupError::io("remove", &path))?;
        }
        Ok(())
    }

    /// The names of the manifests, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn manifests(&self) -> Result<Vec<String>, BackupError> {
        let directory = self.root.join(MANIFESTS);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(BackupError::io("list", &directory))?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let mut names =
            names.collect::<io::Result<Vec<String>>>().map_err(BackupError::io("list", &directory))?;
        names.retain(|name| name.ends_with(".json"));
        names.sort_unstable();
        Ok(names)
    }

    /// The path of a manifest.
    #[must_use]
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.root.join(MANIFESTS).join(name)
    }

    /// The path of a dump.
    pub(super) fn dump(&self, sha256: Sha256) -> PathBuf {
        self.root.join(DATABASES).join(format!("{sha256}.dump"))
    }

    /// The path of a list of files.
    pub(super) fn objects(&self, sha256: Sha256) -> PathBuf {
        self.root.join(DATABASES).join(format!("{sha256}.objects"))
    }

    /// The directory of dumps and lists.
    pub(super) fn databases(&self) -> PathBuf {
        self.root.join(DATABASES)
    }

    /// The path of a file.
    pub(super) fn blob(&self, sha256: &Sha256) -> PathBuf {
        let [first, second, ..] = sha256.0;
        self.root.join(BLOBS).join(format!("{first:02x}/{second:02x}/{sha256}"))
    }

    /// The directory of files.
    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    /// A file that gets its name when it is complete.
    pub(super) fn unfinished(&self) -> Result<NamedTempFile, BackupError> {
        let directory = self.root.join(UNFINISHED);
        NamedTempFile::new_in(&directory).map_err(BackupError::io("create a file in", &directory))
    }

    /// Gives a file its name, durably. An existing file of that name is replaced only if `replaces` is set.
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

    /// Writes everything of the file system of the folder to disk.
    pub(super) fn sync(&self) -> Result<(), BackupError> {
        let failed = BackupError::io("write to disk", &self.root);
        let result = File::open(&self.root).and_then(|root| Ok(nix::unistd::syncfs(&root)?));
        result.map_err(failed)
    }

    /// The size of a file; `None` if it is missing.
    ///
    /// SECURITY: a link would be followed to any file of the machine, and a file of another user could be changed after
    /// it was verified.
    pub(super) fn size(&self, path: &Path) -> Result<Option<u64>, BackupError> {
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

    /// Opens a file and returns it with its size.
    pub(super) fn open_file(&self, path: &Path) -> Result<(File, u64), BackupError> {
        if self.size(path)?.is_none() {
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

    /// Reads a manifest.
    pub(super) fn read_manifest(&self, name: &str) -> Result<Vec<u8>, BackupError> {
        let path = self.manifest(name);
        let (file, size) = self.open_file(&path)?;
        if size > MAX_MANIFEST_SIZE {
            return Err(BackupError::damaged(&path, format!("has {size} bytes, more than any manifest")));
        }
        let mut bytes = Vec::new();
        file.take(MAX_MANIFEST_SIZE).read_to_end(&mut bytes).map_err(BackupError::io("read", &path))?;
        Ok(bytes)
    }

    /// Reads a file, passes its bytes to `each`, and checks its size and digest.
    pub(super) fn read_verified(
        &self,
        path: &Path,
        part: &Part,
        each: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let (mut file, size) = self.open_file(path)?;
        if size != part.size {
            return Err(BackupError::damaged(path, format!("has {size} bytes instead of {}", part.size)));
        }
        let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; 256 << 10]);
        loop {
            match file.read(&mut buffer).map_err(BackupError::io("read", path))? {
                0 => break,
                length => {
                    hasher.update(&buffer[..length]);
                    each(&buffer[..length])?;
                }
            }
        }
        let sha256 = Sha256(hasher.finalize().into());
        if sha256 != part.sha256 {
            return Err(BackupError::damaged(path, format!("has the SHA-256 {sha256}")));
        }
        Ok(())
    }
}

fn create_directory(path: &Path) -> Result<(), BackupError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(path.parent().unwrap_or(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(BackupError::io("create the directory", path)(error)),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let result = File::open(path).and_then(|directory| directory.sync_all());
    result.map_err(BackupError::io("write to disk", path))
}
