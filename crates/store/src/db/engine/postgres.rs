//! PostgreSQL: connections on dedicated threads, retries and the outcome of lost commits.

use std::sync::Arc;
use std::time::Duration;

use super::invariants::Examination;
use super::link::Link;
use super::migrate::MigrationMode;
use super::pgconn::PgConn;
use super::pgerror::{check_writable, is_retryable};
use super::schema::Schema;
use super::target::{PostgresTarget, ServerLock};
use super::workers::{Opener, Session, TransactionBody, TransactionKind, WorkerPool};
use super::{Conn, DbError, WriteError, pgcheck};
use base::config::Config;
use base::metrics;

/// Maximum number of attempts of a transaction that the server aborts as retryable.
const MAX_ATTEMPTS: u32 = 10;

pub(in crate::db) struct Postgres {
    read: WorkerPool,
    write: WorkerPool,
    bulk: WorkerPool,
    target: Arc<PostgresTarget>,
    /// The connection to other servers; usage data needs none.
    link: Option<Link>,
}

impl Postgres {
    /// Opens and migrates a database. The link connects to `listen`; `None` means `target`.
    pub(in crate::db) fn open(
        schema: Schema,
        target: PostgresTarget,
        listen: Option<PostgresTarget>,
        mode: MigrationMode,
    ) -> Result<Postgres, DbError> {
        let mut first = PgSession::new(Arc::new(target));
        let target = Arc::clone(&first.target);
        let shared_target = Arc::clone(&target);
        let connection = first.connection()?;
        connection.run_outside(|connection| check_writable(connection, &target))?;
        connection.migrate(schema, mode)?;
        drop(first);
        let database = target.database_name();
        let opener: Opener =
            Arc::new(move || Ok(Box::new(PgSession::new(Arc::clone(&target))) as Box<dyn Session>));
        let failed = |e: std::io::Error| DbError::Driver { database: database.clone(), source: e.into() };
        let start = |name, threads| {
            WorkerPool::start(name, threads, metrics::database_queue(schema.as_str(), name), &opener)
                .map_err(failed)
        };
        let link = match schema {
            Schema::Core => Some(
                Link::start(listen.map_or_else(|| Arc::clone(&shared_target), Arc::new)).map_err(failed)?,
            ),
            Schema::Usage => None,
        };
        Ok(Postgres {
            read: start("read", schema.readers())?,
            write: start("write", 1)?,
            bulk: start("bulk", 1)?,
            target: shared_target,
            link,
        })
    }

    /// Returns the connection to the other servers.
    pub(in crate::db) fn link(&self) -> Option<Link> {
        self.link.as_ref().inspect(|link| link.open()).cloned()
    }

    pub(in crate::db) fn pool(&self, kind: TransactionKind) -> &WorkerPool {
        match kind {
            TransactionKind::Read => &self.read,
            TransactionKind::Write => &self.write,
            TransactionKind::Bulk => &self.bulk,
        }
    }

    pub(in crate::db) fn target(&self) -> &Arc<PostgresTarget> {
        &self.target
    }

    /// Checks tables, indexes and the rules of [`super::invariants`] on a new connection.
    pub(in crate::db) fn examine(&self) -> Result<Examination, DbError> {
        let mut session = PgSession::new(Arc::clone(&self.target));
        pgcheck::examine(session.connection()?)
    }

    pub(in crate::db) fn close(&self) {
        self.read.close();
        self.write.close();
        self.bulk.close();
    }
}

/// The connection of a thread, reopened after it was lost.
pub(in crate::db) struct PgSession {
    pub(in crate::db) target: Arc<PostgresTarget>,
    connection: Option<PgConn>,
}

impl PgSession {
    pub(in crate::db) fn new(target: Arc<PostgresTarget>) -> PgSession {
        PgSession { target, connection: None }
    }

    /// Returns a session for an inspection, which takes no lock: a server may be running.
    pub(in crate::db) fn unlocked(config: &Config, schema: Schema) -> Result<PgSession, DbError> {
        let target = PostgresTarget::parse(&config.postgres, schema, config.database.connection_timeout)?;
        Ok(PgSession::new(Arc::new(PostgresTarget { lock: ServerLock::None, ..target })))
    }

    /// Returns the connection, reopened if it is known to be closed.
    pub(in crate::db) fn connection(&mut self) -> Result<&mut PgConn, DbError> {
        if self.connection.as_ref().is_none_or(PgConn::is_closed) {
            self.connection = None;
            return Ok(self.connection.insert(PgConn::open(&self.target, None)?));
        }
        self.connection.as_mut().ok_or(DbError::Closed)
    }

    /// Tries the transaction once. `Ok(None)` requests another attempt.
    fn attempt(
        &mut self,
        kind: TransactionKind,
        work: &mut TransactionBody<'_>,
    ) -> Result<Option<()>, WriteError<()>> {
        let c = self.connection()?;
        let id = match c.begin(kind) {
            Ok(id) => id,
            // The server closed the idle connection: nothing was sent in this transaction yet.
            Err(DbError::Lost(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match work(c) {
            Ok(()) => {}
            Err(error) => {
                if !c.rollback() {
                    self.connection = None;
                }
                let may_retry = match &error {
                    WriteError::Db(DbError::Driver { source, .. }) => is_retryable(source.as_ref()),
                    WriteError::Db(DbError::Lost(_)) => kind == TransactionKind::Read,
                    WriteError::Db(_) | WriteError::Refused(()) => false,
                };
                return if may_retry { Ok(None) } else { Err(error) };
            }
        }
        match c.commit() {
            Ok(()) => Ok(Some(())),
            Err(DbError::Lost(_)) if kind == TransactionKind::Read => Ok(None),
            Err(DbError::Lost(lost)) => Ok(self.commit_outcome(id, lost)?),
            Err(DbError::Driver { source, .. }) if is_retryable(source.as_ref()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Queries the outcome of a transaction whose COMMIT was not answered, by the id of the transaction.
    fn commit_outcome(&mut self, id: i64, lost: super::error::Source) -> Result<Option<()>, DbError> {
        const STATUS: &str = "SELECT txid_status($1)";
        for _ in 0..50 {
            let status = match self.connection() {
                Ok(c) => c.run_outside(|c| c.query(STATUS, &[id.into()])),
                Err(error) => Err(error),
            };
            match status.map(|mut rows| rows.pop().map(|row| row.decode::<Option<String>>())) {
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
    fn run(&mut self, kind: TransactionKind, mut work: TransactionBody<'_>) -> Result<(), WriteError<()>> {
        for attempt in 1..MAX_ATTEMPTS {
            if let Some(()) = self.attempt(kind, &mut work)? {
                return Ok(());
            }
            let max_pause = 1 << attempt.min(8);
            std::thread::sleep(Duration::from_millis(rand::random_range(max_pause / 2..=max_pause)));
        }
        self.attempt(kind, &mut work)?.ok_or_else(|| {
            let database = self.target.database_name();
            let text = format!("{MAX_ATTEMPTS} attempts of a transaction on {database} failed; try again");
            DbError::Conflict(text).into()
        })
    }
}
