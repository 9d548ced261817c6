//! Connections to the databases of both schemas, each inside one transaction.

use std::path::Path;
use std::sync::Arc;

use rusqlite::OpenFlags;

use super::reading::RowSink;
use super::tables::Table;
use super::{postgres_rows, sqlite_rows};
use crate::db::migrate::{self, MigrationConn, newest_migration};
use crate::db::page_checksum::Pages;
use crate::db::pgconn::PgConn;
use crate::db::schema::Schema;
use crate::db::sqlite::{self, SqliteConn};
use crate::db::target::{PostgresTarget, ServerLock};
use crate::db::{DbError, open_read_only, sqlite_dir};
use base::config::{Config, Provider};

/// The connections that a database may have, besides the one of the transfer, while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// No other connection.
    Exclusive,
    /// Connections of servers; with SQLite, only those of this process, which is the server.
    Shared,
}

pub(super) enum TransferSession {
    Sqlite(SqliteConn),
    Postgres(PgConn),
}

impl TransferSession {
    /// Opens a database for reading, in one snapshot; `None` if it has no table of the schema.
    pub(super) fn open_for_reading(
        config: &Config,
        provider: Provider,
        schema: Schema,
        access: Access,
    ) -> Result<Option<TransferSession>, DbError> {
        let mut session = match provider {
            Provider::Sqlite => {
                let file = config.sqlite.dir.join(schema.file());
                if !has_content(&file)? {
                    return Ok(None);
                }
                let wait = config.database.connection_timeout;
                TransferSession::Sqlite(match access {
                    Access::Exclusive => open_read_only(&file, wait)?,
                    Access::Shared => {
                        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
                        let shared = sqlite::connect(&file, flags, Pages::Compared, wait)?;
                        shared.pragma("query_only", "ON")?;
                        shared
                    }
                })
            }
            Provider::Postgres => TransferSession::Postgres(connect(config, schema, access)?),
        };
        session.conn().script(match provider {
            Provider::Sqlite => "BEGIN",
            Provider::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })?;
        Ok(if migrate::level(session.conn(), schema)? == 0 { None } else { Some(session) })
    }

    /// Returns the connection, inside its transaction.
    pub(super) fn conn(&mut self) -> &mut dyn MigrationConn {
        match self {
            TransferSession::Sqlite(session) => session,
            TransferSession::Postgres(session) => session,
        }
    }

    /// Reads a table in the order of its primary key. `no_nul` reports texts with a NUL character.
    pub(super) fn read(
        &self,
        table: &'static Table,
        no_nul: bool,
        sink: &mut dyn RowSink,
    ) -> Result<(), DbError> {
        match self {
            TransferSession::Sqlite(session) => sqlite_rows::read(session, table, no_nul, sink),
            TransferSession::Postgres(session) => postgres_rows::read(session, table, sink),
        }
    }
}

/// Returns whether a file exists and is not empty.
pub(super) fn has_content(file: &Path) -> Result<bool, DbError> {
    match std::fs::metadata(file) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(sqlite_dir::unwritable(file, error)),
    }
}

pub(super) fn connect(config: &Config, schema: Schema, access: Access) -> Result<PgConn, DbError> {
    let mut target = PostgresTarget::parse(&config.postgres, schema, config.database.connection_timeout)?;
    target.lock = match access {
        Access::Exclusive => ServerLock::Exclusive,
        Access::Shared => ServerLock::Shared,
    };
    let mut connection = PgConn::open(&Arc::new(target), None)?;
    // The transaction is idle while the other database works, possibly for longer than the timeout of a server.
    connection.script("SET idle_in_transaction_session_timeout = 0")?;
    Ok(connection)
}

/// Returns whether both schemas are in one database, so that one connection reads or writes both.
pub(super) fn is_shared(config: &Config, provider: Provider) -> bool {
    match provider {
        Provider::Sqlite => false,
        Provider::Postgres => config.postgres.usage_data_url.is_none(),
    }
}

/// The sessions of a database with one or two schemas.
pub(super) struct Sessions {
    sessions: Vec<TransferSession>,
    /// The schemas, each with the index of its session.
    schemas: Vec<(Schema, usize)>,
}

impl Sessions {
    pub(super) fn new() -> Sessions {
        Sessions { sessions: Vec::new(), schemas: Vec::new() }
    }

    pub(super) fn add(&mut self, schema: Schema, session: TransferSession) {
        self.schemas.push((schema, self.sessions.len()));
        self.sessions.push(session);
    }

    /// Assigns the session that was added last to another schema.
    pub(super) fn share(&mut self, schema: Schema) {
        self.schemas.push((schema, self.sessions.len().saturating_sub(1)));
    }

    pub(super) fn get(&mut self, schema: Schema) -> Result<&mut TransferSession, DbError> {
        let index = self.schemas.iter().find(|(known, _)| *known == schema).map(|(_, index)| *index);
        index.and_then(|index| self.sessions.get_mut(index)).ok_or(DbError::Closed)
    }

    pub(super) fn schemas(&self) -> impl Iterator<Item = Schema> + Clone {
        self.schemas.iter().map(|(schema, _)| *schema)
    }

    /// Returns all sessions; the session of [`Schema::Core`], if there is one, comes first.
    pub(super) fn into_sessions(self) -> Vec<TransferSession> {
        self.sessions
    }
}

/// Checks that a schema is up to date ([`DbError::OldSchema`], [`DbError::TooNew`]), and returns its newest migration.
pub(super) fn require_newest(c: &mut dyn MigrationConn, schema: Schema) -> Result<i64, DbError> {
    let supported = newest_migration(schema);
    let (found, database) = (migrate::level(c, schema)?, c.database_name());
    match found {
        found if found < supported => Err(DbError::OldSchema { database, found, supported }),
        // An older program accepts a newer level that only adds tables or columns, but it would not copy them.
        found if found > supported => {
            let (made_by, migration) = ("unknown".to_owned(), found.to_string());
            Err(DbError::TooNew { database, made_by, found, supported, migration })
        }
        found => Ok(found),
    }
}
