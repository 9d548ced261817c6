//! SQLite and PostgreSQL behind one SQL text.
//!
//! A noun file holds free functions over `&mut dyn Conn`; only the two driver files know which database it is.

pub mod conn;
pub mod error;

pub use conn::{Conn, Row, Value};
pub use error::DbError;

/// A handle on the database; cloning shares it.
#[derive(Clone)]
pub struct Db {}

impl Db {
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
