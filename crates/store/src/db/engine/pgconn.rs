//! One connection to PostgreSQL: statements, transactions, COPY, notifications.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::conn::insertion;
use super::migrate::{self, Migration, MigrationConn, MigrationMode};
use super::pgconnect::{self, NotificationSender, SessionKind};
use super::pgerror::{check_writable, map};
use super::schema::Schema;
use super::target::PostgresTarget;
use super::workers::TransactionKind;
use super::{Conn, DbError, Row, Value, pgwire};
use base::model::time::Timestamp;

/// Number of statements that are sent before the first result is awaited.
const PIPELINE: usize = 512;

/// One connection and the runtime that drives it.
pub(in crate::db) struct PgConn {
    // Declared before the runtime, because dropping it needs the runtime.
    client: Client,
    runtime: tokio::runtime::Runtime,
    /// The prepared statements by their texts; those of one text differ in the types of their parameters.
    statements: HashMap<String, Vec<Statement>>,
    /// With a pooler, the statements that each transaction begins with. Prepared statements are then closed with the
    /// transaction, because another session may have one of the same name.
    pooled_settings: Option<String>,
    target: Arc<PostgresTarget>,
}

impl PgConn {
    /// Connects. Must not run on an async thread.
    pub(in crate::db) fn open(
        target: &Arc<PostgresTarget>,
        notifications: Option<NotificationSender>,
    ) -> Result<PgConn, DbError> {
        let (runtime, client, kind) = pgconnect::connect(target, notifications)?;
        let pooled_settings = match kind {
            SessionKind::Dedicated => None,
            SessionKind::Pooled => Some(pgconnect::transaction_settings(target)),
        };
        let statements = HashMap::new();
        Ok(PgConn { client, runtime, statements, pooled_settings, target: Arc::clone(target) })
    }

    /// Returns whether the connection goes through a pooler, so that notifications do not arrive.
    pub(in crate::db) fn is_pooled(&self) -> bool {
        self.pooled_settings.is_some()
    }

    /// Runs queries outside of the caller's transactions; with a pooler, in a separate transaction.
    pub(in crate::db) fn run_outside<T>(
        &mut self,
        f: impl FnOnce(&mut PgConn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        if !self.is_pooled() {
            return f(self);
        }
        self.begin(TransactionKind::Read)?;
        let result = f(self);
        self.rollback();
        result
    }

    /// Begins a transaction with one message to the server.
    fn begin_with(&mut self, begin: &str, suffix: &str) -> Result<(), DbError> {
        let batch = match &self.pooled_settings {
            None => format!("{begin}{suffix}"),
            Some(settings) => format!("{begin}; {settings}{suffix}"),
        };
        self.execute_batch(&batch)
    }

    pub(in crate::db) fn commit(&mut self) -> Result<(), DbError> {
        self.end_statements();
        self.execute_batch("COMMIT")
    }

    /// With a pooler, closes the prepared statements within the transaction that created them.
    fn end_statements(&mut self) {
        if self.is_pooled() {
            self.statements.clear();
        }
    }

    /// Returns the runtime that drives the connection, the connection, and the parameters that errors name.
    pub(in crate::db) fn parts(&self) -> (&tokio::runtime::Runtime, &Client, &PostgresTarget) {
        (&self.runtime, &self.client, &self.target)
    }

    /// Checks that new transactions may write.
    pub(in crate::db) fn require_writable(&mut self) -> Result<(), DbError> {
        let target = Arc::clone(&self.target);
        check_writable(self, &target)
    }

    /// Subscribes to the notifications of this schema: a database may contain several installations.
    pub(in crate::db) fn listen(&mut self) -> Result<(), DbError> {
        const CHANNEL: &str = "SELECT 'rspm_' || to_hex(hashtext(current_schema()))";
        let shape = DbError::Shape { column: 0, found: "no row", expected: "the name of the channel" };
        let channel = self.query(CHANNEL, &[])?.pop().ok_or(shape)?.text(0)?;
        // The name distinguishes this session from others in pg_stat_activity.
        self.execute_batch(&format!("SET application_name = 'rstudio-pm link'; LISTEN {channel}"))
    }

    /// Sends a notification on the channel of this schema, at the commit if in a transaction.
    pub(in crate::db) fn notify(&mut self, payload: &str) -> Result<(), DbError> {
        const NOTIFY: &str =
            "SELECT CAST(pg_notify('rspm_' || to_hex(hashtext(current_schema())), $1) AS TEXT)";
        self.query(NOTIFY, &[payload.into()]).map(drop)
    }

    /// Runs `f` in one transaction, once. A statement waits at most two seconds for a lock.
    pub(in crate::db) fn transact<T>(
        &mut self,
        f: impl Fn(&mut dyn Conn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.begin_with("BEGIN", "; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'")?;
        match f(self) {
            Ok(result) => self.commit().map(|()| result),
            Err(error) => {
                // If this fails, the connection is closed.
                self.rollback();
                Err(error)
            }
        }
    }

    /// Runs a future while notifications are received.
    pub(in crate::db) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(in crate::db) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(in crate::db) fn execute_batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|e| map(&self.target, e))
    }

    /// Rolls back. Returns false if the transaction may still be open; the connection must be dropped then.
    pub(in crate::db) fn rollback(&mut self) -> bool {
        self.end_statements();
        self.execute_batch("ROLLBACK").is_ok()
    }

