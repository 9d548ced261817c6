//! Copies a whole database: reads all rows from one snapshot in an encoding that is common to both databases, and
//! writes such rows to a blank database.

pub mod destination;
mod indexes;
mod occupancy;
mod postgres_rows;
pub mod reading;
pub mod row;
mod session;
pub mod source;
pub(super) mod sqlite_file;
mod sqlite_rows;
pub mod tables;

use crate::db::schema::Schema;
use crate::db::{DbError, sqlite_dir};
use base::config::{Config, Provider};

/// Describes the existing tables of a schema; `None` if there are none. Creates nothing.
pub fn occupancy(config: &Config, provider: Provider, schema: Schema) -> Result<Option<String>, DbError> {
    match provider {
        Provider::Sqlite => {
            let file = sqlite_dir::check(&config.sqlite.dir, schema)?;
            occupancy::find_in_file(&file, schema, config.database.connection_timeout)
        }
        Provider::Postgres => {
            let mut connection = destination::connect_to_fill(config, schema)?;
            occupancy::find(&mut connection, schema)
        }
    }
}
