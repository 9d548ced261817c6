//! `[SystemRequirements]`.

use super::address::{self, UrlPurpose, without_userinfo};
use super::reader::Reader;
use super::value;

/// URL of the published rules.
const PUBLIC_URL: &str = "https://github.com/rstudio/r-system-requirements/archive/refs/heads/main.tar.gz";

#[derive(Clone)]
pub struct Requirements {
    /// URL of the rules: an archive, a document, or `file:///` of a directory; may contain user and password.
    pub url: String,
    /// Cron, five fields, UTC; default `0 1 * * *`.
    pub sync_schedule: String,
}

impl Requirements {
    /// Reads the section. `cran` is `CRAN.URL`: if it is a directory, such as a bundle, the rules in it are the
    /// default.
    pub(super) fn read(reader: &Reader<'_>, cran: &str) -> Requirements {
        let configured_url =
            reader.optional("SystemRequirements", "URL", |text| address::url(text, UrlPurpose::Mirror));
        let url = configured_url.unwrap_or_else(|| match cran.strip_prefix("file://") {
            Some(folder) => format!("file://{}/sysreqs", folder.trim_end_matches('/')),
            None => PUBLIC_URL.to_owned(),
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

#[cfg(test)]
mod tests {
    use crate::config;

    fn url(text: &str) -> String {
        config::parse("f", text.as_bytes(), []).expect(text).config.requirements.url.clone()
    }

    #[test]
    fn the_default_rules_are_those_of_a_directory_of_packages() {
        assert_eq!(url(""), super::PUBLIC_URL);
        assert_eq!(url("[CRAN]\nURL = https://cran.example\n"), super::PUBLIC_URL);
        assert_eq!(url("[CRAN]\nURL = file:///srv/data/\n"), "file:///srv/data/sysreqs");
        let configured = "[CRAN]\nURL = file:///srv/data\n[SystemRequirements]\nURL = file:///srv/rules\n";
        assert_eq!(url(configured), "file:///srv/rules");
    }
}
