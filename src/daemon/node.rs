//! This process as a server of a cluster: host name, address, the id of the process before it, and its files
//! in the directory of its socket.
//!
//! `<SockFileDir>/rstudio-pm.node` contains the id of the process that started last. Only one process at a
//! time owns the admin socket in that directory, so a starting process knows that its predecessor has ended,
//! and need not wait until the predecessor's leases expire.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::sockets::Sockets;
use base::config::{Config, Provider};
use base::model::ids::Identity;

const FILE: &str = "rstudio-pm.node";
/// An address that is routed over the default route (TEST-NET-1, RFC 5737). Nothing is sent to it.
const ROUTE_TARGET: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The host name, by system call: the unit's sandbox has no `/proc/sys`.
pub(super) fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The address of the first listener that serves packages; empty if there is none. For a listener on all
/// addresses, the address of the default route, else the host name.
pub(super) fn address(sockets: &Sockets) -> String {
    let listener = sockets.http.first().or(sockets.https.first());
    let Some(address) = listener.and_then(|listener: &TcpListener| listener.local_addr().ok()) else {
        return String::new();
    };
    let ip = if address.ip().is_unspecified() { default_route_address() } else { Some(address.ip()) };
    match ip {
        Some(ip) => SocketAddr::new(ip, address.port()).to_string(),
        None => format!("{}:{}", host_name(), address.port()),
    }
}

fn default_route_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ROUTE_TARGET).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Returns the id of the process before this one; `None` if it was stopped properly, or if its file cannot be read.
pub(super) fn previous_id(config: &Config) -> Option<Identity> {
    std::fs::read_to_string(path(config)).ok()?.trim().parse().ok()
}

/// Writes the id of this process and returns the path. `None` with SQLite (one server), and after a logged error.
pub(super) fn write_id(config: &Config, id: Identity) -> Option<PathBuf> {
    match config.database.provider {
        Provider::Sqlite => None,
        Provider::Postgres => write_file(path(config), &id),
    }
}

pub(super) fn path(config: &Config) -> PathBuf {
    config.server.sock_file_dir.join(FILE)
}

/// Writes `<SockFileDir>/rstudio-pm.pid` and returns its path; `None` after an error, which is logged.
pub(super) fn write_pid(config: &Config) -> Option<PathBuf> {
    write_file(config.server.sock_file_dir.join("rstudio-pm.pid"), &std::process::id())
}

/// Replaces a file by one with this line and returns its path; `None` after an error, which is logged.
fn write_file(path: PathBuf, line: &dyn std::fmt::Display) -> Option<PathBuf> {
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

/// Returns the name of the effective user, or the user ID if it has no name.
pub(super) fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_back_and_other_content_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::example(
            dir.path(),
            "[Database]\nProvider = postgres\n[Postgres]\nURL = postgres://pm@h/pm\n",
        )
        .unwrap()
        .config;
        assert_eq!(previous_id(&config), None);
        std::fs::create_dir_all(&config.server.sock_file_dir).unwrap();
        for id in [Identity([1; 16]), Identity([2; 16])] {
            let path = write_id(&config, id).unwrap();
            assert_eq!(previous_id(&config), Some(id));
            assert!(path.ends_with(FILE));
        }
        std::fs::write(path(&config), "nothing").unwrap();
        assert_eq!(previous_id(&config), None);
    }
}
