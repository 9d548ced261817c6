//! SQLite: one writer thread, which prefers an interactive to a bulk queue, several readers, WAL, a checkpoint thread.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, params_from_iter};

use super::checkpoint::{CheckpointTrigger, Checkpointer, WalLimit};
use super::conn::insertion;
use super::error::NulText;
use super::invariants::Examination;
use super::migrate::{self, Migration, MigrationConn, MigrationMode};
use super::page_checksum::{self, ComparedPages, Pages, compared_pages};
use super::schema::Schema;
use super::workers::{Opener, Session, TransactionBody, TransactionKind, WorkerPool};
use super::{Conn, DbError, Row, Value, WriteError, sqlite_dir};
use base::metrics;
use base::model::time::Timestamp;

pub(in crate::db) struct Sqlite {
    read: WorkerPool,
    write: WorkerPool,
    checkpointer: Checkpointer,
    /// The lock by which only one process uses the database. It is held while the database is open, or until
    /// another process takes over. Usage data has no lock: it is written by the process that holds the lock of the
    /// database of packages, and for some time after a hand-over also by the previous process.
    lock: Mutex<Option<std::fs::File>>,
    file: PathBuf,
    wait: Duration,
}

impl Sqlite {
    /// Opens and migrates `file`. Its directory must exist and be writable.
    pub(in crate::db) fn open(
        schema: Schema,
        file: &Path,
        lock: Option<std::fs::File>,
        wait: Duration,
        mode: MigrationMode,
    ) -> Result<Sqlite, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_READ_WRITE;
        let mut first = connect(file, flags, Pages::Marked, wait)?;
        first.migrate(schema, mode)?;
        drop(first);
        let wal = Arc::new(AtomicI32::new(0));
        let path = file.to_owned();
        let checkpointer = Checkpointer::start(file).map_err(|e| driver(file, e))?;
        let hook = checkpointer.trigger();
        let writer: Opener = Arc::new(move || {
            let mut session = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Marked, wait)?;
            let pages = Arc::clone(&wal);
            let count = move |_: &mut rusqlite::hooks::Wal, n: std::ffi::c_int| {
                pages.store(n, Ordering::Relaxed);
                Ok(())
            };
            session.connection.wal_hook(Some(count)).map_err(|e| map(&path, e))?;
            session.wal = Some(Wal { pages: Arc::clone(&wal), limit: hook.limit(), trigger: hook.clone() });
            Ok(Box::new(session) as Box<dyn Session>)
        });
        let path = file.to_owned();
        let reader: Opener = Arc::new(move || {
            let session = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, Pages::Trusted, wait)?;
            session.pragma("query_only", "ON")?;
            Ok(Box::new(session) as Box<dyn Session>)
        });
        let start = |name, threads, opener| {
            let length = metrics::database_queue(schema.as_str(), name);
            WorkerPool::start(name, threads, length, opener).map_err(|e| driver(file, e))
        };
        Ok(Sqlite {
            read: start("read", schema.readers(), &reader)?,
            write: start("write", 1, &writer)?,
            checkpointer,
            lock: Mutex::new(lock),
            file: file.to_owned(),
            wait,
        })
    }

    /// Checks the file and the rules of [`super::invariants`] on a new connection: open ones cache pages.
    pub(in crate::db) fn examine(&self) -> Result<Examination, DbError> {
        let mut session = connect(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY, Pages::Compared, self.wait)?;
        let mut examination = Examination::default();
        match session.execute_batch("BEGIN").and_then(|()| session.integrity()) {
            Ok(problems) => examination.problems = problems,
            Err(DbError::NotADatabase { source, .. }) => {
                examination.problems.push(format!("{}: {source}", self.file.display()));
                return Ok(examination);
            }
            Err(error) => return Err(error),
        }
        examination.notes.push("integrity_check and foreign_key_check were run".to_owned());
        let note = match compared_pages(&session.connection) {
            ComparedPages::All => "the checksums of the pages were compared",
            ComparedPages::Some => {
                "the checksums of the pages were compared, except of pages that another program wrote, which get a checksum \
                 when the server changes them"
            }
            ComparedPages::None => {
                "the pages of the database have no checksums, so single bytes that the disk changed are not found; a \
                 database that is restored from a backup has checksums"
            }
        };
        examination.notes.push(note.to_owned());
        examination.add_violations(&mut session)?;
        Ok(examination)
    }

    pub(in crate::db) fn pool(&self, kind: TransactionKind) -> &WorkerPool {
        match kind {
            TransactionKind::Read => &self.read,
            TransactionKind::Write | TransactionKind::Bulk => &self.write,
        }
    }

    pub(in crate::db) fn close(&self) {
        self.read.close();
        self.write.close();
        self.checkpointer.close();
        // The same process may open the database again. If unlocking fails, the lock ends with the process.
        if let Some(lock) = self.lock.lock().take() {
            let _ = lock.unlock();
        }
    }

    pub(in crate::db) fn lock(&self) -> std::io::Result<Option<OwnedFd>> {
        self.lock.lock().as_ref().map(|lock| lock.try_clone().map(OwnedFd::from)).transpose()
    }

    /// Closes the descriptor without unlocking: the other process shares the lock and would lose it.
    pub(in crate::db) fn release_lock(&self) {
        self.lock.lock().take();
    }
}

