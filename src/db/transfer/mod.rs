//! Copies a whole database: reads all rows from one snapshot, in an encoding that both databases share, and fills a blank
//! database with such rows.

pub mod destination;
mod indexes;
mod occupancy;
mod postgres_rows;
pub mod reading;
pub mod row;
mod session;
pub mod source;
mod sqlite_file;
mod sqlite_rows;
pub mod tables;

use crate::config::{Config, Provider};
use crate::db::schema::Schema;
use crate::db::{DbError, sqlite_dir};

/// Describes what a database has already of a schema; `None` if it is blank. Creates nothing.
///
/// # Errors
/// Those of connecting; the database cannot be written.
pub fn occupancy(config: &Config, provider: Provider, schema: Schema) -> Result<Option<String>, DbError> {
    match provider {
        Provider::Sqlite => {
            let file = sqlite_dir::check(&config.sqlite.dir, schema)?;
            occupancy::of_file(&file, schema, config.database.connection_timeout)
        }
        Provider::Postgres => {
            let mut connection = destination::connect_to_fill(config, schema)?;
            occupancy::find(&mut connection, schema)
        }
    }
}
