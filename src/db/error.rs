//! What can go wrong with a database, classified the same for both, each with the way out.

use std::error::Error;
use std::path::PathBuf;

use crate::model::ids::{RepoId, TreeId};
use crate::model::time::Timestamp;

/// The driver's own error, kept as the source.
pub type Source = Box<dyn Error + Send + Sync>;

/// An error of the database room. No text holds a password.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Another process writes to the SQLite file.
    #[error("the database {path} is locked by another process; stop the other rstudio-pm that uses it")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No space, no inodes or a quota reached.
    #[error("no space left for the database {place}; free some and try again")]
    Full {
        /// The file, or the server and database.
        place: String,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// No answer from the server.
    #[error(
        "cannot reach PostgreSQL at {host}, port {port}, for database '{database}'; check {property}, the server and the firewall: {source}"
    )]
    Unreachable {
        /// What says so.
        property: &'static str,
        /// Host name, address or socket directory.
        host: String,
        /// TCP port.
        port: u16,
        /// Database name.
        database: String,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// The server refuses the user or the password.
    #[error(
        "PostgreSQL at {host}, port {port}, refused user '{user}'; check the user and password of {property} or Postgres.Password, and pg_hba.conf: {source}"
    )]
    Authentication {
        /// What says so.
        property: &'static str,
        /// Host name, address or socket directory.
        host: String,
        /// TCP port.
        port: u16,
        /// The user.
        user: String,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// The server has no such database.
    #[error(
        "PostgreSQL at {host}, port {port}, has no database '{database}'; create it first: createdb -h {host} -p {port} {database}"
    )]
    DatabaseMissing {
        /// Host name, address or socket directory.
        host: String,
        /// TCP port.
        port: u16,
        /// Database name.
        database: String,
    },
    /// TLS was demanded and cannot be had.
    #[error("no TLS connection to PostgreSQL at {host}, port {port} (sslmode={mode}): {reason}")]
    Tls {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// The mode in force.
        mode: &'static str,
        /// Why.
        reason: String,
    },
    /// `search_path` names no schema in which tables can be made.
    #[error(
        "search_path '{path}' of {property} names no schema this user may create tables in; create it first: CREATE SCHEMA {path} AUTHORIZATION {user}"
    )]
    SearchPath {
        /// What says so.
        property: &'static str,
        /// As written in the URL.
        path: String,
        /// The user.
        user: String,
    },
    /// `Postgres.URL` or one of its parts cannot be used. The text never repeats the URL.
    #[error("{property}: {reason}")]
    Url {
        /// Which URL.
        property: &'static str,
        /// Why.
        reason: String,
    },
    /// A newer release has migrated this database.
    #[error(
        "the database {place} was made by version {made_by} (schema {found}; this version knows {known}); restore a backup or upgrade rstudio-pm"
    )]
    TooNew {
        /// The file, or the server and database.
        place: String,
        /// The program version that ran the newest migration.
        made_by: String,
        /// Newest migration found.
        found: i64,
        /// Newest migration known here.
        known: i64,
    },
    /// A program that still runs could not work with what the migration makes.
    #[error(
        "{place} needs migration {number} ({name}), which the running version could not work with: it can only be done by a restart"
    )]
    NotOnline {
        /// The file, or the server and database.
        place: String,
        /// The migration.
        number: i64,
        /// What it is about.
        name: &'static str,
    },
    /// The file is something else, or its bytes are damaged.
    #[error("{path} is not a SQLite database or is damaged; restore it from a backup or move it away")]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// `SQLite.Dir` on a file system whose locks cannot be trusted.
    #[error(
        "SQLite.Dir {path} is on {kind}, where file locks can corrupt a database; use a local disk, or PostgreSQL"
    )]
    RemoteFileSystem {
        /// The directory.
        path: PathBuf,
        /// `NFS`, `CIFS` …
        kind: &'static str,
    },
    /// The directory cannot be made or written.
    #[error("cannot write SQLite.Dir {path} as user {user}: {source}; mend it with: {mend}")]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// User name or number.
        user: String,
        /// The command that mends it.
        mend: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A unique or foreign key was violated.
    #[error("the database refused a conflicting row: {0}")]
    Conflict(String),
    /// Another job writes this tree.
    #[error("tree {tree} is being written by job {job}")]
    Busy {
        /// The tree.
        tree: TreeId,
        /// The job that claimed it.
        job: i64,
    },
    /// Publishing or abandoning a tree that nobody began.
    #[error("tree {0} has nothing pending")]
    NothingPending(TreeId),
    /// A repository that is gone.
    #[error("repository {0} does not exist")]
    NoRepo(RepoId),
    /// This machine's clock is far ahead of the database's.
    #[error(
        "this machine's clock ({now}) is over an hour ahead of the database's ({database}); set it right before publishing"
    )]
    ClockAhead {
        /// Ours.
        now: Timestamp,
        /// The database's.
        database: Timestamp,
    },
    /// This machine's clock and the newest transaction do not go together.
    #[error("{0}; set the clock right, or, if it is right, run: {command}", command = .0.command())]
    Skew(#[from] super::skew::Skew),
    /// The connection was lost at COMMIT and the server cannot tell how it ended.
    #[error(
        "the connection was lost while committing and the outcome is unknown; look before doing it again"
    )]
    UnknownOutcome(#[source] Source),
    /// The connection was lost; nothing was committed.
    #[error("the connection to the database was lost: {0}")]
    Lost(#[source] Source),
    /// A column does not hold what the statement promised.
    #[error("column {column} of a row holds {found}, not {wanted}")]
    Shape {
        /// Position from 0.
        column: usize,
        /// What is there.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The caller's own reason to roll back: see [`DbError::refuse`].
    #[error("{0}")]
    Refused(#[source] Source),
    /// The database was closed, or the closure panicked.
    #[error("the database is closed")]
    Closed,
    /// Anything else the driver reports.
    #[error("database {place}: {source}")]
    Driver {
        /// The file, or the server and database.
        place: String,
        /// What the driver said.
        #[source]
        source: Source,
    },
}

impl DbError {
    /// Rolls the transaction back with an error of the caller's own.
    pub fn refuse(reason: impl Error + Send + Sync + 'static) -> DbError {
        DbError::Refused(Box::new(reason))
    }

    /// The caller's own error again, where this is one of type `E`.
    ///
    /// # Errors
    /// The unchanged error otherwise.
    pub fn into_refusal<E: Error + 'static>(self) -> Result<E, DbError> {
        match self {
            DbError::Refused(reason) => reason.downcast::<E>().map(|e| *e).map_err(DbError::Refused),
            other => Err(other),
        }
    }
}