pub(in crate::db) struct SqliteConn {
    connection: Connection,
    path: PathBuf,
    /// `None` if the connection does not write.
    wal: Option<Wal>,
}

struct Wal {
    /// Its size after the last commit.
    pages: Arc<AtomicI32>,
    limit: WalLimit,
    trigger: CheckpointTrigger,
}

/// Opens a connection. `wait` is the timeout for locks of other processes; in this one, a single writer never waits.
pub(in crate::db) fn connect(
    file: &Path,
    flags: OpenFlags,
    pages: Pages,
    wait: Duration,
) -> Result<SqliteConn, DbError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = page_checksum::open_connection(file, flags, pages).map_err(|e| map(file, e))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.busy_timeout(wait).map_err(|e| map(file, e))?;
    // Without this setting, a statement is parsed and planned again whenever a parameter differs from the last one.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|e| map(file, e))?;
    let session = SqliteConn { connection, path: file.to_owned(), wal: None };
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        session.pragma("journal_mode", "WAL")?;
        session.pragma("synchronous", "FULL")?;
        session.pragma("foreign_keys", "ON")?;
        session.pragma("wal_autocheckpoint", "0")?;
        // Enough rows for useful statistics; analyzing all of them would take as long as the import.
        session.pragma("analysis_limit", "400")?;
        // The WAL of a long import is truncated after its checkpoint.
        session.pragma("journal_size_limit", "16777216")?;
    }
    Ok(session)
}

impl SqliteConn {
    /// Returns the connection, and the path that errors name.
    pub(in crate::db) fn parts(&self) -> (&Connection, &Path) {
        (&self.connection, &self.path)
    }

    pub(in crate::db) fn pragma(&self, name: &str, value: &str) -> Result<(), DbError> {
        self.connection
            .pragma_update_and_check(None, name, value, |_| Ok(()))
            .or_else(|e| match e {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                other => Err(other),
            })
            .map_err(|e| map(&self.path, e))
    }

    /// Sets the path that errors name.
    pub(in crate::db) fn set_path(&mut self, path: &Path) {
        self.path = path.to_owned();
    }

