//! `[Database]`, `[SQLite]` and `[Postgres]`.

use std::path::PathBuf;
use std::time::Duration;

use super::server::Secret;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Provider {
    /// A file in `SQLite.Dir`.
    #[default]
    Sqlite,
    /// `Postgres.URL`.
    Postgres,
}

/// `[Database]`.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite` or `postgres`.
    pub provider: Provider,
    /// The longest wait for a connection.
    pub connection_timeout: Duration,
}

/// `[SQLite]`.
#[derive(Clone, Debug)]
pub struct Sqlite {
    /// Directory of the database file, default `<DataDir>/db`; a local disk.
    pub dir: PathBuf,
}

/// `[Postgres]`.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user[:pw]@host[:port]/db[?sslmode=…&search_path=…]`.
    pub url: Option<Secret>,
    /// The password, when the URL has none.
    pub password: Option<Secret>,
}
