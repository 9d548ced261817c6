//! Executes the steps of a rotation in a directory. Never overwrites a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};

use super::plan::{RotationStep, replaced_name, temporary_name};

/// Executes one step. Fails after an I/O error, or if another process still writes to a file that is to be compressed.
pub(super) fn execute(folder: &Path, step: &RotationStep) -> io::Result<()> {
    match step {
        RotationStep::Rename { from, to } => rename(&folder.join(from), &folder.join(to)),
        RotationStep::Remove(name) => std::fs::remove_file(folder.join(name)),
        RotationStep::Compress { from } => compress(folder, from),
    }
}

/// Renames a file; fails if the new name exists.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Not all file systems support `RENAME_NOREPLACE`.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        result => result.map_err(io::Error::from),
    }
}

fn compress(folder: &Path, name: &str) -> io::Result<()> {
    let plain_path = folder.join(name);
    let no_follow = OFlag::O_NOFOLLOW.bits();
    let source = OpenOptions::new().read(true).custom_flags(no_follow).open(&plain_path)?;
    if let Err(TryLockError::WouldBlock) = source.try_lock() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process still writes to it"));
    }
    let (temporary_path, replaced_path) =
        (folder.join(temporary_name(name)), folder.join(replaced_name(name)));
    if let Err(error) = write(&source, &temporary_path) {
        // Frees the space on a full disk. If this fails, too, the next rotation removes the file.
        let _ = std::fs::remove_file(&temporary_path);
        return Err(error);
    }
    rename(&plain_path, &replaced_path)?;
    rename(&temporary_path, &folder.join(format!("{name}.gz")))?;
    // The old file is removed only after the new one is durable.
    File::open(folder)?.sync_all()?;
    std::fs::remove_file(replaced_path)
}

fn write(source: &File, to: &Path) -> io::Result<()> {
    let modified = source.metadata()?.modified()?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    io::copy(&mut BufReader::with_capacity(1 << 16, source), &mut encoder)?;
    let mut file = encoder.finish()?;
    file.flush()?;
    file.set_modified(modified)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_that_is_taken_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a"), "a").expect("written");
        std::fs::write(dir.path().join("b"), "b").expect("written");
        let step = RotationStep::Rename { from: "a".to_owned(), to: "b".to_owned() };
        let error = execute(dir.path(), &step).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(dir.path().join("b")).expect("it exists"), b"b");
    }

    #[test]
    fn a_compressed_file_has_the_content_and_time_of_the_plain_one_and_mode_0600() {
        let dir = tempfile::tempdir().expect("a directory");
        let plain = dir.path().join("a.log.2");
        let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&plain, &text).expect("written");
        let modified = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&plain).expect("it exists").set_modified(modified).expect("ours");
        let step = RotationStep::Compress { from: "a.log.2".to_owned() };

        let writer = File::options().append(true).open(&plain).expect("it exists");
        writer.lock_shared().expect("a lock");
        let error = execute(dir.path(), &step).expect_err("another process writes to it");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(writer);

        execute(dir.path(), &step).expect("compressed");
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .expect("readable")
            .map(|e| e.expect("readable").file_name())
            .collect();
        assert_eq!(names, ["a.log.2.gz"]);
        let file = File::open(dir.path().join("a.log.2.gz")).expect("it exists");
        let metadata = file.metadata().expect("known");
        assert_eq!(
            (metadata.permissions().mode() & 0o7777, metadata.modified().expect("known")),
            (0o600, modified)
        );
        let mut content = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut content).expect("gzip");
        assert!(content == text);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a.log.2")).expect("a link");
        assert!(execute(dir.path(), &RotationStep::Compress { from: "a.log.2".to_owned() }).is_err());
    }
}
