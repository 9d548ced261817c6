//! The process's own mark: its user, and the file with its number.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::config::Config;

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
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
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
