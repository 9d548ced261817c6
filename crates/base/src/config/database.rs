//! `[Database]`, `[SQLite]` and `[Postgres]`.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, UrlPurpose};
use super::choice::Provider;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::server::Secret;
use super::value;

#[derive(Clone, Debug)]
pub struct Database {
    pub provider: Provider,
    /// Maximum wait for a connection.
    pub connection_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Sqlite {
    /// Directory of the database file, on a local disk.
    pub dir: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user[:pw]@host[:port]/db[?sslmode=…&search_path=…]`.
    pub url: Option<Secret>,
    /// The password, if the URL has none.
    pub password: Option<Secret>,
    /// Database of the usage data; `None`: the main database.
    pub usage_data_url: Option<Secret>,
    /// The password, if `usage_data_url` has none; `None`: [`Postgres::password`].
    pub usage_data_password: Option<Secret>,
    /// Address of the main database for notifications and heartbeats; `None`: [`Postgres::url`].
    pub listen_url: Option<Secret>,
}

impl Database {
    pub(super) fn read(reader: &Reader<'_>) -> Database {
        Database {
            provider: reader.value("Database", "Provider", str::parse),
            connection_timeout: reader.value("Database", "ConnectionTimeout", value::duration),
        }
    }
}

impl Sqlite {
    pub(super) fn read(reader: &Reader<'_>) -> Sqlite {
        Sqlite { dir: reader.value("SQLite", "Dir", value::path) }
    }
}

impl Postgres {
    /// Reads the section; with `Database.Provider = postgres` the URL is required.
    pub(super) fn read(reader: &mut Reader<'_>, provider: Provider) -> Postgres {
        if provider == Provider::Postgres && !reader.is_non_empty("Postgres", None, "URL") {
            let message = "must be set with Database.Provider = postgres: postgres://user@host/database";
            reader.error(ProblemCategory::Settings, "Postgres", None, "URL", message);
        }
        let url = |name| {
            reader.optional("Postgres", name, |text| address::url(text, UrlPurpose::Postgres)).map(Secret)
        };
        let secret = |name| reader.optional("Postgres", name, |text| Ok(text.to_owned())).map(Secret);
        Postgres {
            url: url("URL"),
            password: secret("Password"),
            usage_data_url: url("UsageDataURL"),
            usage_data_password: secret("UsageDataPassword"),
            listen_url: url("ListenURL"),
        }
    }
}
