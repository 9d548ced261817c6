//! `[Bioconductor]`.

use super::address::{self, UrlPurpose, without_userinfo};
use super::reader::Reader;
use super::value;

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