    fn execute_batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.connection.execute_batch(sql).map_err(|e| map(&self.path, e))
    }

    /// Runs a statement that each transaction has, which is prepared once.
    fn execute_prepared(&mut self, sql: &'static str) -> Result<(), DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| map(&self.path, e))?;
        statement.execute([]).map(drop).map_err(|e| map(&self.path, e))
    }

    /// Returns the problems found by SQLite's own checks.
    fn integrity(&mut self) -> Result<Vec<String>, DbError> {
        let mut problems = Vec::new();
        for mut row in self.query("PRAGMA integrity_check", &[])? {
            let text = row.text(0)?;
            if text != "ok" {
                let code = format!("error code={}", rusqlite::ffi::SQLITE_IOERR_DATA);
                problems.push(text.replace(&code, CHECKSUM_DIFFERS));
            }
        }
        for row in self.query("PRAGMA foreign_key_check", &[])? {
            let (table, number, parent): (String, Option<i64>, String) = row.decode()?;
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            problems.push(format!("row {number} of table {table} refers to a missing row of table {parent}"));
        }
        Ok(problems)
    }

    fn migrate(&mut self, schema: Schema, mode: MigrationMode) -> Result<(), DbError> {
        self.execute_batch("BEGIN EXCLUSIVE")?;
        match migrate::run(self, schema, mode) {
            Ok(()) => self.execute_batch("COMMIT"),
            Err(error) => {
                let _ = self.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }
}

impl Session for SqliteConn {
    fn run(&mut self, kind: TransactionKind, work: TransactionBody<'_>) -> Result<(), WriteError<()>> {
        self.execute_prepared(match kind {
            TransactionKind::Read => "BEGIN",
            TransactionKind::Write | TransactionKind::Bulk => "BEGIN IMMEDIATE",
        })?;
        let result = work(self).and_then(|()| Ok(self.execute_prepared("COMMIT")?));
        if result.is_err() && !self.connection.is_autocommit() {
            self.execute_batch("ROLLBACK")?;
        }
        if let Some(wal) = &mut self.wal {
            let is_disk_full = matches!(result, Err(WriteError::Db(DbError::Full { .. })));
            if wal.limit.enforce(wal.pages.load(Ordering::Relaxed), is_disk_full) {
                wal.pages.store(0, Ordering::Relaxed);
            }
            wal.trigger.notify(wal.pages.load(Ordering::Relaxed));
        }
        result
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let refused = |nul: NulText| rusqlite::Error::ToSqlConversionFailure(Box::new(nul));
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(v) => ValueRef::Integer(*v),
            Value::Text(v) => ValueRef::Text(NulText::check(v).map_err(refused)?.as_bytes()),
            Value::Bytes(v) => ValueRef::Blob(v),
        }))
    }
}

fn convert(columns: usize, row: &rusqlite::Row<'_>) -> Result<Row, DbError> {
    let mut values = Vec::with_capacity(columns);
    for column in 0..columns {
        let shape = |found| DbError::Shape { column, found, expected: "a value" };
        values.push(match row.get_ref(column).map_err(|_| shape("nothing"))? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(v) => Value::Int(v),
            ValueRef::Text(v) => {
                Value::Text(std::str::from_utf8(v).map_err(|_| shape("text that is not UTF-8"))?.to_owned())
            }
            ValueRef::Blob(v) => Value::Bytes(v.to_owned()),
            ValueRef::Real(_) => return Err(shape("a floating-point number")),
        });
    }
    Ok(Row(values))
}

fn query_each(
    path: &Path,
    statement: &mut Statement<'_>,
    params: &[Value],
    each: &mut dyn FnMut(Row) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let columns = statement.column_count();
    let mut rows = statement.query(params_from_iter(params)).map_err(|e| map(path, e))?;
    while let Some(row) = rows.next().map_err(|e| map(path, e))? {
        each(convert(columns, row)?)?;
    }
    Ok(())
}

