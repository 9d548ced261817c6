//! `SQLite.Dir`: checks of its file system and permissions, the lock and the files in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, User, access, geteuid};

use super::DbError;
use super::schema::Schema;
use base::config::RESTART_COMMAND;
use base::model::text::shell_word;

/// The file whose lock excludes a second process.
const LOCK: &str = "rstudio-pm.db.lock";

/// Every file in `SQLite.Dir`, including the WAL and its index.
pub const FILES: [&str; 7] = [
    "rstudio-pm.db",
    "rstudio-pm.db-wal",
    "rstudio-pm.db-shm",
    LOCK,
    "usage.db",
    "usage.db-wal",
    "usage.db-shm",
];

/// Returns the kind of a file system with unreliable locks, by its magic number: statfs(2) lists the numbers.
pub fn remote_kind(magic: i64) -> Option<&'static str> {
    // The type of f_type differs between architectures and may be sign-extended.
    match magic & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0x517b => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x6573_5546 => Some("FUSE"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

/// Refuses a directory (or, before it exists, its nearest existing ancestor) on a file system with unreliable locks.
pub(in crate::db) fn refuse_remote(dir: &Path) -> Result<(), DbError> {
    let existing = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    match statfs(existing) {
        Ok(stat) => {
            #[allow(
                clippy::unnecessary_cast,
                clippy::cast_possible_wrap,
                reason = "the type of f_type differs between architectures"
            )]
            let magic = stat.filesystem_type().0 as i64;
            remote_kind(magic)
                .map_or(Ok(()), |kind| Err(DbError::RemoteFileSystem { path: dir.to_owned(), kind }))
        }
        Err(error) => Err(unwritable(dir, error.into())),
    }
}

pub(in crate::db) fn io_error(dir: &Path, error: io::Error) -> DbError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DbError::Full { database: dir.display().to_string(), source: error.into() }
        }
        _ => unwritable(dir, error),
    }
}

/// Moves the files of the databases into a new subdirectory `replaced-…` and returns its path; `None` if there are no
/// files. The caller holds the lock of the directory, so that no server starts meanwhile.
pub(in crate::db) fn move_aside(dir: &Path) -> Result<Option<PathBuf>, DbError> {
    let target = dir.join(format!("replaced-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    let files = FILES.into_iter().filter(|name| *name != LOCK && dir.join(name).exists());
    let files: Vec<&str> = files.collect();
    if files.is_empty() {
        return Ok(None);
    }
    DirBuilder::new().mode(0o700).create(&target).map_err(|error| io_error(&target, error))?;
    for name in files {
        if let Err(error) = std::fs::rename(dir.join(name), target.join(name)) {
            return Err(move_back(dir, &target, io_error(dir, error)));
        }
    }
    Ok(Some(target))
}

/// Moves the files in a subdirectory of [`move_aside`] back, after `error`, and removes it. Returns `error`, with the
/// location of the files if they cannot be moved.
pub(in crate::db) fn move_back(dir: &Path, aside: &Path, error: DbError) -> DbError {
    let mut files = FILES.into_iter().filter(|name| aside.join(name).exists());
    let result = files.try_for_each(|name| std::fs::rename(aside.join(name), dir.join(name)));
    match result.and_then(|()| std::fs::remove_dir(aside)) {
        Ok(()) => error,
        Err(source) => DbError::Refused(
            format!(
                "{error}; the files of the previous database are in {} and could not be moved back: {source}",
                aside.display()
            )
            .into(),
        ),
    }
}

/// Creates the directory (mode 0700) if missing, takes the lock against a second process, and returns the file. If
/// `inherited` refers to the lock file, it is used: the process that passed it may hold the lock, which both share.
pub(in crate::db) fn lock(dir: &Path, inherited: Option<OwnedFd>) -> Result<File, DbError> {
    let failed = |error| io_error(dir, error);
    create_directory(dir)?;
    let path = dir.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let mut lock = lock.map_err(|error| io_error(if path.exists() { &path } else { dir }, error))?;
    if let Some(file) = inherited.map(File::from)
        && is_same_file(&file, &lock).map_err(failed)?
    {
        lock = file;
    }
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DbError::Locked { path: dir.join(Schema::Core.file()) }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn create_directory(dir: &Path) -> Result<(), DbError> {
    refuse_remote(dir)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| io_error(dir, error))
}

/// Creates the database file (mode 0600) and its directory if missing; returns its path.
pub(in crate::db) fn create_file(dir: &Path, schema: Schema) -> Result<PathBuf, DbError> {
    create_directory(dir)?;
    let path = dir.join(schema.file());
    // Created here and not by SQLite, which would take the mode from the umask; the WAL and its index get the same
    // mode. Opened only if missing: closing a second descriptor of an open database would drop SQLite's locks.
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error(dir, error)),
    }
    access(&path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| unwritable(&path, errno.into()))?;
    Ok(path)
}

