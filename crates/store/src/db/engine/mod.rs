//! Below the tables: connections, threads, transactions, errors and migrations of both databases, decoding of rows.

pub mod author;
pub(super) mod checkpoint;
pub(super) mod columns;
pub mod conn;
pub mod error;
pub mod invariants;
pub mod link;
pub mod migrate;
pub(super) mod page_checksum;
pub(super) mod pgcheck;
pub(super) mod pgconn;
pub(super) mod pgconnect;
pub(super) mod pgerror;
pub(super) mod pgwire;
pub(super) mod postgres;
pub mod schema;
pub(super) mod servers;
pub mod skew;
pub(super) mod sqlite;
pub mod sqlite_dir;
pub mod target;
pub(super) mod tls;
pub(super) mod workers;

use super::{Conn, Db, DbError, Engine, Row, Value, WriteError};