impl Conn for SqliteConn {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        row: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| map(&self.path, e))?;
        query_each(&self.path, &mut statement, params, row)
    }

    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| map(&self.path, e))?;
        let mut results = Vec::with_capacity(params.len());
        for params in params {
            let mut rows = Vec::new();
            query_each(&self.path, &mut statement, params, &mut |row| {
                rows.push(row);
                Ok(())
            })?;
            results.push(rows);
        }
        Ok(results)
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| map(&self.path, e))?;
        let affected = statement.execute(params_from_iter(params)).map_err(|e| map(&self.path, e))?;
        Ok(affected as u64)
    }

    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| map(&self.path, e))?;
        let mut affected = 0;
        for params in params {
            affected += statement.execute(params_from_iter(params)).map_err(|e| map(&self.path, e))? as u64;
        }
        Ok(affected)
    }

    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError> {
        let sql = insertion(table, columns);
        let mut statement = self.connection.prepare_cached(&sql).map_err(|e| map(&self.path, e))?;
        for row in rows {
            statement.execute(params_from_iter(row)).map_err(|e| map(&self.path, e))?;
        }
        Ok(())
    }

    fn host_time(&mut self) -> Result<Option<Timestamp>, DbError> {
        Ok(None)
    }
}

impl MigrationConn for SqliteConn {
    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        self.execute_batch(sql)
    }

    fn has_table(&mut self, name: &str) -> Result<bool, DbError> {
        const TABLE: &str = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1";
        Ok(!self.query(TABLE, &[name.into()])?.is_empty())
    }

    fn script_for(&self, migration: &Migration) -> &'static str {
        migration.sqlite
    }

    fn database_name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The problem of a page with another checksum.
const CHECKSUM_DIFFERS: &str =
    "its checksum differs: the disk has changed it, or another program has written the file";

pub(in crate::db) fn map(path: &Path, error: rusqlite::Error) -> DbError {
    use ErrorCode as Code;
    let path = path.to_owned();
    let database = path.display().to_string();
    let nul = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<NulText>());
    if let Some(nul) = nul {
        return nul.clone().into();
    }
    let extended_code = error.sqlite_error().map(|error| error.extended_code);
    // The file of shared memory could not be enlarged.
    let is_shared_memory_full = extended_code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
    match error.sqlite_error_code() {
        _ if extended_code == Some(rusqlite::ffi::SQLITE_IOERR_DATA) => {
            DbError::NotADatabase { path, source: format!("a page: {CHECKSUM_DIFFERS}").into() }
        }
        _ if is_shared_memory_full => DbError::Full { database, source: error.into() },
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => DbError::Locked { path },
        Some(Code::DiskFull) => DbError::Full { database, source: error.into() },
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            DbError::NotADatabase { path, source: error.into() }
        }
        Some(Code::ConstraintViolation) => DbError::Conflict(error.to_string()),
        Some(Code::PermissionDenied | Code::ReadOnly | Code::CannotOpen) => {
            sqlite_dir::unwritable(&path, std::io::Error::other(error.to_string()))
        }
        Some(_) | None => DbError::Driver { database, source: error.into() },
    }
}

fn driver(path: &Path, error: std::io::Error) -> DbError {
    DbError::Driver { database: path.display().to_string(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_statement_is_not_prepared_again_for_other_parameters() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_READ_WRITE;
        let session = connect(&dir.path().join("db"), flags, Pages::Marked, Duration::from_secs(5)).unwrap();
        let connection = &session.connection;
        connection
            .execute_batch("CREATE TABLE t (a INTEGER, b INTEGER, c TEXT); CREATE INDEX i ON t (a, b);")
            .unwrap();
        for row in 0..2_000 {
            connection.execute("INSERT INTO t VALUES ($1, $2, 'x')", [row % 7, row]).unwrap();
        }
        connection.execute_batch("ANALYZE").unwrap();
        // Statistics are read when a connection opens.
        let session = connect(&dir.path().join("db"), flags, Pages::Marked, Duration::from_secs(5)).unwrap();
        let sql = "SELECT c FROM t WHERE a = $1 AND b >= $2 AND b < $3";
        let mut statement = session.connection.prepare(sql).unwrap();
        for step in 0..50 {
            statement.query_map([step % 7, step, step * 40], |_| Ok(())).unwrap().for_each(drop);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
