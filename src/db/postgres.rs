//! PostgreSQL: connections on dedicated threads, pipelined statements, COPY, retries and the outcome of lost commits.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::listen::{self, Listener};
use super::migrate::{self, Migration, MigrationConn, MigrationMode};
use super::pgerror::{map, retryable, writable};
use super::schema::Schema;
use super::target::Target;
use super::workers::{Opener, Session, TransactionBody, TransactionKind, WorkerPool};
use super::{Conn, DbError, Row, Value, pgconnect, pgwire};
use crate::metrics;
use crate::model::time::Timestamp;

/// Statements sent before the first result is awaited.
const PIPELINE: usize = 512;
/// Maximum number of attempts of a transaction that the server aborts as retryable.
const TRIES: u32 = 10;

/// An open PostgreSQL database.
pub(super) struct Postgres {
    read: WorkerPool,
    write: WorkerPool,
    bulk: WorkerPool,
    target: Arc<Target>,
    /// Started by the first call of [`Postgres::wait_for_remote_publish`].
    listener: OnceLock<Option<Listener>>,
}

impl Postgres {
    pub(super) fn open(schema: Schema, target: Target, mode: MigrationMode) -> Result<Postgres, DbError> {
        let mut first = PgSession::new(Arc::new(target));
        let target = Arc::clone(&first.target);
        let target_of_thread = Arc::clone(&target);
        let connected = first.connection()?;
        writable(connected, &target)?;
        connected.migrate(schema, mode)?;
        drop(first);
        let database = target.database_name();
        let opener: Opener =
            Arc::new(move || Ok(Box::new(PgSession::new(Arc::clone(&target))) as Box<dyn Session>));
        let start = |name, threads| {
            WorkerPool::start(name, threads, metrics::database_queue(schema.as_str(), name), &opener)
                .map_err(|e| DbError::Driver { database: database.clone(), source: e.into() })
        };
        Ok(Postgres {
            read: start("read", schema.readers())?,
            write: start("write", 1)?,
            bulk: start("bulk", 1)?,
            target: target_of_thread,
            listener: OnceLock::new(),
        })
    }

    /// Waits until another node may have published.
    pub(super) async fn wait_for_remote_publish(&self) {
        match self.listener.get_or_init(|| Listener::start(Arc::clone(&self.target)).ok()) {
            Some(listener) => listener.wait().await,
            None => listen::poll_interval().await,
        }
    }

    pub(super) fn pool(&self, kind: TransactionKind) -> &WorkerPool {
        match kind {
            TransactionKind::Read => &self.read,
            TransactionKind::Write => &self.write,
            TransactionKind::Bulk => &self.bulk,
        }
    }

    /// The server and the parameters of connections.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(super) fn close(&self) {
        self.read.close();
        self.write.close();
        self.bulk.close();
        if let Some(listener) = self.listener.get().and_then(Option::as_ref) {
            listener.close();
        }
    }
}

/// The connection of a thread, reopened after it was lost.
pub(super) struct PgSession {
    pub(super) target: Arc<Target>,
    connection: Option<PgConn>,
}

impl PgSession {
    pub(super) fn new(target: Arc<Target>) -> PgSession {
        PgSession { target, connection: None }
    }

    /// Returns the connection, reopened if it is known to be closed.
    pub(super) fn connection(&mut self) -> Result<&mut PgConn, DbError> {
        if self.connection.as_ref().is_none_or(|c| c.client.is_closed()) {
            self.connection = None;
            return Ok(self.connection.insert(PgConn::open(Arc::clone(&self.target))?));
        }
        self.connection.as_mut().ok_or(DbError::Closed)
    }

