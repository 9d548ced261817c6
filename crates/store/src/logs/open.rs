//! Opens log files: checks that they can be appended to without blocking, and creates them with mode 0600.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

#[derive(Debug, thiserror::Error)]
#[error("cannot open the log file {}: {source}{}", path.display(), remedy(path, source))]
pub struct SinkError {
    pub path: PathBuf,
    /// The error of the system, or the wrong file type.
    pub source: io::Error,
}

fn remedy(path: &Path, error: &io::Error) -> String {
    let (folder, user) = (path.parent().unwrap_or(Path::new("/")).display(), nix::unistd::geteuid());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            format!(
                "; its directory must exist and be writable for this user: install -d -m 0750 -o {user} {folder}"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("; it must be writable for this user, and so must its directory {folder}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; under systemd, make the path writable for the service by: systemctl restart \
             rstudio-pm"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Opens a file for appending, creating it with mode 0600. Accepts a file or a character device, and any type of
/// `/dev/stdout` and `/dev/stderr`. Never blocks.
pub(super) fn open(path: &Path) -> Result<File, SinkError> {
    try_open(path).map_err(|source| SinkError { path: path.to_owned(), source })
}

fn try_open(path: &Path) -> io::Result<File> {
    // A standard stream that is a socket or a pipe can only be duplicated, not opened.
    match path.to_str() {
        Some("/dev/stdout") => return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        Some("/dev/stderr") => return Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        _ => {}
    }
    check_link(path)?;
    // Non-blocking: opening a FIFO without a reader would block the start.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = match file {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
            return Err(wrong_type("a FIFO or a socket"));
        }
        file => file?,
    };
    let file_type = file.metadata()?.file_type();
    if file_type.is_char_device() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    } else if file_type.is_fifo() {
        // A reader that does not read would block the server.
        return Err(wrong_type("a FIFO"));
    } else if !file_type.is_file() {
        return Err(wrong_type("neither a file nor a character device"));
    }
    // While the lock is held, other processes know that this process still writes to the file, see `ReplacedFile`.
    // An error is ignored, because not every file system has locks.
    let _ = file.try_lock_shared();
    Ok(file)
}

fn wrong_type(kind: &str) -> io::Error {
    io::Error::other(format!("it is {kind}, and must be a file"))
}

// SECURITY: a link of another user is refused: otherwise, a user who can write to the directory could make the server
// append to any of its files.
fn check_link(path: &Path) -> io::Result<()> {
    let Ok(link) = path.symlink_metadata() else { return Ok(()) };
    let owner = link.uid();
    if link.is_symlink() && owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        let target = std::fs::read_link(path)?;
        let target = target.display();
        return Err(io::Error::other(format!("it is a symbolic link to {target} that user {owner} made")));
    }
    Ok(())
}

/// The previous file of a log after a reopening.
#[derive(Debug)]
pub struct ReplacedFile {
    file: Option<File>,
}

impl ReplacedFile {
    /// Creates the value for the file `old`, which `new` replaced; both are the same file if nothing was renamed.
    pub(super) fn new(old: File, new: &File) -> ReplacedFile {
        let is_same = match (old.metadata(), new.metadata()) {
            (Ok(old), Ok(new)) => (old.dev(), old.ino()) == (new.dev(), new.ino()) || !old.is_file(),
            _ => true,
        };
        // If the lock were not released, two processes that both replaced the file would wait for each other forever.
        let _ = old.unlock();
        ReplacedFile { file: (!is_same).then_some(old) }
    }

    /// Returns whether no other process of this server writes to the old file any more, or whether there is no old file.
    /// Always true on file systems without locks.
    pub fn is_unused(&self) -> bool {
        let Some(file) = &self.file else { return true };
        let is_unused = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let _ = file.unlock();
        is_unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn open_error(path: &Path) -> String {
        open(path).expect_err("refused").to_string()
    }

    #[test]
    fn other_file_types_are_refused_with_name_and_type_without_blocking() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(open_error(&fifo).contains("it is a FIFO"), "{}", open_error(&fifo));
        let reader = OpenOptions::new().read(true).write(true).open(&fifo).expect("the pipe opens");
        assert!(open_error(&fifo).contains("it is a FIFO, and must be a file"), "{}", open_error(&fifo));
        drop(reader);
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        assert!(open_error(&socket).contains("it is a FIFO or a socket"), "{}", open_error(&socket));
        assert!(open_error(dir.path()).contains("Is a directory"), "{}", open_error(dir.path()));
        let nested_path = dir.path().join("no/a.log");
        assert!(open_error(&nested_path).contains("install -d -m 0750"), "{}", open_error(&nested_path));
    }

    #[test]
    fn a_link_is_followed_if_its_owner_is_root_or_this_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let (target_path, link) = (dir.path().join("real"), dir.path().join("link"));
        symlink(&target_path, &link).expect("a link");
        open(&link).expect("our own link");
        assert_eq!(std::fs::metadata(&target_path).expect("made").permissions().mode() & 0o777, 0o600);
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(&link, Some(65534), None).expect("the owner is changed");
            assert!(open_error(&link).contains("that user 65534 made"), "{}", open_error(&link));
        }
    }

    #[test]
    fn devices_and_the_standard_streams_are_accepted() {
        for path in ["/dev/null", "/dev/full", "/dev/stdout", "/dev/stderr"] {
            open(Path::new(path)).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    #[test]
    fn a_replaced_file_is_unused_when_no_process_writes_to_it_any_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, rotated) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        let (own_file, other_file) = (open(&path).expect("opens"), open(&path).expect("opens"));
        let second_file = open(&path).expect("opens");
        assert!(ReplacedFile::new(second_file, &own_file).is_unused(), "nothing was renamed");
        std::fs::rename(&path, rotated).expect("renamed");
        let replaced_file = ReplacedFile::new(own_file, &open(&path).expect("opens"));
        assert!(!replaced_file.is_unused());
        // The other process also reopens its log; each waits until the other does not write to the file any more.
        let other_replaced = ReplacedFile::new(other_file, &open(&path).expect("opens"));
        assert!(replaced_file.is_unused() && other_replaced.is_unused());
    }
}
