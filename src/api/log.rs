//! The log files of a server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `POST /log/reopen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reopened {
    /// Their paths. What was logged before is in the files that had these names until then.
    pub files: Vec<String>,
}
