//! SQLite and PostgreSQL behind one set of SQL statements.
//!
//! Each file is named after its subject, with free functions over `&mut dyn Conn`; only drivers depend on the database.
//!
//! `Db` offers `read`, `write` and `bulk`; the closure is plain synchronous code and runs outside the async threads.
//! Only the driver files, and `transfer`, contain DDL types, error codes, COPY and pragmas. Every database test runs on
//! both engines; a test reads every statement and checks that it is portable.

mod engine;
mod tables;
pub mod transfer;

pub use engine::*;
pub use tables::*;

pub use conn::{Conn, Row, Value};
pub use error::{DbError, WriteError};

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::OpenFlags;

use base::config::{Config, Provider};
use base::model::digest::Fingerprint;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use link::Link;
use migrate::{MigrationConn, MigrationMode};
use page_checksum::Pages;
use postgres::{PgSession, Postgres};
use schema::Schema;
use sqlite::Sqlite;
use target::PostgresTarget;
use transfer::sqlite_file;
use workers::{TransactionKind, WorkerPool};

enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// A handle of the database; clones share it. Dropping the last handle closes the database.
#[derive(Clone)]
pub struct Db {
    engine: Arc<Engine>,
}

impl Db {
    /// Opens and migrates the configured database. Blocks: call it before the runtime starts or on a blocking thread.
    ///
    /// # Errors
    /// One variant for each problem that an administrator can fix; the text contains the remedy.
    pub fn open(config: &Config) -> Result<Db, DbError> {
        Db::open_as(config, Schema::Core, None, MigrationMode::Exclusive)
    }

    /// Opens the database of usage data, which several processes may use at the same time. Blocks.
    pub fn open_usage(config: &Config) -> Result<Db, DbError> {
        Db::open_as(config, Schema::Usage, None, MigrationMode::Exclusive)
    }

    /// Like [`Db::open`], while another process uses the database: only runs migrations that the other process can work
    /// with. `lock` is the result of [`Db::lock`] in the other process.
    ///
    /// # Errors
    /// As [`Db::open`], and [`DbError::NotOnline`].
    pub fn open_online(config: &Config, lock: Option<OwnedFd>) -> Result<Db, DbError> {
        Db::open_as(config, Schema::Core, lock, MigrationMode::Online)
    }

    fn open_as(
        config: &Config,
        schema: Schema,
        inherited: Option<OwnedFd>,
        mode: MigrationMode,
    ) -> Result<Db, DbError> {
        let wait = config.database.connection_timeout;
        let engine = match config.database.provider {
            Provider::Sqlite => {
                let dir = &config.sqlite.dir;
                let lock = match schema {
                    Schema::Core => Some(sqlite_dir::lock(dir, inherited)?),
                    Schema::Usage => None,
                };
                let file = sqlite_dir::create_file(dir, schema)?;
                if lock.is_some()
                    && mode == MigrationMode::Exclusive
                    && let Err(error) = sqlite_file::add_checksums(&file, wait)
                {
                    tracing::warn!(%error, "the pages of the database have no checksums, and could not be given some");
                }
                Engine::Sqlite(Sqlite::open(schema, &file, lock, wait, mode)?)
            }
            Provider::Postgres => {
                let target = PostgresTarget::parse(&config.postgres, schema, wait)?;
                let listen = PostgresTarget::parse_listen(&config.postgres, wait)?;
                Engine::Postgres(Postgres::open(schema, target, listen, mode)?)
            }
        };
        Ok(Db { engine: Arc::new(engine) })
    }

