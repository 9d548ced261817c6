//! The log files of a server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReopenResult {
    /// Paths of the reopened files. Earlier lines are in the renamed files.
    pub files: Vec<String>,
}
