//! Upstream errors by what the caller may do.

/// An error of the upstream room. Never holds the URL's userinfo.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The mirror has no such file (404, 410, or no file on disk).
    #[error("{0} is not on the mirror")]
    Missing(String),
    /// Trying later may help: connection, time-out, 5xx, 429.
    #[error("{url}: {reason}")]
    Unavailable {
        /// What was asked for.
        url: String,
        /// Why it failed.
        reason: String,
        /// The mirror's `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// Trying again will not help: a bad URL, a refused certificate, a body that is not what it should be.
    #[error("{url}: {reason}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
}
