//! `[CRAN]`, `[Bioconductor]`, `[SystemRequirements]` and `[Vulnerabilities]`: the addresses of packages, rules and
//! advisories.

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

/// URL of the published rules.
const PUBLIC_RULES_URL: &str =
    "https://github.com/rstudio/r-system-requirements/archive/refs/heads/main.tar.gz";

#[derive(Clone)]
pub struct Requirements {
    /// URL of the rules: an archive, a document, or `file:///` of a directory; may contain user and password.
    pub url: String,
    /// Cron, five fields, UTC; default `0 1 * * *`.
    pub sync_schedule: String,
}

impl Requirements {
    /// Reads the section. If `cran`, `CRAN.URL`, is a directory, such as a bundle, its rules are the default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Requirements {
        let configured_url =
            reader.optional("SystemRequirements", "URL", |text| address::url(text, UrlPurpose::Mirror));
        let url = configured_url.unwrap_or_else(|| match cran.strip_prefix("file://") {
            Some(folder) => format!("file://{}/sysreqs", folder.trim_end_matches('/')),
            None => PUBLIC_RULES_URL.to_owned(),
        });
        Requirements { url, sync_schedule: reader.value("SystemRequirements", "SyncSchedule", value::cron) }
    }
}

// SECURITY: user and password of the URL are left out.
impl std::fmt::Debug for Requirements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requirements")
            .field("url", &without_userinfo(&self.url))
            .field("sync_schedule", &self.sync_schedule)
            .finish()
    }
}

/// URL of the public advisories, with one folder per ecosystem.
const PUBLIC_ADVISORIES_URL: &str = "https://osv-vulnerabilities.storage.googleapis.com";

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
    /// Reads the section. If `cran`, `CRAN.URL`, is a directory, such as a bundle, its advisories are the default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Vulnerabilities {
        let is_configured = reader.is_present("Vulnerabilities", "URL");
        let urls = if is_configured {
            reader.values("Vulnerabilities", "URL", |text| address::url(text, UrlPurpose::Mirror))
        } else {
            vec![match cran.strip_prefix("file://") {
                Some(folder) => format!("file://{}/vulns", folder.trim_end_matches('/')),
                None => PUBLIC_ADVISORIES_URL.to_owned(),
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

    fn url(text: &str) -> String {
        config::parse("f", text.as_bytes(), []).expect(text).config.requirements.url.clone()
    }

    #[test]
    fn the_default_rules_are_those_of_a_directory_of_packages() {
        assert_eq!(url(""), super::PUBLIC_RULES_URL);
        assert_eq!(url("[CRAN]\nURL = https://cran.example\n"), super::PUBLIC_RULES_URL);
        assert_eq!(url("[CRAN]\nURL = file:///srv/data/\n"), "file:///srv/data/sysreqs");
        let configured = "[CRAN]\nURL = file:///srv/data\n[SystemRequirements]\nURL = file:///srv/rules\n";
        assert_eq!(url(configured), "file:///srv/rules");
    }

    fn urls(text: &str) -> String {
        config::parse("f", text.as_bytes(), []).expect(text).config.vulnerabilities.urls.join(" ")
    }

    #[test]
    fn the_default_advisories_are_those_of_a_directory_of_packages() {
        assert_eq!(urls(""), super::PUBLIC_ADVISORIES_URL);
        assert_eq!(urls("[CRAN]\nURL = https://cran.example\n"), super::PUBLIC_ADVISORIES_URL);
        assert_eq!(urls("[CRAN]\nURL = file:///srv/data/\n"), "file:///srv/data/vulns");
        let configured =
            "[CRAN]\nURL = file:///srv/data\n[Vulnerabilities]\nURL = https://h/a.tar.gz\nURL = file:///b/\n";
        assert_eq!(urls(configured), "https://h/a.tar.gz file:///b");
        assert_eq!(urls("[Vulnerabilities]\nURL =\n"), "", "advisories are turned off");
    }
}