    /// Returns a duplicate of the lock that excludes other processes, for a process that takes over; both then hold it.
    /// `None` if the database has no such lock.
    pub fn lock(&self) -> std::io::Result<Option<OwnedFd>> {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.lock(),
            Engine::Postgres(_) => Ok(None),
        }
    }

    /// Releases the lock after another process has taken it over. The database stays open in this process.
    pub fn release_lock(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.release_lock(),
            Engine::Postgres(_) => {}
        }
    }

    /// Inspects the configured database without creating or changing it; returns a description in one line. Blocks.
    ///
    /// # Errors
    /// As [`Db::open`], except for the lock, which a running daemon holds; [`DbError::Skew`] or [`DbError::ClockAhead`]
    /// if the clock of this machine prevents publishing.
    pub fn check(config: &Config) -> Result<String, DbError> {
        let inspection = Db::inspect(config, Schema::Core)?.require_usable()?;
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        match inspection.published.and_then(|row| skew::between(row, now)) {
            Some(skew) => Err(skew.into()),
            None => Ok(inspection.line),
        }
    }

    /// Like [`Db::check`], for the database of usage data.
    pub fn check_usage(config: &Config) -> Result<String, DbError> {
        Db::inspect(config, Schema::Usage)?.require_usable().map(|inspection| inspection.line)
    }

    /// Returns the schema and the identity of the configured database without creating or changing anything. Blocks.
    pub fn database_state(config: &Config) -> Result<DatabaseState, DbError> {
        Db::inspect(config, Schema::Core).map(|inspection| inspection.state)
    }

    /// Returns the used part of the notification queue in per mille (`pg_notification_queue_usage()`, PostgreSQL manual
    /// 9.26); `None` with SQLite, which has no queue. All databases of a PostgreSQL server share the queue; a transaction
    /// that notifies fails at its commit if the queue is full. Blocks.
    pub fn notification_queue_usage(config: &Config) -> Result<Option<i64>, DbError> {
        const USAGE: &str = "SELECT CAST(pg_notification_queue_usage() * 1000 AS BIGINT)";
        if config.database.provider == Provider::Sqlite {
            return Ok(None);
        }
        PgSession::unlocked(config, Schema::Core)?
            .connection()?
            .run_outside(|connection| connection.query(USAGE, &[])?.first().map(|row| row.int(0)).transpose())
    }

    /// Returns the lead of this machine's clock over the clock of the database's host, in microseconds; `None` with SQLite,
    /// which has no other host. Blocks.
    pub fn clock_difference(config: &Config) -> Result<Option<i64>, DbError> {
        if config.database.provider == Provider::Sqlite {
            return Ok(None);
        }
        PgSession::unlocked(config, Schema::Core)?.connection()?.run_outside(|connection| {
            // The first call prepares the statement.
            connection.host_time()?;
            let before = jiff::Timestamp::now().as_microsecond();
            let host = connection.host_time()?;
            let after = jiff::Timestamp::now().as_microsecond();
            Ok(host.map(|host| before.midpoint(after).saturating_sub(host.0)))
        })
    }

    fn inspect(config: &Config, schema: Schema) -> Result<Inspection, DbError> {
        match config.database.provider {
            Provider::Sqlite => {
                let file = sqlite_dir::check(&config.sqlite.dir, schema)?;
                inspect_file(&file, schema, config.database.connection_timeout)
            }
            Provider::Postgres => {
                let mut session = PgSession::unlocked(config, schema)?;
                let database = format!("PostgreSQL database {}", session.target.database_name());
                let target = Arc::clone(&session.target);
                let connection = session.connection()?;
                connection.run_outside(|connection| {
                    let result = match schema {
                        Schema::Core => check_usable(
                            connection,
                            &target,
                            Timestamp(jiff::Timestamp::now().as_microsecond()),
                        ),
                        Schema::Usage => pgerror::check_writable(connection, &target),
                    };
                    let state = state(connection, schema)?;
                    let published = last_publish(connection, schema, state.level)?;
                    let line = state_line(&database, state.level);
                    Ok(Inspection { line, state, published, refusal: result.err() })
                })
            }
        }
    }

    /// Closes the database: pending work is finished, later calls fail with [`DbError::Closed`]. Blocks.
    pub fn close(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.close(),
            Engine::Postgres(engine) => engine.close(),
        }
    }

    /// Runs `f` on a reader, outside of the async threads, over one consistent snapshot. `f` collects its result and
    /// returns: it must not wait for a client. It may run several times on PostgreSQL.
    pub async fn read<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.run(TransactionKind::Read, f).await
    }

    /// Runs `f` in one interactive write transaction: commit on `Ok`, roll back on `Err`. Interactive writes run one at
    /// a time across all nodes. `f` may run several times on PostgreSQL (SQLSTATE 40001, 40P01): no side effects.
    pub async fn write<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.run(TransactionKind::Write, f).await
    }

    /// Like [`Db::write`], for a write that may be refused, which rolls back too.
    pub async fn write_unless_refused<T, R, F>(&self, f: F) -> Result<T, WriteError<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, WriteError<R>> + Send + 'static,
    {
        self.pool(TransactionKind::Write).run(TransactionKind::Write, f).await
    }

    /// Like [`Db::write`], with lower priority: for one chunk, at most 2,000 rows, of a long import.
    pub async fn bulk<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        self.run(TransactionKind::Bulk, f).await
    }

    async fn run<T, F>(&self, kind: TransactionKind, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        Ok(self.pool(kind).run(kind, move |c| f(c).map_err(WriteError::<Infallible>::Db)).await?)
    }

    /// Checks that the database answers, is writable, and `now` is not too far ahead of its host's clock for a publish.
    ///
    /// # Errors
    /// [`DbError::ReadOnly`] and [`DbError::ClockAhead`] if the database answers reads; any other error if it does not.
    pub async fn check_usable(&self, now: Timestamp) -> Result<(), DbError> {
        match &*self.engine {
            Engine::Sqlite(_) => self.read(|c| clock::get(c).map(drop)).await,
            Engine::Postgres(engine) => {
                let target = Arc::clone(engine.target());
                self.read(move |c| check_usable(c, &target, now)).await
            }
        }
    }

    /// Returns the connection to the other servers on this database; `None` with SQLite, which has one server. The
    /// connection stays open while the [`Link`] exists, also after [`Db::close`].
    pub fn link(&self) -> Option<Link> {
        match &*self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(engine) => engine.link(),
        }
    }

    /// Updates the planner statistics after a long import, before the publish: until its next autovacuum, about a
    /// minute later, PostgreSQL would use the statistics of the empty tables.
    pub async fn analyze(&self) -> Result<(), DbError> {
        const ANALYZE: [&str; 5] =
            ["ANALYZE package", "ANALYZE release", "ANALYZE record", "ANALYZE file", "ANALYZE life"];
        self.bulk(|c| ANALYZE.iter().try_for_each(|table| c.execute(table, &[]).map(drop))).await
    }

    fn pool(&self, kind: TransactionKind) -> &WorkerPool {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.pool(kind),
            Engine::Postgres(engine) => engine.pool(kind),
        }
    }
}

