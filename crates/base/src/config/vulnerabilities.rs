//! `[Vulnerabilities]`.

use super::address::{self, UrlPurpose, without_userinfo};
use super::reader::Reader;
use super::value;

/// URL of the public advisories, with one folder per ecosystem.
const PUBLIC_URL: &str = "https://osv-vulnerabilities.storage.googleapis.com";

#[derive(Clone)]
pub struct Vulnerabilities {
    /// URLs of the advisories; may contain user and password. Empty if advisories are turned off.
    pub urls: Vec<String>,
    /// Whether the URLs are set in the configuration. If so, a missing directory is an error.
    pub is_configured: bool,
    /// Cron, five fields, UTC; default every ten minutes.
    pub sync_schedule: String,
}

impl Vulnerabilities {
    /// Reads the section. `cran` is `CRAN.URL`: if it is a directory, such as a bundle, the advisories in it are the
    /// default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Vulnerabilities {
        let is_configured = reader.is_present("Vulnerabilities", "URL");
        let urls = if is_configured {
            reader.values("Vulnerabilities", "URL", |text| address::url(text, UrlPurpose::Mirror))
        } else {
            vec![match cran.strip_prefix("file://") {
                Some(folder) => format!("file://{}/vulns", folder.trim_end_matches('/')),
                None => PUBLIC_URL.to_owned(),
            }]
        };
        let sync_schedule = reader.value("Vulnerabilities", "SyncSchedule", value::cron);
        Vulnerabilities { urls, is_configured, sync_schedule }
    }
}

// SECURITY: user and password of the URLs are left out.
impl std::fmt::Debug for Vulnerabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vulnerabilities")
            .field("urls", &self.urls.iter().map(|url| without_userinfo(url)).collect::<Vec<_>>())
            .field("is_configured", &self.is_configured)
            .field("sync_schedule", &self.sync_schedule)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    fn urls(text: &str) -> String {
        config::parse("f", text.as_bytes(), []).expect(text).config.vulnerabilities.urls.join(" ")
    }

    #[test]
    fn the_default_advisories_are_those_of_a_directory_of_packages() {
        assert_eq!(urls(""), super::PUBLIC_URL);
        assert_eq!(urls("[CRAN]\nURL = https://cran.example\n"), super::PUBLIC_URL);
        assert_eq!(urls("[CRAN]\nURL = file:///srv/data/\n"), "file:///srv/data/vulns");
        let configured =
            "[CRAN]\nURL = file:///srv/data\n[Vulnerabilities]\nURL = https://h/a.tar.gz\nURL = file:///b/\n";
        assert_eq!(urls(configured), "https://h/a.tar.gz file:///b");
        assert_eq!(urls("[Vulnerabilities]\nURL =\n"), "", "advisories are turned off");
    }
}
