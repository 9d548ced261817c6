//! Upstream errors, by what the caller can do about them.

/// An error of a request to a mirror. Never contains the userinfo of the URL.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The mirror has no such file (404, 410, or no file on disk).
    #[error("{0} is not on the mirror")]
    Missing(String),
    /// A later attempt may succeed: the connection failed, the request timed out, or the mirror answered 408, 429 or
    /// 5xx.
    #[error("{url}: {reason}")]
    Unavailable {
        url: String,
        reason: String,
        /// The mirror's `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// Whether other requests to the mirror fail, too: no connection to it could be made, requests to it are
        /// paused, or its bundle is incomplete.
        is_of_mirror: bool,
    },
    /// A later attempt will not succeed: a bad URL, a rejected certificate, an invalid body.
    #[error("{url}: {reason}")]
    Refused { url: String, reason: String },
}
