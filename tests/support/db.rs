//! A fresh database of either kind, for synchronous tests.

use std::sync::Arc;

use rstudio_pm::config::Config;
use rstudio_pm::db::{Conn, Db, DbError};

use super::postgres;

/// The database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// SQLite, in a file.
    Sqlite,
    /// PostgreSQL, in a schema of the shared server.
    Postgres,
}

/// An empty, migrated database.
pub(crate) struct TestDb {
    /// Its configuration.
    pub(crate) config: Arc<Config>,
    /// The database.
    pub(crate) db: Db,
    /// Its engine.
    pub(crate) engine: Engine,
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

/// The configuration of a new database.
pub(crate) fn config(engine: Engine, dir: &std::path::Path) -> Arc<Config> {
    Config::example(dir, &settings(engine)).unwrap_or_else(|e| panic!("{e}")).config
}

/// Lines of gcfg for a new database.
pub(crate) fn settings(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => "[Database]\nProvider = sqlite\nConnectionTimeout = 5s\n".to_owned(),
        Engine::Postgres => format!(
            "[Database]\nProvider = postgres\nConnectionTimeout = 5s\n[Postgres]\nURL = \"{}\"\n",
            postgres::server().schema()
        ),
    }
}

impl TestDb {
    /// Creates a database.
    pub(crate) fn new(engine: Engine) -> TestDb {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(engine, dir.path());
        let db = Db::open(&config).unwrap_or_else(|e| panic!("{e}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        TestDb { config, db, engine, dir, runtime: runtime.expect("a runtime") }
    }

    /// Closes the database and opens it again, as after a restart.
    pub(crate) fn reopen(&mut self) {
        self.db.close();
        self.db = Db::open(&self.config).unwrap_or_else(|e| panic!("{e}"));
    }

    /// The directory of the test's other files.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Runs a future to completion.
    pub(crate) fn block<F: Future>(&self, f: F) -> F::Output {
        self.runtime.block_on(f)
    }

    /// Runs a read that must succeed.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        self.block(self.db.read(f)).unwrap_or_else(|e| panic!("{e} {e:?}"))
    }

    /// Runs a write.
    pub(crate) fn try_write<T: Send + 'static>(
        &self,
        f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        self.block(self.db.write(f))
    }

    /// Runs a write that must succeed.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        self.try_write(f).unwrap_or_else(|e| panic!("{e} {e:?}"))
    }
}
