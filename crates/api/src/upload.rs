//! Uploads: package archives that are validated and stored, but not yet part of a source.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `POST /uploads`.
    UploadFile {
        /// The name of the file
        file: Option<String>,
        /// source (default), binary or python
        kind as "type": Option<String>,
    }
}

/// Response to `POST /uploads?file={name}` with the archive as body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Id of the upload, which expires after an hour.
    pub id: u64,
    /// The file name of the request.
    pub file: String,
    /// Package, from its DESCRIPTION or METADATA.
    pub name: String,
    /// Version, from its DESCRIPTION or METADATA.
    pub version: String,
    /// SHA-256 of the file to be served.
    pub sha256: String,
    /// Size of the file to be served, in bytes.
    pub size: u64,
    /// Tolerated defects of the archive, as sentences.
    #[serde(default)]
    pub notices: Vec<String>,
}
