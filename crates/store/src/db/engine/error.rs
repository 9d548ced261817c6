//! Errors of SQLite and PostgreSQL, in common classes; the texts contain the remedies.

use std::convert::Infallible;
use std::error::Error;
use std::path::PathBuf;

use base::model::ids::{RepoId, TreeId};
use base::model::time::Timestamp;

/// Maximum length of the text in a [`NulText`], in characters.
const MAX_EXCERPT: usize = 40;

/// The error of the driver, which is the `source()` of a [`DbError`].
pub type Source = Box<dyn Error + Send + Sync>;

/// Why a write was rolled back.
#[derive(Debug)]
pub enum WriteError<R> {
    Db(DbError),
    /// The write itself found a reason against it.
    Refused(R),
}

impl From<WriteError<Infallible>> for DbError {
    fn from(error: WriteError<Infallible>) -> DbError {
        match error {
            WriteError::Db(error) => error,
            WriteError::Refused(never) => match never {},
        }
    }
}

impl<R> From<DbError> for WriteError<R> {
    fn from(error: DbError) -> WriteError<R> {
        WriteError::Db(error)
    }
}

/// A text with a NUL character. PostgreSQL cannot store it, and SQLite refuses it too, so that both databases accept the
/// same rows. The field is the beginning of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text '{}' contains a NUL character, which the database cannot store; remove it", .0.escape_debug())]
pub struct NulText(String);

impl NulText {
    /// Returns the text of a parameter.
    pub(super) fn check(text: &str) -> Result<&str, NulText> {
        if text.contains('\0') { Err(NulText(text.chars().take(MAX_EXCERPT).collect())) } else { Ok(text) }
    }
}

