//! Rules for the paths that the daemon uses: required type, owner and mode, and what to do on a violation.

use std::path::{Path, PathBuf};

use crate::daemon::{node, sockets};
use base::config::{ClassLocation, Config, LogDestination, Provider, key_file};
use base::model::kind::StorageClass;
use store::db::sqlite_dir;

#[derive(Debug)]
pub struct PathRule {
    pub kind: PathKind,
    /// The name of the path in messages: the property, if there is one.
    pub name: &'static str,
    pub file_type: FileType,
    /// The mode of a newly created path.
    pub mode: u32,
    /// The most permission bits that are allowed; [`STICKY`] makes a world-writable directory safe.
    pub max_mode: u32,
    pub fixed_by: FixedBy,
    /// The action if other users can change the path and the daemon cannot fix that.
    pub on_violation: OnViolation,
}

/// The sticky bit: only the owner of an entry can remove it from the directory.
pub const STICKY: u32 = 0o1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described by its rule")]
pub enum PathKind {
    Gcfg,
    Certificate,
    Key,
    EncryptionKey,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum FileType {
    Directory,
    File,
    Socket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedBy {
    /// The daemon, if the file belongs to its user.
    Daemon,
    /// The administrator; the daemon reports the violation.
    Administrator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    Refuse,
    Warn,
}

impl PathRule {
    /// The action if the path belongs to another ordinary user.
    pub fn on_foreign_owner(&self) -> OnViolation {
        match (self.kind, self.fixed_by) {
            // The socket may come from systemd, and its directory from the distribution package. Without
            // systemd, the server replaces the socket or reports an error.
            (PathKind::SockFileDir | PathKind::Socket, _) | (_, FixedBy::Administrator) => OnViolation::Warn,
            (_, FixedBy::Daemon) => self.on_violation,
        }
    }
}

/// Creates a rule; `modes` are the mode of a new path and the maximum mode.
const fn rule(
    kind: PathKind,
    name: &'static str,
    file_type: FileType,
    modes: (u32, u32),
    fixed_by: FixedBy,
    on_violation: OnViolation,
) -> PathRule {
    PathRule { kind, name, file_type, mode: modes.0, max_mode: modes.1, fixed_by, on_violation }
}

#[rustfmt::skip]
pub static RULES: &[PathRule] = &[
    rule(PathKind::Gcfg, "the configuration file", FileType::File, (0o640, 0o664), FixedBy::Administrator, OnViolation::Refuse),
    rule(PathKind::Certificate, "HTTPS.Certificate", FileType::File, (0o644, 0o664), FixedBy::Administrator, OnViolation::Refuse),
    rule(PathKind::Key, "HTTPS.Key", FileType::File, (0o600, 0o660), FixedBy::Administrator, OnViolation::Refuse),
    rule(PathKind::DataDir, "Server.DataDir", FileType::Directory, (0o700, 0o700), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::SqliteDir, "SQLite.Dir", FileType::Directory, (0o700, 0o700), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::Database, "the database file", FileType::File, (0o600, 0o600), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::EncryptionKey, "Server.EncryptionKeyPath", FileType::File, (0o600, 0o640), FixedBy::Administrator, OnViolation::Refuse),
    rule(PathKind::Storage, "FileStorage.Location", FileType::Directory, (0o700, 0o775), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::TempDir, "Server.TempDir", FileType::Directory, (0o1777, 0o775), FixedBy::Administrator, OnViolation::Warn),
    rule(PathKind::LogDir, "the log directory", FileType::Directory, (0o750, 0o755), FixedBy::Daemon, OnViolation::Warn),
    rule(PathKind::Log, "the log", FileType::File, (0o600, 0o640), FixedBy::Daemon, OnViolation::Warn),
    rule(PathKind::SockFileDir, "Server.SockFileDir", FileType::Directory, (0o755, 0o755), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::Socket, "the administration socket", FileType::Socket, (0o660, 0o660), FixedBy::Daemon, OnViolation::Refuse),
    rule(PathKind::Pid, "the PID or node file", FileType::File, (0o600, 0o644), FixedBy::Daemon, OnViolation::Warn),
];

/// Returns the paths of a kind in a configuration.
pub fn paths(kind: PathKind, gcfg: &Path, config: &Config) -> Vec<PathBuf> {
    let has_tls = config.https.listen.is_some();
    let is_sqlite = config.database.provider == Provider::Sqlite;
    let single = |path: &Path| vec![path.to_owned()];
    let socket_dir = &config.server.sock_file_dir;
    match kind {
        PathKind::Gcfg => single(gcfg),
        PathKind::Certificate => config.https.certificate.iter().filter(|_| has_tls).cloned().collect(),
        PathKind::Key => config.https.key.iter().filter(|_| has_tls).cloned().collect(),
        PathKind::EncryptionKey => {
            let path = &config.server.encryption_key_path;
            vec![path.clone(), key_file::old_path(path)]
        }
        PathKind::DataDir => single(&config.server.data_dir),
        PathKind::SqliteDir => {
            if is_sqlite {
                single(&config.sqlite.dir)
            } else {
                Vec::new()
            }
        }
        PathKind::Database => {
            let names: &[&str] = if is_sqlite { &sqlite_dir::FILES } else { &[] };
            names.iter().map(|name| config.sqlite.dir.join(name)).collect()
        }
        PathKind::Storage => {
            let mut locations: Vec<PathBuf> = Vec::new();
            for class in StorageClass::ALL {
                match config.storage.location(class) {
                    ClassLocation::File(storage) if !locations.contains(&storage.location) => {
                        locations.push(storage.location.clone())
                    }
                    ClassLocation::File(_) | ClassLocation::S3(_) => {}
                }
            }
            locations
        }
        PathKind::TempDir => single(&config.server.temp_dir),
        PathKind::LogDir => {
            let mut dirs: Vec<PathBuf> =
                logs(config).filter_map(|log| log.parent()).map(Path::to_owned).collect();
            dirs.dedup();
            dirs
        }
        PathKind::Log => logs(config).map(Path::to_owned).collect(),
        PathKind::SockFileDir => single(socket_dir),
        PathKind::Socket => single(&sockets::admin_path(config)),
        PathKind::Pid => vec![socket_dir.join("rstudio-pm.pid"), node::path(config)],
    }
}

/// The log files of a configuration.
pub(in crate::daemon) fn logs(config: &Config) -> impl Iterator<Item = &Path> {
    let server = config.logging.system_log.iter().filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path.as_path()),
        LogDestination::Stdout | LogDestination::Stderr => None,
    });
    let files = server
        .chain([config.server.access_log.as_path()])
        .chain(config.server.service_log.as_deref())
        .chain(config.logging.audit_log.as_deref());
    // `/dev/stdout` is a stream that the process inherited.
    files.filter(|path| !path.starts_with("/dev"))
}
