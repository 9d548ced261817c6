//! The stores: the database, package files, and logs.

/// Access to the database: SQLite or PostgreSQL, with one set of SQL statements.
pub mod db;
/// Log files, their formats and their rotation.
pub mod logs;
/// Full-text search for packages, in a temporary file.
pub mod search;
/// Package files and rendered indexes by digest, on disk or S3.
pub mod storage;
