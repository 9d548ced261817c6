//! Reads a database for a transfer: all rows of both schemas, each schema from one snapshot.

use super::reading::RowSink;
use super::session::{Access, Sessions, TransferSession, has_content, is_shared, require_newest};
use super::tables::{self, Table};
use crate::db::schema::Schema;
use crate::db::target::PostgresTarget;
use crate::db::{Conn, DbError, migrate, sqlite_dir};
use base::config::{Config, Provider};

pub struct TransferSource {
    sessions: Sessions,
    schema_versions: Vec<(Schema, i64)>,
    place: String,
    /// Whether texts with a NUL character are reported as problems.
    no_nul: bool,
    _lock: Option<std::fs::File>,
}

impl TransferSource {
    /// Opens the database of a provider for a copy to the provider `to`. No server can use it while it is open.
    ///
    /// # Errors
    /// [`DbError::NothingToCopy`], [`DbError::OldSchema`], [`DbError::TooNew`]; [`DbError::Locked`] and
    /// [`DbError::ServerActive`] while a server uses it; connection errors.
    pub fn open(config: &Config, provider: Provider, to: Provider) -> Result<TransferSource, DbError> {
        let lock = match provider {
            // Locking would create a missing directory.
            Provider::Sqlite if has_content(&config.sqlite.dir.join(Schema::Core.file()))? => {
                Some(sqlite_dir::lock(&config.sqlite.dir, None)?)
            }
            Provider::Sqlite | Provider::Postgres => None,
        };
        TransferSource::open_as(config, provider, to, Access::Exclusive, lock)
    }

    /// Opens the database of this server, while this and other servers use it.
    ///
    /// # Errors
    /// Connection errors; [`DbError::TooNew`].
    pub fn open_shared(config: &Config) -> Result<TransferSource, DbError> {
        // A dump may contain texts that PostgreSQL cannot store.
        TransferSource::open_as(config, config.database.provider, Provider::Sqlite, Access::Shared, None)
    }

    fn open_as(
        config: &Config,
        provider: Provider,
        to: Provider,
        access: Access,
        lock: Option<std::fs::File>,
    ) -> Result<TransferSource, DbError> {
        let Some(core) = TransferSession::open_for_reading(config, provider, Schema::Core, access)? else {
            return Err(DbError::NothingToCopy { database: place(config, provider) });
        };
        let mut sessions = Sessions::new();
        sessions.add(Schema::Core, core);
        if is_shared(config, provider) {
            if migrate::level(sessions.get(Schema::Core)?.conn(), Schema::Usage)? > 0 {
                sessions.share(Schema::Usage);
            }
        } else if let Some(usage) =
            TransferSession::open_for_reading(config, provider, Schema::Usage, access)?
        {
            sessions.add(Schema::Usage, usage);
        }
        TransferSource::from_sessions(sessions, to, place(config, provider), lock)
    }

    /// Opens only the usage data; `None` if there is none.
    pub fn open_usage(
        config: &Config,
        provider: Provider,
        to: Provider,
    ) -> Result<Option<TransferSource>, DbError> {
        let Some(usage) =
            TransferSession::open_for_reading(config, provider, Schema::Usage, Access::Exclusive)?
        else {
            return Ok(None);
        };
        let mut sessions = Sessions::new();
        sessions.add(Schema::Usage, usage);
        TransferSource::from_sessions(sessions, to, place(config, provider), None).map(Some)
    }

    fn from_sessions(
        mut sessions: Sessions,
        to: Provider,
        place: String,
        lock: Option<std::fs::File>,
    ) -> Result<TransferSource, DbError> {
        let mut schema_versions = Vec::new();
        for schema in sessions.schemas().collect::<Vec<_>>() {
            schema_versions.push((schema, require_newest(sessions.get(schema)?.conn(), schema)?));
        }
        Ok(TransferSource { sessions, schema_versions, place, no_nul: to == Provider::Postgres, _lock: lock })
    }

    /// Returns the name of the database for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the schemas, each with its newest migration.
    pub fn schema_versions(&self) -> &[(Schema, i64)] {
        &self.schema_versions
    }

    pub fn has_usage(&self) -> bool {
        self.schema_versions.iter().any(|(schema, _)| *schema == Schema::Usage)
    }

    /// Returns its tables, in the order of [`tables::TABLES`].
    pub fn tables(&self) -> impl Iterator<Item = &'static Table> + use<> {
        self.schema_versions.clone().into_iter().flat_map(|(schema, _)| tables::of(schema))
    }

    /// Reads all rows of a table.
    pub fn read(&mut self, table: &'static Table, sink: &mut dyn RowSink) -> Result<(), DbError> {
        let no_nul = self.no_nul;
        self.sessions.get(table.schema)?.read(table, no_nul, sink)
    }

    /// Returns the connection to the usage data, if the database has usage data.
    pub fn usage_conn(&mut self) -> Result<Option<&mut dyn Conn>, DbError> {
        if !self.has_usage() {
            return Ok(None);
        }
        let conn: &mut dyn Conn = self.sessions.get(Schema::Usage)?.conn();
        Ok(Some(conn))
    }

    /// Returns the connection to the database of packages.
    ///
    /// # Errors
    /// The source was opened for usage data only.
    pub fn conn(&mut self) -> Result<&mut dyn Conn, DbError> {
        Ok(self.sessions.get(Schema::Core)?.conn())
    }
}

/// Returns the name of the database of a provider, for messages.
pub fn place(config: &Config, provider: Provider) -> String {
    match provider {
        Provider::Sqlite => format!("SQLite, {}", config.sqlite.dir.display()),
        Provider::Postgres => {
            let wait = config.database.connection_timeout;
            match PostgresTarget::parse(&config.postgres, Schema::Core, wait) {
                Ok(target) => format!("PostgreSQL, database {}", target.database_name()),
                // Connecting reports the error.
                Err(_) => "PostgreSQL".to_owned(),
            }
        }
    }
}
