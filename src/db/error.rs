//! What can go wrong with a database, classified the same for both.

/// An error of the database room.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique or foreign key was violated.
    #[error("the database refused a conflicting row: {0}")]
    Conflict(String),
    /// Anything else the driver reports.
    #[error("database: {0}")]
    Driver(String),
}
