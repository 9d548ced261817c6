//! The files of a process in the directory of its socket, such as the PID file, and the name of the current
//! user.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base::config::Config;

/// Returns the name of the effective user, or the user ID if it has no name.
pub(super) fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Writes `<SockFileDir>/rstudio-pm.pid` and returns its path; `None` after an error, which is logged.
pub(super) fn write_pid(config: &Config) -> Option<PathBuf> {
    write(config.server.sock_file_dir.join("rstudio-pm.pid"), &std::process::id())
}

/// Replaces a file by one with this line and returns its path; `None` after an error, which is logged.
pub(super) fn write(path: PathBuf, line: &dyn std::fmt::Display) -> Option<PathBuf> {
    let result = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| std::io::Write::write_fmt(&mut file, format_args!("{line}\n")))
        }
    };
    match result {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!("could not write {}: {error}", path.display());
            None
        }
    }
}
