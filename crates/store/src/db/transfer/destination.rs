//! A blank database that a transfer fills atomically: on PostgreSQL in one transaction for each database, on SQLite in
//! temporary files that are renamed at the end; and what makes a database not blank.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::postgres_rows::CopyIn;
use super::reading::RowSink;
use super::row::RowBlock;
use super::session::{Access, Sessions, TransferSession, connect, has_content, is_shared};
use super::tables::{self, Table};
use super::{indexes, sqlite_file, sqlite_rows};
use crate::db::migrate::{self, MigrationConn, MigrationMode};
use crate::db::pgconn::PgConn;
use crate::db::schema::Schema;
use crate::db::{Conn, DbError, open_read_only, sqlite_dir};
use base::config::{Config, Provider};

/// Tables whose rows are counted, each with the statement and the noun for the rows.
const CORE: [(&str, &str, &str); 4] = [
    ("source", "SELECT count(*) FROM source", "sources"),
    ("repo", "SELECT count(*) FROM repo", "repositories"),
    ("tx", "SELECT count(*) FROM tx", "transactions"),
    ("release", "SELECT count(*) FROM release", "releases"),
];
const USAGE: [(&str, &str, &str); 1] =
    [("usage_download", "SELECT count(*) FROM usage_download", "counts of downloads")];