/// An error of the database. No text contains a password.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("the database {path} is locked by another process; stop the other rstudio-pm that uses it")]
    Locked { path: PathBuf },
    #[error("no space left for the database {database}; free some space and try again: {source}")]
    Full {
        /// The file, or the server and database.
        database: String,
        #[source]
        source: Source,
    },
    #[error(
        "cannot reach PostgreSQL at {servers} (database '{database}'); check {property}, the server and the firewall: {source}"
    )]
    Unreachable {
        /// The property that names the server.
        property: &'static str,
        /// Host and port of each server.
        servers: String,
        database: String,
        #[source]
        source: Source,
    },
    #[error("the database {database} is read-only: {reason}")]
    ReadOnly {
        database: String,
        /// The reason and the remedy.
        reason: String,
    },
    #[error(
        "PostgreSQL refused user '{user}' at {servers}; check the user and password of {property} or Postgres.Password, and pg_hba.conf: {source}"
    )]
    Authentication {
        /// The property that names the user.
        property: &'static str,
        servers: String,
        user: String,
        #[source]
        source: Source,
    },
    /// The server has no such database.
    #[error(
        "database '{database}' does not exist on PostgreSQL at {servers}; create it first: createdb -h {host} -p {port} {database}"
    )]
    DatabaseMissing {
        servers: String,
        /// Host name, address or socket directory of the first server.
        host: String,
        port: u16,
        database: String,
    },
    #[error("no TLS connection to PostgreSQL at {servers} (sslmode={mode}): {reason}")]
    Tls {
        servers: String,
        /// The `sslmode` of the connection.
        mode: &'static str,
        reason: String,
    },
    /// The connection goes through a pooler, and the operation needs a session of PostgreSQL.
    #[error("{property} is the address of a connection pooler; this needs the address of PostgreSQL itself")]
    Pooler {
        /// The property that names the pooler.
        property: &'static str,
    },
    /// `search_path` names no schema in which tables can be created.
    #[error(
        "search_path '{path}' of {property} names no schema this user may create tables in; create it first: CREATE SCHEMA {path} AUTHORIZATION {user}"
    )]
    SearchPath {
        /// The property that contains the URL.
        property: &'static str,
        /// The value of `search_path`, as written in the URL.
        path: String,
        user: String,
    },
    /// `Postgres.URL` or one of its parts cannot be used. The text never repeats the URL.
    #[error("{property}: {reason}")]
    Url { property: &'static str, reason: String },
    /// A newer version of the program has migrated this database.
    #[error(
        "the database {database} was made by version {made_by} (schema {found}; this version supports {supported}, and cannot work with migration {migration}); restore a backup or upgrade rstudio-pm"
    )]
    TooNew {
        database: String,
        /// The program version that ran the newest migration.
        made_by: String,
        /// The newest migration of the database.
        found: i64,
        /// The newest migration of this program.
        supported: i64,
        /// Number and name of the first migration that this program cannot work with.
        migration: String,
    },
    /// The database has another history of migrations.
    #[error(
        "the database {database} was made by version {made_by}, which is not a release (its migration {number} is '{found}', \
         not '{expected}'); nothing can convert it: use an empty database"
    )]
    OtherSchema { database: String, made_by: String, number: i64, found: String, expected: &'static str },
    /// Servers use a PostgreSQL database that is to be copied.
    #[error(
        "a server uses the database {database}, connected from {clients}; stop every server that uses it: systemctl stop \
         rstudio-pm"
    )]
    ServerActive {
        database: String,
        /// Addresses of the connected servers.
        clients: String,
    },
    /// The PostgreSQL database is being copied to another provider.
    #[error(
        "the database {database} is being migrated to another provider; start the server when that is done"
    )]
    Copying { database: String },
    #[error("there is no database to migrate: {database} has no tables of rstudio-pm")]
    NothingToCopy {
        /// The directory, or the server and database.
        database: String,
    },
    /// The schema of the database to copy is outdated.
    #[error(
        "the database {database} has schema {found}, and this version of rstudio-pm has {supported}; start the server once, \
         which updates it, stop it, and try again"
    )]
    OldSchema { database: String, found: i64, supported: i64 },
    /// The database to fill has tables already.
    #[error(
        "the database {database} is not blank ({found}), and nothing is overwritten; move it away, or configure another \
         one"
    )]
    Occupied { database: String, found: String },
    /// The PostgreSQL database has an encoding other than UTF-8.
    #[error(
        "the database {database} has the encoding {encoding}; create one with UTF-8: createdb --encoding=UTF8 \
         --template=template0"
    )]
    Encoding { database: String, encoding: String },
    /// Servers that use the database could not work with the result of the migration.
    #[error(
        "{database} needs migration {number} ({name}), with which the running servers {servers} cannot work; nothing was changed; stop them, or set them offline until they are upgraded: rspm cluster offline --nodes={servers}"
    )]
    OthersOnline {
        database: String,
        number: i64,
        name: &'static str,
        /// The names of the servers, separated by commas.
        servers: String,
    },
    /// A running program could not work with the result of the migration.
    #[error(
        "{database} needs migration {number} ({name}), which is incompatible with the running version; restart the server to run it"
    )]
    NotOnline { database: String, number: i64, name: &'static str },
    #[error("{path} is not a SQLite database or is damaged; restore it from a backup or move it away")]
    NotADatabase {
        path: PathBuf,
        #[source]
        source: Source,
    },
    /// `SQLite.Dir` is on a file system with unreliable locks.
    #[error(
        "SQLite.Dir {path} is on {kind}, where unreliable file locks can corrupt a database; use a local disk, or \
         PostgreSQL"
    )]
    RemoteFileSystem {
        path: PathBuf,
        /// `NFS`, `CIFS` …
        kind: &'static str,
    },
    #[error("cannot write SQLite.Dir {path} as user {user}: {source}; fix it with: {remedy}")]
    Unwritable {
        path: PathBuf,
        /// User name or number.
        user: String,
        /// The command that fixes it.
        remedy: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Nul(#[from] NulText),
    #[error("the database refused a conflicting row: {0}")]
    Conflict(String),
    #[error("tree {tree} is being written by job {job}; try again when that job has ended")]
    Busy {
        tree: TreeId,
        /// The job that claimed it.
        job: i64,
    },
    #[error("another transaction has locked a row of the database; try again: {0}")]
    RowLocked(#[source] Source),
    #[error("tree {0} has no pending step")]
    NothingPending(TreeId),
    #[error("the repository {0} was deleted in the meantime")]
    NoRepo(RepoId),
    /// The source, named as it was, was deleted after the caller had read it.
    #[error("the source '{0}' was deleted in the meantime")]
    SourceDeleted(String),
    /// This machine's clock is ahead of the database host's by more than is allowed for a publish.
    #[error(
        "nothing can be published, because this machine's clock ({now}) is over {minutes} minutes ahead of the database \
         server's ({database}); correct the one that is wrong (timedatectl)"
    )]
    ClockAhead {
        /// The time of this machine.
        now: Timestamp,
        /// The time of the database's host.
        database: Timestamp,
        /// The allowed difference in minutes.
        minutes: u64,
    },
    #[error("{0}; correct the clock, or, if it is correct, run: {command}", command = .0.command())]
    Skew(#[from] super::skew::Skew),
    /// The connection was lost at COMMIT and the server cannot report the outcome.
    #[error(
        "the connection was lost while committing and the outcome is unknown; check the result before trying again: {0}"
    )]
    UnknownOutcome(#[source] Source),
    #[error("the connection to the database was lost: {0}")]
    Lost(#[source] Source),
    /// A row has an unexpected value, or is missing.
    #[error(
        "column {column} of a row contains {found} instead of {expected}; check the database (rspm scrub --database) or \
         restore it from a backup"
    )]
    Shape {
        /// Position from 0.
        column: usize,
        found: &'static str,
        expected: &'static str,
    },
    /// An error of the caller, which rolls the transaction back: see [`DbError::refuse`].
    #[error("{0}")]
    Refused(#[source] Source),
    #[error("the database is closed")]
    Closed,
    #[error("database {database}: {source}")]
    Driver {
        database: String,
        #[source]
        source: Source,
    },
}

impl DbError {
    /// Wraps an error of the caller, to roll the transaction back with it.
    pub fn refuse(reason: impl Error + Send + Sync + 'static) -> DbError {
        DbError::Refused(Box::new(reason))
    }

    /// Returns the caller's error if it is of type `E`, otherwise the unchanged error.
    pub fn into_refusal<E: Error + 'static>(self) -> Result<E, DbError> {
        match self {
            DbError::Refused(reason) => reason.downcast::<E>().map(|e| *e).map_err(DbError::Refused),
            other => Err(other),
        }
    }
}