    /// Tries the transaction once. `Ok(None)` requests another attempt.
    fn attempt(
        &mut self,
        kind: TransactionKind,
        work: &mut TransactionBody<'_>,
    ) -> Result<Option<()>, DbError> {
        let c = self.connection()?;
        let id = match c.begin(kind) {
            Ok(id) => id,
            // The server closed the idle connection: nothing was sent in this transaction yet.
            Err(DbError::Lost(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match work(c) {
            Ok(()) => {}
            Err(error) => {
                if !c.rollback() {
                    self.connection = None;
                }
                let again = matches!(&error, DbError::Driver { source, .. } if retryable(source.as_ref()))
                    || (kind == TransactionKind::Read && matches!(error, DbError::Lost(_)));
                return if again { Ok(None) } else { Err(error) };
            }
        }
        match c.execute_batch("COMMIT") {
            Ok(()) => Ok(Some(())),
            Err(DbError::Lost(_)) if kind == TransactionKind::Read => Ok(None),
            Err(DbError::Lost(lost)) => self.commit_outcome(id, lost),
            Err(DbError::Driver { source, .. }) if retryable(source.as_ref()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Queries the outcome of a transaction whose COMMIT got no answer, by its transaction id.
    fn commit_outcome(&mut self, id: i64, lost: super::error::Source) -> Result<Option<()>, DbError> {
        const STATUS: &str = "SELECT txid_status(CAST($1 AS BIGINT))";
        for _ in 0..50 {
            let status = match self.connection() {
                Ok(c) => c.query(STATUS, &[id.into()]),
                Err(error) => Err(error),
            };
            match status.map(|mut rows| rows.pop().map(|mut row| row.opt_text(0))) {
                Ok(Some(Ok(Some(word)))) if word == "committed" => return Ok(Some(())),
                Ok(Some(Ok(Some(word)))) if word == "aborted" => return Ok(None),
                // The transaction is in progress, or the server is restarting.
                Ok(Some(Ok(Some(_)))) | Err(_) => std::thread::sleep(Duration::from_millis(200)),
                Ok(_) => break,
            }
        }
        Err(DbError::UnknownOutcome(lost))
    }
}

impl Session for PgSession {
    fn run(&mut self, kind: TransactionKind, mut work: TransactionBody<'_>) -> Result<(), DbError> {
        for attempt in 1..TRIES {
            if let Some(()) = self.attempt(kind, &mut work)? {
                return Ok(());
            }
            let most = 1 << attempt.min(8);
            std::thread::sleep(Duration::from_millis(rand::random_range(most / 2..=most)));
        }
        self.attempt(kind, &mut work)?.ok_or_else(|| {
            let database = self.target.database_name();
            DbError::Conflict(format!("{TRIES} attempts of a transaction on {database} failed; try again"))
        })
    }
}

/// One connection and the runtime that drives it.
pub(super) struct PgConn {
    // Declared before the runtime, because dropping it needs the runtime.
    client: Client,
    runtime: tokio::runtime::Runtime,
    statements: HashMap<String, Statement>,
    target: Arc<Target>,
}

impl PgConn {
    /// Connects. Must not run on an async thread.
    pub(super) fn open(target: Arc<Target>) -> Result<PgConn, DbError> {
        let (runtime, client) = pgconnect::connect(&target)?;
        Ok(PgConn { client, runtime, statements: HashMap::new(), target })
    }

    /// The runtime that drives the connection, the connection, and the parameters that errors name.
    pub(super) fn parts(&self) -> (&tokio::runtime::Runtime, &Client, &Target) {
        (&self.runtime, &self.client, &self.target)
    }

    /// Checks that new transactions may write.
    pub(super) fn require_writable(&mut self) -> Result<(), DbError> {
        let target = Arc::clone(&self.target);
        writable(self, &target)
    }

    fn execute_batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|e| map(&self.target, e))
    }

    /// Rolls back. Returns false if the transaction may still be open; the connection must be dropped then.
    fn rollback(&mut self) -> bool {
        self.execute_batch("ROLLBACK").is_ok()
    }

    /// Begins a transaction and returns its server-side id, 0 for a read.
    fn begin(&mut self, kind: TransactionKind) -> Result<i64, DbError> {
        // Interactive writes run one at a time across all nodes, as on SQLite, so that a closure may write values that
        // depend on its reads. The lock is specific to this schema.
        const ALONE: &str =
            "SELECT txid_current() FROM pg_advisory_xact_lock(1381191757, hashtext(current_schema()))";
        const NUMBER: &str = "SELECT txid_current()";
        match kind {
            TransactionKind::Read => {
                self.execute_batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map(|()| 0)
            }
            TransactionKind::Write | TransactionKind::Bulk => {
                self.execute_batch("BEGIN")?;
                let rows = self.query(if kind == TransactionKind::Write { ALONE } else { NUMBER }, &[])?;
                rows.first().map_or(Ok(0), |row| row.int(0))
            }
        }
    }

    fn migrate(&mut self, schema: Schema, mode: MigrationMode) -> Result<(), DbError> {
        self.begin(TransactionKind::Write)?;
        match migrate::run(self, schema, mode) {
            Ok(()) => self.execute_batch("COMMIT"),
            Err(error) => {
                // If this fails: the caller drops the session, and the transaction with it.
                self.rollback();
                Err(error)
            }
        }
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, DbError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.runtime.block_on(self.client.prepare(sql)).map_err(|e| map(&self.target, e))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn refs(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|v| v as &(dyn ToSql + Sync)).collect()
}

fn row(target: &Target, found: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |column| found.try_get::<_, Value>(column).map_err(|e| map(target, e));
    (0..found.len()).map(value).collect::<Result<_, _>>().map(Row)
}

impl Conn for PgConn {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let statement = self.prepare(sql)?;
        let (client, target) = (&self.client, &self.target);
        self.runtime.block_on(async {
            let rows = client.query_raw(&statement, params).await.map_err(|e| map(target, e))?;
            pin_mut!(rows);
            while let Some(found) = rows.try_next().await.map_err(|e| map(target, e))? {
                each(row(target, &found)?)?;
            }
            Ok(())
        })
    }

    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError> {
        let statement = self.prepare(sql)?;
        let (client, target) = (&self.client, &self.target);
        let params: Vec<_> = params.iter().map(|p| refs(p)).collect();
        let mut answers = Vec::with_capacity(params.len());
        for part in params.chunks(PIPELINE) {
            let queries = try_join_all(part.iter().map(|p| client.query(&statement, p)));
            for rows in self.runtime.block_on(queries).map_err(|e| map(target, e))? {
                answers.push(rows.iter().map(|r| row(target, r)).collect::<Result<_, _>>()?);
            }
        }
        Ok(answers)
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        let statement = self.prepare(sql)?;
        let run = self.client.execute_raw(&statement, params);
        self.runtime.block_on(run).map_err(|e| map(&self.target, e))
    }

    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError> {
        let statement = self.prepare(sql)?;
        let mut touched = 0;
        for part in params.chunks(PIPELINE) {
            let runs = try_join_all(part.iter().map(|p| self.client.execute_raw(&statement, p)));
            touched += self.runtime.block_on(runs).map_err(|e| map(&self.target, e))?.iter().sum::<u64>();
        }
        Ok(touched)
    }

    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement =
            self.prepare(&format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", ")))?;
        let bytes = pgwire::copy(rows).freeze();
        let client = &self.client;
        let copied = self.runtime.block_on(async {
            let sink = client.copy_in(&statement).await?;
            pin_mut!(sink);
            sink.send(bytes).await?;
            sink.finish().await
        });
        copied.map(drop).map_err(|e| map(&self.target, e))
    }

    fn announce(&mut self) -> Result<(), DbError> {
        // Delivered if and only if this transaction is committed.
        self.query("SELECT CAST(pg_notify('rspm_catalog', current_schema()) AS TEXT)", &[]).map(drop)
    }

    fn host_time(&mut self) -> Result<Option<Timestamp>, DbError> {
        const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
        self.query(NOW, &[])?.first().map(|row| row.time(0)).transpose()
    }
}

impl MigrationConn for PgConn {
    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        self.execute_batch(sql)
    }

    fn has_table(&mut self, name: &str) -> Result<bool, DbError> {
        const TABLE: &str = "SELECT 1 FROM information_schema.tables \
            WHERE table_schema = current_schema() AND CAST(table_name AS TEXT) = CAST($1 AS TEXT)";
        Ok(!self.query(TABLE, &[name.into()])?.is_empty())
    }

    fn pick(&self, migration: &Migration) -> &'static str {
        migration.postgres
    }

    fn database_name(&self) -> String {
        self.target.database_name()
    }
}
