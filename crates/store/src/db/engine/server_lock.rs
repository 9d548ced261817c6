//! The advisory lock that indicates that servers use a PostgreSQL database: shared by the connections of servers,
//! exclusive for a program that copies the database. PostgreSQL releases it with the connection. On SQLite both take
//! the lock of the directory (`sqlite_dir`), exclusively.

use std::time::Duration;

use tokio_postgres::Client;

use super::DbError;
use super::pgerror::map;
use super::schema::Schema;
use super::target::{ServerLock, Target};

/// Number of attempts to take the lock: PostgreSQL detects the end of another program with a delay.
const MAX_ATTEMPTS: u32 = 150;
const PAUSE: Duration = Duration::from_millis(20);

/// Returns the first half of the lock's key; the second is a hash of the name of the PostgreSQL schema.
fn key(schema: Schema) -> i32 {
    match schema {
        Schema::Core => 1_381_191_758,
        Schema::Usage => 1_381_191_759,
    }
}

/// Takes the lock for a new connection.
///
/// # Errors
/// [`DbError::Copying`] and [`DbError::ServerActive`] if another connection holds it.
pub(in crate::db) async fn take(target: &Target, client: &Client) -> Result<(), DbError> {
    const TAKE_SHARED: &str =
        "SELECT pg_try_advisory_lock_shared($1, hashtext(coalesce(current_schema(), '')))";
    const TAKE_EXCLUSIVE: &str = "SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))";
    let statement = match target.lock {
        ServerLock::Shared => TAKE_SHARED,
        ServerLock::Exclusive => TAKE_EXCLUSIVE,
        ServerLock::None => return Ok(()),
    };
    let to_error = |error| map(target, error);
    for attempt in 1..=MAX_ATTEMPTS {
        let row = client.query_one(statement, &[&key(target.schema)]).await.map_err(to_error)?;
        if row.try_get(0).map_err(to_error)? {
            return Ok(());
        }
        if attempt < MAX_ATTEMPTS {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let database = target.database_name();
    match target.lock {
        ServerLock::Exclusive => {
            Err(DbError::ServerActive { database, clients: holders(target, client).await? })
        }
        ServerLock::Shared | ServerLock::None => Err(DbError::Copying { database }),
    }
}

/// Returns the addresses of the clients that hold the lock, for an error text.
async fn holders(target: &Target, client: &Client) -> Result<String, DbError> {
    const HOLDERS: &str = "SELECT DISTINCT coalesce(host(a.client_addr), 'its own host') FROM pg_locks l \
        JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database \
        WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.pid <> pg_backend_pid() \
        AND CAST(l.classid AS BIGINT) = CAST(CAST($1 AS INTEGER) AS BIGINT) \
        AND CAST(l.objid AS BIGINT) = CAST(hashtext(coalesce(current_schema(), '')) AS BIGINT) & 4294967295 \
        ORDER BY 1";
    let rows = client.query(HOLDERS, &[&key(target.schema)]).await.map_err(|error| map(target, error))?;
    let addresses: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    Ok(if addresses.is_empty() { "an unknown host".to_owned() } else { addresses.join(", ") })
}
