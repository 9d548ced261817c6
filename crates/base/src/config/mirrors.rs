//! `[CRAN]`, `[Bioconductor]`, `[SystemRequirements]` and `[Vulnerabilities]`: the addresses of packages, rules and
//! advisories. `[Bundle]`: the keys of those that are bundles.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, PrivateUrl};
use super::binaries::{self, BinaryUrl};
use super::reader::Reader;
use super::value;

#[derive(Clone, Debug)]
pub struct Cran {
    /// `https://`, `http://` or `file:///` of a CRAN-like mirror, no trailing slash.
    pub url: PrivateUrl,
    /// Binary servers in order of precedence.
    pub binaries: Vec<BinaryUrl>,
    /// Cron, five fields, UTC.
    pub sync_schedule: String,
    /// Minimum age of a release before it is synced from the mirror; zero syncs all.
    pub delay: Duration,
    /// File of the policy by which the log of another server proves the index at `url`; `None` for no proof.
    pub verify_policy: Option<PathBuf>,
}

impl Cran {
    pub(super) fn read(reader: &Reader<'_>) -> Cran {
        Cran {
            url: reader.value("CRAN", "URL", address::mirror),
            binaries: reader.values("CRAN", "BinaryURL", binaries::parse),
            sync_schedule: reader.value("CRAN", "SyncSchedule", value::cron),
            delay: reader.value("CRAN", "DelaySyncDuration", value::duration),
            verify_policy: reader.optional("CRAN", "VerifyPolicy", value::path),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Bundle {
    /// Public keys, `NAME+ID+KEY`, one of which signs every bundle; empty if bundles need no signature.
    pub keys: Vec<String>,
    /// Addresses that must be bundles; empty for the directories of packages.
    pub urls: Vec<PrivateUrl>,
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

impl Bundle {
    pub(super) fn read(reader: &Reader<'_>) -> Bundle {
        Bundle {
            keys: reader.values("Bundle", "Key", non_empty),
            urls: reader.values("Bundle", "URL", address::mirror),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Bioconductor {
    /// `https://`, `http://` or `file:///` of a Bioconductor mirror, no trailing slash.
    pub url: PrivateUrl,
    /// Cron, five fields, UTC.
    pub sync_schedule: String,
}

impl Bioconductor {
    pub(super) fn read(reader: &Reader<'_>) -> Bioconductor {
        Bioconductor {
            url: reader.value("Bioconductor", "URL", address::mirror),
            sync_schedule: reader.value("Bioconductor", "SyncSchedule", value::cron),
        }
    }
}

/// Returns the URL of data that is a folder of `cran`, `CRAN.URL`, if that is a directory, otherwise the public one.
fn default_url(cran: &str, folder: &str, public_url: &str) -> PrivateUrl {
    PrivateUrl(match cran.strip_prefix("file://") {
        Some(directory) => format!("file://{}/{folder}", directory.trim_end_matches('/')),
        None => public_url.to_owned(),
    })
}

/// URL of the published rules.
const PUBLIC_RULES_URL: &str =
    "https://github.com/rstudio/r-system-requirements/archive/refs/heads/main.tar.gz";

#[derive(Clone, Debug)]
pub struct Requirements {
    /// URL of the rules: an archive, a document, or `file:///` of a directory.
    pub url: PrivateUrl,
    /// Cron, five fields, UTC.
    pub sync_schedule: String,
}

impl Requirements {
    /// Reads the section. If `cran` is a directory, such as a bundle, its rules are the default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Requirements {
        let configured_url = reader.optional("SystemRequirements", "URL", address::mirror);
        let url = configured_url.unwrap_or_else(|| default_url(cran, "sysreqs", PUBLIC_RULES_URL));
        Requirements { url, sync_schedule: reader.value("SystemRequirements", "SyncSchedule", value::cron) }
    }
}

/// URL of the public advisories, with one folder per ecosystem.
const PUBLIC_ADVISORIES_URL: &str = "https://osv-vulnerabilities.storage.googleapis.com";

#[derive(Clone, Debug)]
pub struct Vulnerabilities {
    /// URLs of the advisories. Empty if advisories are turned off.
    pub urls: Vec<PrivateUrl>,
    /// Whether the URLs are set in the configuration. If so, a missing directory is an error.
    pub is_configured: bool,
    /// Cron, five fields, UTC.
    pub sync_schedule: String,
}

impl Vulnerabilities {
    /// Reads the section. If `cran` is a directory, such as a bundle, its advisories are the default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Vulnerabilities {
        let is_configured = reader.is_present("Vulnerabilities", "URL");
        let urls = if is_configured {
            reader.values("Vulnerabilities", "URL", address::mirror)
        } else {
            vec![default_url(cran, "vulns", PUBLIC_ADVISORIES_URL)]
        };
        let sync_schedule = reader.value("Vulnerabilities", "SyncSchedule", value::cron);
        Vulnerabilities { urls, is_configured, sync_schedule }
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    fn url(text: &str) -> String {
        config::parse("f", text.as_bytes(), []).expect(text).config.requirements.url.to_string()
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
        let config = config::parse("f", text.as_bytes(), []).expect(text).config;
        config.vulnerabilities.urls.iter().map(|url| &**url).collect::<Vec<_>>().join(" ")
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