/// The state of a database before this program changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseState {
    /// The newest migration, 0 for an empty database.
    pub level: i64,
    /// Its identity, if the schema has one.
    pub identity: Option<Identity>,
    /// The fingerprint of its encryption key, if it has one.
    pub encryption_key: Option<Fingerprint>,
    pub classes: Vec<storage_class::StorageClassRow>,
    /// Names of the storage directories with objects that its rows refer to.
    pub directories: Vec<String>,
}

struct Inspection {
    line: String,
    state: DatabaseState,
    /// The time of the clock row: nothing can be published at or before it.
    published: Option<Timestamp>,
    /// The reason why PostgreSQL refuses writes, or why a publish at this machine's time would be refused.
    refusal: Option<DbError>,
}

impl Inspection {
    fn require_usable(mut self) -> Result<Inspection, DbError> {
        match self.refusal.take() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// Checks that PostgreSQL may be written, and that `now` is not too far ahead of its host's clock for a publish.
fn check_usable(c: &mut dyn Conn, target: &PostgresTarget, now: Timestamp) -> Result<(), DbError> {
    pgerror::check_writable(c, target)?;
    clock::check_host_time(c, now)
}

fn state(c: &mut dyn MigrationConn, schema: Schema) -> Result<DatabaseState, DbError> {
    let level = migrate::level(c, schema)?;
    let mut state = DatabaseState { level, ..DatabaseState::default() };
    if schema == Schema::Core && level > 0 {
        state.directories = blob::directories(c)?;
        if c.has_table("identity")? {
            state.identity = Some(identity::get(c)?);
        }
        if c.has_table("encryption_key")? {
            state.encryption_key = encryption_key::get(c)?;
        }
        if c.has_table("storage_class")? {
            state.classes = storage_class::all(c)?;
        }
    }
    Ok(state)
}

fn inspect_file(file: &Path, schema: Schema, wait: Duration) -> Result<Inspection, DbError> {
    let database = format!("SQLite database {}", file.display());
    let blank =
        |line| Ok(Inspection { line, state: DatabaseState::default(), published: None, refusal: None });
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return blank(format!("{database} does not exist yet; it is created at the first start"));
        }
        Err(error) => return Err(sqlite_dir::unwritable(file, error)),
        Ok(metadata) if metadata.len() == 0 => return blank(state_line(&database, 0)),
        Ok(_) => {}
    }
    let mut session = open_read_only(file, wait)?;
    let state = state(&mut session, schema)?;
    let published = last_publish(&mut session, schema, state.level)?;
    Ok(Inspection { line: state_line(&database, state.level), state, published, refusal: None })
}

/// Opens a file of SQLite without changing it.
fn open_read_only(file: &Path, wait: Duration) -> Result<sqlite::SqliteConn, DbError> {
    // Without a WAL file the database file is complete and unused; opened without `immutable`, SQLite would create one.
    let wal = file.with_extension("db-wal");
    let path =
        if wal.exists() { file.to_owned() } else { format!("file:{}?immutable=1", uri_path(file)).into() };
    let mut session = sqlite::connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, Pages::Trusted, wait)?;
    session.set_path(file);
    Ok(session)
}

/// Returns the time of the clock row, if there is one.
fn last_publish(c: &mut dyn Conn, schema: Schema, level: i64) -> Result<Option<Timestamp>, DbError> {
    if schema != Schema::Core || level == 0 {
        return Ok(None);
    }
    Ok(Some(clock::get(c)?.at))
}

fn uri_path(file: &Path) -> String {
    file.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn state_line(database: &str, level: i64) -> String {
    match level {
        0 => format!("{database} is empty; its schema is created at the first start"),
        level => format!("{database} answers (schema {level})"),
    }
}
