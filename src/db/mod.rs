//! SQLite and PostgreSQL behind one SQL text.
//!
//! A noun file holds free functions over `&mut dyn Conn`; only the two driver files know which database it is.

pub mod blob;
pub mod clock;
pub mod conn;
pub mod detail;
pub mod error;
pub mod file;
pub mod ids;
pub mod import;
pub mod lease;
pub mod life;
pub mod package;
pub mod release;
pub mod rendered;
pub mod repo;
pub mod source;
pub mod step;
pub mod tree;
pub mod tx;
pub mod upstream;

use crate::config::Config;

pub use conn::{Conn, Row, Value};
pub use error::DbError;

/// A handle on the database; cloning shares it.
#[derive(Clone)]
pub struct Db {}

impl Db {
    /// Opens the configured database and brings its schema up to date. Blocks: call it before the runtime starts or
    /// on a blocking thread.
    ///
    /// # Errors
    /// One variant for each thing an administrator can mend; the text says how.
    pub fn open(config: &Config) -> Result<Db, DbError> {
        let _ = config;
        todo!()
    }

    /// Looks at the configured database without creating or changing anything and returns one line to print.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn check(config: &Config) -> Result<String, DbError> {
        let _ = config;
        todo!()
    }

    /// Ends the database: work under way is finished, later calls get [`DbError::Closed`]. Blocks.
    pub fn close(&self) {
        todo!()
    }

    /// Runs `f` on a reader, off the async threads. `f` collects what it needs and ends: it never streams to a socket.
    pub async fn read<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        let _ = f;
        todo!()
    }

    /// Runs `f` in one interactive write transaction: commit on `Ok`, roll back on `Err`. `f` may run twice on
    /// PostgreSQL (40001, 40P01), so it has no side effects.
    pub async fn write<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        let _ = f;
        todo!()
    }

    /// As [`Db::write`], behind every interactive write: one chunk of at most 2,000 rows of a long import.
    pub async fn bulk<T, F>(&self, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        let _ = f;
        todo!()
    }
}