/// An open destination. If it is dropped before [`Destination::commit`], all changes are undone.
pub struct Destination {
    sessions: Sessions,
    /// The table that is being filled, and its COPY on PostgreSQL.
    current: Option<(&'static Table, Option<CopyIn>)>,
    /// Statements that create indexes and constraints.
    create_statements: Vec<(Schema, String)>,
    files: SqliteFiles,
    /// The schemas, each with its newest migration.
    levels: Vec<(Schema, i64)>,
    _lock: Option<std::fs::File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingFiles {
    /// Existing files are an error.
    Refused,
    /// Existing files are moved to a subdirectory at the end.
    Replaced,
}

impl Destination {
    /// Creates the tables of each schema in the database of a provider, as of the migration that `levels` states.
    ///
    /// # Errors
    /// [`DbError::Occupied`] if it already has tables, [`DbError::Encoding`]; those of [`super::source::TransferSource::open`].
    pub fn create(
        config: &Config,
        provider: Provider,
        levels: &[(Schema, i64)],
        existing: ExistingFiles,
    ) -> Result<Destination, DbError> {
        let mut destination = Destination {
            sessions: Sessions::new(),
            current: None,
            create_statements: Vec::new(),
            files: SqliteFiles::default(),
            levels: levels.to_vec(),
            _lock: None,
        };
        if provider == Provider::Sqlite {
            destination._lock = Some(sqlite_dir::lock(&config.sqlite.dir, None)?);
        }
        for &(schema, level) in levels {
            if schema == Schema::Usage && is_shared(config, provider) {
                destination.sessions.share(schema);
            } else {
                let session = match provider {
                    Provider::Sqlite => destination.files.create(config, schema, existing)?,
                    Provider::Postgres => begin(config, schema)?,
                };
                destination.sessions.add(schema, session);
            }
            destination.create_tables(schema, level)?;
        }
        Ok(destination)
    }

    fn create_tables(&mut self, schema: Schema, level: i64) -> Result<(), DbError> {
        let session = self.sessions.get(schema)?;
        if let Some(found) = find_tables(session.conn(), schema)? {
            return Err(DbError::Occupied { database: session.conn().database_name(), found });
        }
        migrate::run_until(session.conn(), schema, MigrationMode::Exclusive, level)?;
        let create_statements = indexes::drop_all(session, schema)?;
        self.create_statements.extend(create_statements.into_iter().map(|statement| (schema, statement)));
        // Removes the rows that the migrations have inserted.
        let names: Vec<&str> = tables::tables_at(schema, level).map(|table| table.name).collect();
        let clear = match session {
            TransferSession::Sqlite(_) => {
                names.iter().rev().map(|name| format!("DELETE FROM {name};")).collect()
            }
            TransferSession::Postgres(_) => format!("TRUNCATE {}", names.join(", ")),
        };
        session.conn().script(&clear)
    }

    pub fn begin_table(&mut self, table: &'static Table) -> Result<(), DbError> {
        let copy = match self.sessions.get(table.schema)? {
            TransferSession::Sqlite(_) => None,
            TransferSession::Postgres(session) => Some(CopyIn::begin(session, table)?),
        };
        self.current = Some((table, copy));
        Ok(())
    }

    /// Writes rows of the current table.
    ///
    /// # Errors
    /// The rows do not match the columns of the table.
    pub fn write(&mut self, block: &RowBlock) -> Result<(), DbError> {
        let (table, copy) = self.current.as_mut().ok_or(DbError::Closed)?;
        match (self.sessions.get(table.schema)?, copy) {
            (TransferSession::Sqlite(session), _) => sqlite_rows::write(session, table, block),
            (TransferSession::Postgres(session), Some(copy)) => copy.write(session, table, block),
            (TransferSession::Postgres(_), None) => Err(DbError::Closed),
        }
    }

    pub fn end_table(&mut self) -> Result<(), DbError> {
        let (table, copy) = self.current.take().ok_or(DbError::Closed)?;
        match (self.sessions.get(table.schema)?, copy) {
            (TransferSession::Postgres(session), Some(copy)) => copy.finish(session),
            _ => Ok(()),
        }
    }

    /// Creates the indexes, the constraints and the statistics of the planner.
    ///
    /// # Errors
    /// [`DbError::Conflict`] if rows violate a constraint.
    pub fn finish_tables(&mut self) -> Result<(), DbError> {
        for (schema, statement) in std::mem::take(&mut self.create_statements) {
            self.sessions.get(schema)?.conn().script(&statement)?;
        }
        for (schema, level) in self.levels.clone() {
            let session = self.sessions.get(schema)?;
            if let TransferSession::Sqlite(session) = session {
                sqlite_file::check_foreign_keys(session)?;
            }
            let analyze: String =
                tables::tables_at(schema, level).map(|table| format!("ANALYZE {};", table.name)).collect();
            session.conn().script(&analyze)?;
        }
        Ok(())
    }

    /// Runs the missing migrations of its schemas.
    pub fn migrate(&mut self) -> Result<(), DbError> {
        for (schema, _) in self.levels.clone() {
            migrate::run(self.sessions.get(schema)?.conn(), schema, MigrationMode::Exclusive)?;
        }
        Ok(())
    }

    /// Reads all rows of a table back.
    pub fn read(&mut self, table: &'static Table, sink: &mut dyn RowSink) -> Result<(), DbError> {
        self.sessions.get(table.schema)?.read(table, false, sink)
    }

    /// Returns the connection to the database of packages.
    ///
    /// # Errors
    /// The destination was created for usage data only.
    pub fn conn(&mut self) -> Result<&mut dyn Conn, DbError> {
        Ok(self.sessions.get(Schema::Core)?.conn())
    }

    /// Makes all changes durable and visible, and returns the directory of the replaced SQLite files. The database of
    /// packages is committed last: an interruption before that leaves at most the usage data.
    ///
    /// # Errors
    /// [`DbError::UnknownOutcome`] if the connection was lost meanwhile.
    pub fn commit(self) -> Result<Option<PathBuf>, DbError> {
        // The lock is held until the files have their final names.
        let Destination { sessions, files, _lock, .. } = self;
        for mut session in sessions.into_sessions().into_iter().rev() {
            session.conn().script("COMMIT").map_err(|error| match error {
                DbError::Lost(source) => DbError::UnknownOutcome(source),
                other => other,
            })?;
        }
        files.rename()
    }
}

/// Connects to PostgreSQL and checks that rows can be written to it.
pub(super) fn connect_to_fill(config: &Config, schema: Schema) -> Result<PgConn, DbError> {
    const ENCODING: &str = "SELECT CAST(current_setting('server_encoding') AS TEXT)";
    let mut connection = connect(config, schema, Access::Exclusive)?;
    connection.require_writable()?;
    let encoding = connection.query(ENCODING, &[])?.first_mut().map(|row| row.text(0)).transpose()?;
    match encoding.filter(|encoding| encoding != "UTF8") {
        Some(encoding) => Err(DbError::Encoding { database: connection.database_name(), encoding }),
        None => Ok(connection),
    }
}

/// Describes the existing tables of a schema; `None` if there are none. Creates nothing.
pub fn occupancy(config: &Config, provider: Provider, schema: Schema) -> Result<Option<String>, DbError> {
    match provider {
        Provider::Sqlite => {
            let file = sqlite_dir::check(&config.sqlite.dir, schema)?;
            find_in_file(&file, schema, config.database.connection_timeout)
        }
        Provider::Postgres => {
            let mut connection = connect_to_fill(config, schema)?;
            find_tables(&mut connection, schema)
        }
    }
}

/// Describes the tables of a schema; `None` if there are none.
fn find_tables(c: &mut dyn MigrationConn, schema: Schema) -> Result<Option<String>, DbError> {
    let mut tables = Vec::new();
    for table in tables::of(schema) {
        if c.has_table(table.name)? {
            tables.push(table.name);
        }
    }
    if tables.is_empty() {
        return Ok(None);
    }
    let statements: &[(&str, &'static str, &str)] = match schema {
        Schema::Core => &CORE,
        Schema::Usage => &USAGE,
    };
    if !tables.contains(&schema.migration_table().name)
        || statements.iter().any(|(table, ..)| !tables.contains(table))
    {
        return Ok(Some(format!("tables {}", tables.join(", "))));
    }
    let mut counts = Vec::new();
    for (_, count, noun) in statements {
        let rows = c.query(count, &[])?.first().map_or(Ok(0), |row| row.int(0))?;
        counts.push(format!("{rows} {noun}"));
    }
    Ok(Some(format!("schema {} with {}", migrate::level(c, schema)?, counts.join(", "))))
}

/// Describes the tables of a SQLite file; `None` if it is missing or has none.
fn find_in_file(file: &Path, schema: Schema, wait: Duration) -> Result<Option<String>, DbError> {
    // SQLite would apply the WAL of another database to a new file.
    let wal = file.with_extension("db-wal");
    if !has_content(file)? && has_content(&wal)? {
        return Ok(Some(format!("{} without its database", wal.display())));
    }
    if has_content(file)? { find_tables(&mut open_read_only(file, wait)?, schema) } else { Ok(None) }
}

/// Begins the transaction on PostgreSQL.
fn begin(config: &Config, schema: Schema) -> Result<TransferSession, DbError> {
    let mut connection = connect_to_fill(config, schema)?;
    // Indexes are sorted in memory.
    connection.script("BEGIN; SET LOCAL maintenance_work_mem = '256MB'")?;
    Ok(TransferSession::Postgres(connection))
}

/// The SQLite files while rows are written to them.
#[derive(Default)]
struct SqliteFiles {
    files: Vec<(PathBuf, PathBuf)>,
    /// The directory whose files are replaced.
    replaced_dir: Option<PathBuf>,
}

impl SqliteFiles {
    fn create(
        &mut self,
        config: &Config,
        schema: Schema,
        existing: ExistingFiles,
    ) -> Result<TransferSession, DbError> {
        let (dir, wait) = (&config.sqlite.dir, config.database.connection_timeout);
        if existing == ExistingFiles::Replaced {
            self.replaced_dir = Some(dir.clone());
        } else if let Some(found) = find_in_file(&dir.join(schema.file()), schema, wait)? {
            return Err(DbError::Occupied { database: dir.join(schema.file()).display().to_string(), found });
        }
        let temporary = sqlite_file::temporary_path(dir, schema);
        self.files.push((temporary.clone(), dir.join(schema.file())));
        sqlite_file::create(&temporary, wait).map(TransferSession::Sqlite)
    }

    fn rename(mut self) -> Result<Option<PathBuf>, DbError> {
        for (temporary, _) in &self.files {
            sqlite_file::sync(temporary)?;
        }
        let old_files = self.replaced_dir.as_deref().map_or(Ok(None), sqlite_dir::move_aside)?;
        let mut new_files: Vec<PathBuf> = Vec::new();
        while let Some((temporary, path)) = self.files.pop() {
            if let Err(error) = sqlite_file::rename(&temporary, &path) {
                self.files.push((temporary, path));
                let (Some(dir), Some(aside)) = (&self.replaced_dir, &old_files) else { return Err(error) };
                for new_file in &new_files {
                    // If it cannot be removed, a previous file of this name replaces it.
                    let _ = sqlite_file::remove(new_file);
                }
                return Err(sqlite_dir::move_back(dir, aside, error));
            }
            new_files.push(path);
        }
        Ok(old_files)
    }
}

impl Drop for SqliteFiles {
    fn drop(&mut self) {
        for (temporary, _) in &self.files {
            // The next run removes files that cannot be removed here.
            let _ = sqlite_file::remove(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_files_are_moved_back_if_a_new_file_cannot_get_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        for name in ["rstudio-pm.db", "rstudio-pm.db-wal"] {
            std::fs::write(dir.join(name), "previous").unwrap();
        }
        let [core, usage] =
            [Schema::Core, Schema::Usage].map(|schema| sqlite_file::temporary_path(dir, schema));
        for temporary in [&core, &usage] {
            std::fs::write(temporary, "new").unwrap();
        }
        // The file of the usage data is renamed first.
        let files = vec![(core, dir.join("absent/rstudio-pm.db")), (usage, dir.join("usage.db"))];
        let files = SqliteFiles { files, replaced_dir: Some(dir.to_owned()) };
        let error = files.rename().unwrap_err().to_string();
        assert!(error.contains("absent/rstudio-pm.db"), "{error}");
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["rstudio-pm.db", "rstudio-pm.db-wal"]);
    }
}
