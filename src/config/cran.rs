//! `[CRAN]`.

/// `[CRAN]`.
#[derive(Clone, Debug)]
pub struct Cran {
    /// `https://`, `http://` or `file://` of a CRAN-like mirror, no trailing slash.
    pub url: String,
    /// Cron, five fields, UTC; default `0 0 * * *`.
    pub sync_schedule: String,
}
