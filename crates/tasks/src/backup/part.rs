//! A file of a backup: its digest and its size.

use serde::{Deserialize, Serialize};

use super::text;
use base::model::digest::Sha256;

/// A file of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The digest of its bytes.
    #[serde(with = "text")]
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}
