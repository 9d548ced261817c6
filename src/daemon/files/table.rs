//! Rules for the paths that the daemon uses: required type, owner and mode, and what to do on a violation.

use std::path::{Path, PathBuf};

use crate::config::{Config, LogDestination, Place, Provider, StorageClass};
use crate::daemon::sockets;
use crate::db::place;

/// The rule for one kind of path.
#[derive(Debug)]
pub struct Row {
    /// The kind of path.
    pub what: What,
    /// Its name in messages: the property, if there is one.
    pub name: &'static str,
    /// The required file type.
    pub is: Is,
    /// The mode to create it with.
    pub mode: u32,
    /// The most permission bits that are allowed; [`STICKY`] makes a world-writable directory safe.
    pub most: u32,
    /// Who fixes its mode.
    pub keeper: Keeper,
    /// What to do if others can change it and that cannot be fixed.
    pub otherwise: Otherwise,
}

/// The sticky bit: only the owner of an entry can remove it from the directory.
pub const STICKY: u32 = 0o1000;

/// The kinds of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described by its row")]
pub enum What {
    Gcfg,
    Certificate,
    Key,
    DataDir,
    SqliteDir,
    Database,
    Storage,
    TempDir,
    LogDir,
    Log,
    SockFileDir,
    Socket,
    Pid,
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Is {
    Directory,
    File,
    Socket,
}

/// Who fixes a wrong mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The daemon, if the file belongs to its user.
    Daemon,
    /// The administrator; the daemon reports it.
    Administrator,
}

/// What to do about an unsafe path that cannot be fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The daemon does not start.
    Refuse,
    /// It logs a warning and continues.
    Warn,
}

impl Row {
    /// What to do if it belongs to another ordinary user.
    #[must_use]
    pub fn of_another_owner(&self) -> Otherwise {
        match (self.what, self.keeper) {
            // systemd passes the socket, and its directory may still belong to the user of the distribution package.
            // Without systemd the socket is created again, or creating it fails.
            (What::SockFileDir | What::Socket, _) | (_, Keeper::Administrator) => Otherwise::Warn,
            (_, Keeper::Daemon) => self.otherwise,
        }
    }
}

const fn row(
    what: What,
    name: &'static str,
    is: Is,
    modes: (u32, u32),
    keeper: Keeper,
    otherwise: Otherwise,
) -> Row {
    Row { what, name, is, mode: modes.0, most: modes.1, keeper, otherwise }
}

/// All rules, in the order in which the paths are checked.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(What::Gcfg, "the configuration file", Is::File, (0o640, 0o664), Keeper::Administrator, Otherwise::Refuse),
    row(What::Certificate, "HTTPS.Certificate", Is::File, (0o644, 0o664), Keeper::Administrator, Otherwise::Refuse),
    row(What::Key, "HTTPS.Key", Is::File, (0o600, 0o660), Keeper::Administrator, Otherwise::Refuse),
    row(What::DataDir, "Server.DataDir", Is::Directory, (0o700, 0o700), Keeper::Daemon, Otherwise::Refuse),
    row(What::SqliteDir, "SQLite.Dir", Is::Directory, (0o700, 0o700), Keeper::Daemon, Otherwise::Refuse),
    row(What::Database, "the database file", Is::File, (0o600, 0o600), Keeper::Daemon, Otherwise::Refuse),
    row(What::Storage, "FileStorage.Location", Is::Directory, (0o700, 0o775), Keeper::Daemon, Otherwise::Refuse),
    row(What::TempDir, "Server.TempDir", Is::Directory, (0o1777, 0o775), Keeper::Administrator, Otherwise::Warn),
    row(What::LogDir, "the log directory", Is::Directory, (0o750, 0o755), Keeper::Daemon, Otherwise::Warn),
    row(What::Log, "the log", Is::File, (0o600, 0o640), Keeper::Daemon, Otherwise::Warn),
    row(What::SockFileDir, "Server.SockFileDir", Is::Directory, (0o755, 0o755), Keeper::Daemon, Otherwise::Refuse),
    row(What::Socket, "the administration socket", Is::Socket, (0o660, 0o660), Keeper::Daemon, Otherwise::Refuse),
    row(What::Pid, "the PID file", Is::File, (0o600, 0o644), Keeper::Daemon, Otherwise::Warn),
];

/// The paths of this kind in a configuration.
#[must_use]
pub fn paths(what: What, gcfg: &Path, config: &Config) -> Vec<PathBuf> {
    let tls = config.https.listen.is_some();
    let sqlite = config.database.provider == Provider::Sqlite;
    let one = |path: &Path| vec![path.to_owned()];
    let socket_dir = &config.server.sock_file_dir;
    match what {
        What::Gcfg => one(gcfg),
        What::Certificate => config.https.certificate.iter().filter(|_| tls).cloned().collect(),
        What::Key => config.https.key.iter().filter(|_| tls).cloned().collect(),
        What::DataDir => one(&config.server.data_dir),
        What::SqliteDir => {
            if sqlite {
                one(&config.sqlite.dir)
            } else {
                Vec::new()
            }
        }
        What::Database => {
            let names: &[&str] = if sqlite { &place::FILES } else { &[] };
            names.iter().map(|name| config.sqlite.dir.join(name)).collect()
        }
        What::Storage => {
            let mut found: Vec<PathBuf> = Vec::new();
            for class in StorageClass::ALL {
                match config.storage.place(class) {
                    Place::File(place) if !found.contains(&place.location) => {
                        found.push(place.location.clone())
                    }
                    Place::File(_) | Place::S3(_) => {}
                }
            }
            found
        }
        What::TempDir => one(&config.server.temp_dir),
        What::LogDir => {
            let mut found: Vec<PathBuf> =
                logs(config).filter_map(|log| log.parent()).map(Path::to_owned).collect();
            found.dedup();
            found
        }
        What::Log => logs(config).map(Path::to_owned).collect(),
        What::SockFileDir => one(socket_dir),
        What::Socket => one(&sockets::admin_path(config)),
        What::Pid => one(&socket_dir.join("rstudio-pm.pid")),
    }
}

fn logs(config: &Config) -> impl Iterator<Item = &Path> {
    let server = config.logging.system_log.iter().filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path.as_path()),
        LogDestination::Stdout | LogDestination::Stderr => None,
    });
    let all = server.chain([config.server.access_log.as_path()]).chain(config.server.service_log.as_deref());
    // `/dev/stdout` is a stream that the process inherited.
    all.filter(|path| !path.starts_with("/dev"))
}