fn is_same_file(a: &File, b: &File) -> io::Result<bool> {
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Checks the directory as [`create_file`] does, without creating anything. Returns the path, which may be missing.
pub(in crate::db) fn check(dir: &Path, schema: Schema) -> Result<PathBuf, DbError> {
    refuse_remote(dir)?;
    let existing = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(unwritable(dir, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    access(existing, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|e| unwritable(dir, e.into()))?;
    let of_schema = FILES.iter().filter(|name| name.starts_with(schema.file()) || **name == LOCK);
    for file in of_schema.map(|name| dir.join(name)).filter(|file| file.exists()) {
        access(&file, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|e| unwritable(&file, e.into()))?;
    }
    Ok(dir.join(schema.file()))
}

/// Returns the error for a path that cannot be written, with the command that fixes it.
pub(in crate::db) fn unwritable(path: &Path, source: io::Error) -> DbError {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name);
    let quoted = shell_word(&path.display().to_string());
    let is_read_only = source.kind() == io::ErrorKind::ReadOnlyFilesystem;
    let remedy = if is_read_only && path.exists() {
        RESTART_COMMAND.to_owned()
    } else if is_read_only {
        format!("install -d -m 0700 -o {user} {quoted} && {RESTART_COMMAND}")
    } else if path.is_file() || path.extension().is_some_and(|e| e == "db") {
        format!("chown {user} {quoted} && chmod 0600 {quoted}")
    } else {
        format!("install -d -m 0700 -o {user} {quoted}")
    };
    DbError::Unwritable { path: path.to_owned(), user, remedy, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_with_unreliable_locks_are_known_by_number() {
        for (magic, kind) in [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "CIFS"),
            (i64::from(0xff53_4d42_u32 as i32), "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x6573_5546, "FUSE"),
        ] {
            assert_eq!(remote_kind(magic), Some(kind), "{magic:x}");
        }
        for (magic, name) in
            [(0xef53, "ext4"), (0x5846_5342, "xfs"), (0x0102_1994, "tmpfs"), (0x9123_683e, "btrfs")]
        {
            assert_eq!(remote_kind(magic), None, "{name}");
        }
    }

    fn prepare(dir: &Path, inherited: Option<OwnedFd>) -> Result<(PathBuf, File), DbError> {
        let lock = lock(dir, inherited)?;
        Ok((create_file(dir, Schema::Core)?, lock))
    }

    #[test]
    fn the_directory_is_private_and_locked() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("a/db");
        let (file, lock) = prepare(&dir, None).expect("a directory");
        let mode = |p: &Path| std::fs::metadata(p).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
        assert!(matches!(prepare(&dir, None), Err(DbError::Locked { .. })));
        let inherited = lock.try_clone().expect("a second handle");
        let (_, locked) = prepare(&dir, Some(inherited.into())).expect("the inherited lock is held");
        drop(lock);
        assert!(
            matches!(prepare(&dir, None), Err(DbError::Locked { .. })),
            "dropping one duplicate keeps the lock"
        );
        drop(locked);
        assert!(prepare(&dir, None).is_ok());
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_reported_with_the_command() {
        let parent = tempfile::tempdir().expect("a directory");
        let file = parent.path().join("file");
        std::fs::write(&file, b"").expect("a file");
        let error = prepare(&file.join("db"), None).expect_err("no directory below a file").to_string();
        assert!(error.contains("install -d -m 0700"), "{error}");
        assert!(check(&file.join("db"), Schema::Core).is_err());
    }
}
