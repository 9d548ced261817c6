//! The one shape of every API error.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `{"code", "error", "payload"}`, as clients of the original expect it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Error {
    /// What kind of failure; see [`Code`].
    pub code: u16,
    /// A sentence for people, with the way out.
    pub error: String,
    /// Details for programs; `null` when there are none.
    pub payload: Option<serde_json::Value>,
}

/// Values of [`Error::code`]. 4 and 14 are the original's; the others are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The request itself is not acceptable.
    Invalid = 1,
    /// The thing asked for does not exist.
    NotFound = 4,
    /// The request contradicts what is there.
    Conflict = 5,
    /// The method is not one this address answers.
    Method = 6,
    /// The server failed; its log says why.
    Internal = 7,
    /// Upstream, the database or the storage cannot be reached now.
    Unavailable = 8,
    /// A token is missing or not valid.
    Unauthorized = 9,
    /// An upload that is named was handed in to another process, or too long ago.
    NoUpload = 10,
    /// Nothing is known of the system requirements of that operating system.
    UnsupportedSystem = 14,
}

impl Error {
    /// An error without details.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>) -> Error {
        Error { code: code as u16, error: error.into(), payload: None }
    }
}
