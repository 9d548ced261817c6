//! Storage errors by meaning, the same for every backend.

/// An error of the storage room.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The object is not there.
    #[error("{0} is not in storage")]
    NotFound(String),
    /// The disk or the quota is full.
    #[error("no space left for {0}")]
    Full(String),
    /// Anything else.
    #[error("storage: {0}")]
    Other(String),
}
