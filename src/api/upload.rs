//! Uploads: a package archive handed in, validated and stored, not yet part of a source.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `POST /uploads?file={name}` with the archive as body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Number to name it by; forgotten after an hour.
    pub id: u64,
    /// The file's name as given.
    pub file: String,
    /// Package, from its DESCRIPTION.
    pub name: String,
    /// Version, from its DESCRIPTION.
    pub version: String,
    /// SHA-256 of the bytes that will be served.
    pub sha256: String,
    /// Their size.
    pub size: u64,
}
