//! Directories and files of the process itself: made at the start, removed at the end.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};

use super::fault::StartError;
use crate::config::{Config, LogDestination};

/// `DataDir` 0701 (others may pass through, to logs that were put there), `SockFileDir` 0755. The database and the
/// storage make their own.
pub(super) fn make_directories(config: &Config) -> Result<(), StartError> {
    let before = umask(Mode::from_bits_truncate(0o022));
    let make =
        |property, path: &Path, mode| {
            DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|source| {
                StartError::Directory { property, path: path.to_owned(), user: user_name(), mode, source }
            })
        };
    let made = make("Server.DataDir", &config.server.data_dir, 0o701)
        .and_then(|()| make("Server.SockFileDir", &config.server.sock_file_dir, 0o755));
    // 0750: logrotate refuses directories that a group may write to. A log that cannot be opened is said later.
    let server_logs = config.logging.system_log.iter().filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path),
        LogDestination::Stdout | LogDestination::Stderr => None,
    });
    for logs in server_logs.chain([&config.server.access_log]).filter_map(|log| log.parent()) {
        let _ = make("a log's directory", logs, 0o750);
    }
    umask(before);
    made
}

/// The effective user's name, or its number.
pub(super) fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// `<SockFileDir>/rstudio-pm.pid`. Convenience: failing to write it stops nothing.
pub(super) fn write_pid(config: &Config) -> Option<PathBuf> {
    let path = config.server.sock_file_dir.join("rstudio-pm.pid");
    let written = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o644).open(&path);
            file.and_then(|mut file| {
                std::io::Write::write_fmt(&mut file, format_args!("{}\n", std::process::id()))
            })
        }
    };
    match written {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!("the PID file {} cannot be written: {error}", path.display());
            None
        }
    }
}
