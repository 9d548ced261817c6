//! `[CRAN]` and `[Bioconductor]`.

use std::time::Duration;

use super::address::{self, UrlPurpose, without_userinfo};
use super::binaries::{self, BinaryUrl};
use super::reader::Reader;
use super::value;

#[derive(Clone)]
pub struct Cran {
    /// `https://`, `http://` or `file:///` of a CRAN-like mirror, no trailing slash; may contain user and password.
    pub url: String,
    /// Binary servers in order of precedence; none by default.
    pub binaries: Vec<BinaryUrl>,
    /// Cron, five fields, UTC; default `0 0 * * *`.
    pub sync_schedule: String,
    /// Minimum age of a release before it is synced from the mirror; zero syncs all.
    pub delay: Duration,
}

impl Cran {
    pub(super) fn read(reader: &Reader<'_>) -> Cran {
        Cran {
            url: reader.value("CRAN", "URL", |text| address::url(text, UrlPurpose::Mirror)),
            binaries: reader.values("CRAN", "BinaryURL", binaries::parse),
            sync_schedule: reader.value("CRAN", "SyncSchedule", value::cron),
            delay: reader.value("CRAN", "DelaySyncDuration", value::duration),
        }
    }
}

// SECURITY: user and password of the URL are left out.
impl std::fmt::Debug for Cran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cran")
            .field("url", &without_userinfo(&self.url))
            .field("binaries", &self.binaries)
            .field("sync_schedule", &self.sync_schedule)
            .field("delay", &self.delay)
            .finish()
    }
}

#[derive(Clone)]
pub struct Bioconductor {
    /// `https://`, `http://` or `file:///` of a Bioconductor mirror, no trailing slash; may contain user and password.
    pub url: String,
    /// Cron, five fields, UTC; default `0 2 * * *`.
    pub sync_schedule: String,
}

impl Bioconductor {
    pub(super) fn read(reader: &Reader<'_>) -> Bioconductor {
        Bioconductor {
            url: reader.value("Bioconductor", "URL", |text| address::url(text, UrlPurpose::Mirror)),
            sync_schedule: reader.value("Bioconductor", "SyncSchedule", value::cron),
        }
    }
}

// SECURITY: user and password of the URL are left out.
impl std::fmt::Debug for Bioconductor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bioconductor")
            .field("url", &without_userinfo(&self.url))
            .field("sync_schedule", &self.sync_schedule)
            .finish()
    }
}