    /// Begins a transaction and returns its server-side id, 0 for a read.
    pub(in crate::db) fn begin(&mut self, kind: TransactionKind) -> Result<i64, DbError> {
        // Interactive writes run one at a time across all nodes, as on SQLite, so that a closure may write values that
        // depend on its reads. The lock is specific to this schema.
        const LOCK: &str =
            "SELECT txid_current() FROM pg_advisory_xact_lock(1381191757, hashtext(current_schema()))";
        const ID: &str = "SELECT txid_current()";
        match kind {
            TransactionKind::Read => {
                self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "").map(|()| 0)
            }
            TransactionKind::Write | TransactionKind::Bulk => {
                self.begin_with("BEGIN", "")?;
                let rows = self.query(if kind == TransactionKind::Write { LOCK } else { ID }, &[])?;
                rows.first().map_or(Ok(0), |row| row.int(0))
            }
        }
    }

    pub(in crate::db) fn migrate(&mut self, schema: Schema, mode: MigrationMode) -> Result<(), DbError> {
        self.begin(TransactionKind::Write)?;
        match migrate::run(self, schema, mode) {
            Ok(()) => self.commit(),
            Err(error) => {
                // If this fails, the caller drops the session, and the transaction with it.
                self.rollback();
                Err(error)
            }
        }
    }

    /// Prepares a statement for parameters of these types, or returns an earlier one. The server infers a type that is
    /// unknown because the parameter is NULL.
    fn prepare(&mut self, sql: &str, types: &[Type]) -> Result<Statement, DbError> {
        let is_for = |statement: &&Statement| {
            types.iter().zip(statement.params()).all(|(a, b)| a == b || *a == Type::UNKNOWN)
        };
        if let Some(statement) = self.statements.get(sql).and_then(|all| all.iter().find(is_for)) {
            return Ok(statement.clone());
        }
        let prepared = self.runtime.block_on(self.client.prepare_typed(sql, types));
        let statement = prepared.map_err(|e| map(&self.target, e))?;
        self.statements.entry(sql.to_owned()).or_default().push(statement.clone());
        Ok(statement)
    }

    /// Runs a statement and returns the number of affected rows.
    fn run(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let statement = self.prepare(sql, &types(params))?;
        let run = self.client.execute_raw(&statement, params);
        self.runtime.block_on(run).map_err(|e| map(&self.target, e))
    }

    /// Prepares a statement for rows of parameters.
    fn prepare_many(&mut self, sql: &str, rows: &[Vec<Value>]) -> Result<Statement, DbError> {
        let types: Vec<Type> = (0..rows.first().map_or(0, Vec::len))
            .map(|column| pgwire::parameter_type(rows.iter().filter_map(|row| row.get(column))))
            .collect();
        self.prepare(sql, &types)
    }
}

fn types(params: &[Value]) -> Vec<Type> {
    params.iter().map(|value| pgwire::parameter_type([value])).collect()
}

fn refs(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|v| v as &(dyn ToSql + Sync)).collect()
}

fn convert(target: &PostgresTarget, row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |column| row.try_get::<_, Value>(column).map_err(|e| map(target, e));
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}

impl Conn for PgConn {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let statement = self.prepare(sql, &types(params))?;
        let (client, target) = (&self.client, &self.target);
        self.runtime.block_on(async {
            let rows = client.query_raw(&statement, params).await.map_err(|e| map(target, e))?;
            pin_mut!(rows);
            while let Some(row) = rows.try_next().await.map_err(|e| map(target, e))? {
                each(convert(target, &row)?)?;
            }
            Ok(())
        })
    }

    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError> {
        if params.is_empty() {
            return Ok(Vec::new());
        }
        let statement = self.prepare_many(sql, params)?;
        let (client, target) = (&self.client, &self.target);
        let params: Vec<_> = params.iter().map(|p| refs(p)).collect();
        let mut results = Vec::with_capacity(params.len());
        for chunk in params.chunks(PIPELINE) {
            let queries = try_join_all(chunk.iter().map(|p| client.query(&statement, p)));
            for rows in self.runtime.block_on(queries).map_err(|e| map(target, e))? {
                results.push(rows.iter().map(|row| convert(target, row)).collect::<Result<_, _>>()?);
            }
        }
        Ok(results)
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.run(sql, params)
    }

    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError> {
        if params.is_empty() {
            return Ok(0);
        }
        let statement = self.prepare_many(sql, params)?;
        let mut affected = 0;
        for chunk in params.chunks(PIPELINE) {
            let runs = try_join_all(chunk.iter().map(|p| self.client.execute_raw(&statement, p)));
            affected += self.runtime.block_on(runs).map_err(|e| map(&self.target, e))?.iter().sum::<u64>();
        }
        Ok(affected)
    }

    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError> {
        match rows {
            [] => return Ok(()),
            [row] => return self.run(&insertion(table, columns), row).map(drop),
            _ => {}
        }
        let statement =
            self.prepare(&format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", ")), &[])?;
        let bytes = pgwire::copy(rows)?.freeze();
        let client = &self.client;
        let result = self.runtime.block_on(async {
            let sink = client.copy_in(&statement).await?;
            pin_mut!(sink);
            sink.send(bytes).await?;
            sink.finish().await
        });
        result.map(drop).map_err(|e| map(&self.target, e))
    }

    fn announce(&mut self) -> Result<(), DbError> {
        // Delivered if and only if this transaction is committed.
        self.notify("catalog")
    }

    fn announce_nodes(&mut self) -> Result<(), DbError> {
        self.notify("nodes")
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
        const TABLE: &str = "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() \
            AND CAST(table_name AS TEXT) = $1";
        Ok(!self.query(TABLE, &[name.into()])?.is_empty())
    }

    fn script_for(&self, migration: &Migration) -> &'static str {
        migration.postgres
    }

    fn database_name(&self) -> String {
        self.target.database_name()
    }
}
