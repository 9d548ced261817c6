//! The error response of both APIs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error response, `{"code", "error", "payload"}`: the form that clients of Posit Package Manager expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Error {
    /// The kind of failure; see [`Code`].
    pub code: u16,
    /// The error as a sentence, with the remedy.
    pub error: String,
    /// Details for programs; `null` if there are none.
    pub payload: Option<serde_json::Value>,
}

/// Values of [`Error::code`]. 4 and 14 are those of Posit Package Manager; the others are specific to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The request is invalid.
    Invalid = 1,
    /// The requested object does not exist.
    NotFound = 4,
    /// The request conflicts with the current state.
    Conflict = 5,
    /// The address does not support the method.
    Method = 6,
    /// The server failed; its log has the reason.
    Internal = 7,
    /// Upstream, the database or the storage is unavailable.
    Unavailable = 8,
    /// A token is missing or not valid.
    Unauthorized = 9,
    /// Too many requests with credentials that are not valid.
    TooManyRequests = 11,
    /// The token lacks a scope.
    Forbidden = 12,
    /// An upload in the request does not exist, has expired or was sent by another client.
    NoUpload = 10,
    /// A block rule forbids the package.
    Blocked = 13,
    /// No system requirements are known for that operating system.
    UnsupportedSystem = 14,
    /// A block rule matches everything in its scope, and the field `all` does not confirm that. The payload has the
    /// `reason` without the name of the option.
    Unconfirmed = 15,
}

impl Error {
    /// An error without details.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>) -> Error {
        Error { code: code as u16, error: error.into(), payload: None }
    }
}
