//! Feeds in the format Atom (RFC 4287).

use maud::{PreEscaped, html};

use super::text::segment;
use crate::model::time::Timestamp;

/// One transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub transaction: i64,
    /// Publication time.
    pub at: Timestamp,
    /// The source that changed.
    pub source: String,
    /// The changes in short: `3 new, 41 updated`.
    pub summary: String,
}

/// The changes of a repository.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The repository.
    pub repo: String,
    /// The URL of the server, without a slash at the end.
    pub base: String,
    /// The repository as a segment of a path.
    pub segment: String,
    /// Time of the last change of the repository.
    pub updated: Timestamp,
    /// The transactions, newest first.
    pub entries: Vec<Entry>,
}

impl Feed {
    /// Returns the document.
    #[must_use]
    pub fn render(&self) -> String {
        let Feed { base, segment, .. } = self;
        let document = html! {
            (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
            feed xmlns="http://www.w3.org/2005/Atom" {
                id { (base) "/" (segment) "/latest/web/changes.atom" }
                title { "Changes of " (plain(&self.repo)) }
                updated { (self.updated.to_string()) }
                author { name { "rstudio-pm" } }
                link rel="self" href={ (base) "/" (segment) "/latest/web/changes.atom" } {}
                link rel="alternate" href={ (base) "/" (segment) "/latest/web/changes/" } {}
                @for entry in &self.entries {
                    entry {
                        id { (base) "/" (segment) "/" (entry.transaction) "/" }
                        title { (plain(&entry.source)) ": " (plain(&entry.summary)) }
                        updated { (entry.at.to_string()) }
                        link rel="alternate" href={ (base) "/" (segment) "/" (entry.transaction) "/" } {}
                        summary { (plain(&entry.summary)) }
                    }
                }
            }
        };
        document.into_string()
    }
}

/// A version of a package that a repository began to list.
#[derive(Clone, Debug)]
pub struct VersionEntry {
    /// The version.
    pub version: String,
    /// When it was listed.
    pub at: Timestamp,
    /// The source; may be empty.
    pub source: String,
}

/// The versions of a package in a repository.
#[derive(Clone, Debug)]
pub struct VersionFeed {
    /// The repository.
    pub repo: String,
    /// The package.
    pub package: String,
    /// The URL of the page of the package, without a slash at the end.
    pub address: String,
    /// When the newest version was listed.
    pub updated: Timestamp,
    /// The versions, newest first.
    pub entries: Vec<VersionEntry>,
}

impl VersionFeed {
    /// Returns the document.
    #[must_use]
    pub fn render(&self) -> String {
        let VersionFeed { address, package, .. } = self;
        let document = html! {
            (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
            feed xmlns="http://www.w3.org/2005/Atom" {
                id { (address) "/versions.atom" }
                title { "Versions of " (plain(package)) " in " (plain(&self.repo)) }
                updated { (self.updated.to_string()) }
                author { name { "rstudio-pm" } }
                link rel="self" href={ (address) "/versions.atom" } {}
                link rel="alternate" href={ (address) "/" } {}
                @for entry in &self.entries {
                    @let version = segment(&entry.version);
                    entry {
                        // A version may be listed again, after another one.
                        id { (address) "/?version=" (version) "#" (entry.at.0) }
                        title { (plain(package)) " " (plain(&entry.version)) }
                        updated { (entry.at.to_string()) }
                        link rel="alternate" href={ (address) "/?version=" (version) } {}
                        summary {
                            "listed"
                            @if !entry.source.is_empty() { " from " (plain(&entry.source)) }
                        }
                    }
                }
            }
        };
        document.into_string()
    }
}

/// Returns the text without the control characters that XML 1.0 forbids even escaped.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_xml_with_absolute_addresses() {
        let feed = Feed {
            repo: "prod\u{1}<".to_owned(),
            base: "https://host.example".to_owned(),
            segment: "prod".to_owned(),
            updated: "2026-11-20T07:50:28Z".parse().expect("a time"),
            entries: vec![Entry {
                transaction: 7,
                at: "2026-11-20T07:50:28Z".parse().expect("a time"),
                source: "cran".to_owned(),
                summary: "3 new & more".to_owned(),
            }],
        };
        let text = feed.render();
        for part in [
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">",
            "<title>Changes of prod&lt;</title>",
            "<link rel=\"self\" href=\"https://host.example/prod/latest/web/changes.atom\"></link>",
            "<entry><id>https://host.example/prod/7/</id><title>cran: 3 new &amp; more</title>",
            "<updated>2026-11-20T07:50:28Z</updated>",
            "</feed>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
