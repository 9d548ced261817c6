//! Feeds in the format Atom (RFC 4287).

use maud::{Markup, PreEscaped, html};

use super::text::segment;
use super::vulnerabilities::{MAX_SUMMARY, versions};
use api::public::vulnerability::AffectedPackage;
use base::model::ids::TxId;
use base::model::text::one_line;
use base::model::time::Timestamp;
use base::model::visible::is_control;

/// A change of what `latest` of a repository lists: a transaction of one of its sources, or of its list of subscriptions.
#[derive(Clone, Debug)]
pub struct RepositoryEvent {
    pub transaction: TxId,
    /// The transaction from which on the repository serves the change.
    pub snapshot: TxId,
    /// Time at which the repository got the change.
    pub at: Timestamp,
    /// The name of the source, or `subscriptions`.
    pub subject: String,
    /// The changes in short: `3 new, 41 updated`.
    pub summary: String,
}

#[derive(Clone, Debug)]
pub struct Feed {
    pub repo: String,
    /// The URL of the server, without a slash at the end.
    pub base: String,
    /// The name of the repository, encoded as a segment of a path.
    pub segment: String,
    pub updated: Timestamp,
    /// The transactions, newest first.
    pub entries: Vec<RepositoryEvent>,
}

impl Feed {
    pub fn render(&self) -> String {
        let Feed { base, segment, .. } = self;
        let entries = html! {
            @for entry in &self.entries {
                entry {
                    id { (base) "/" (segment) "/" (entry.transaction.0) "/" }
                    title { (plain(&entry.subject)) ": " (plain(&entry.summary)) }
                    updated { (entry.at.to_string()) }
                    link rel="alternate" href={ (base) "/" (segment) "/" (entry.snapshot.0) "/" } {}
                    summary { (plain(&entry.summary)) }
                }
            }
        };
        let folder = format!("{base}/{segment}/latest/web");
        let addresses = [format!("{folder}/changes.atom"), format!("{folder}/changes/")];
        document(&format!("Changes of {}", self.repo), &addresses, self.updated, &entries)
    }
}

/// A version of a package that a repository began to list.
#[derive(Clone, Debug)]
pub struct VersionEntry {
    pub version: String,
    /// Whether `latest` still has the version, listed or archived.
    pub is_served: bool,
    /// Time at which the repository began to list the version.
    pub at: Timestamp,
    pub source: String,
}

#[derive(Clone, Debug)]
pub struct VersionFeed {
    pub repo: String,
    pub package: String,
    /// Whether `latest` has the package.
    pub is_served: bool,
    /// The URL of the page of the package, without a slash at the end.
    pub address: String,
    /// Time at which the repository began to list the newest version.
    pub updated: Timestamp,
    /// The versions, newest first.
    pub entries: Vec<VersionEntry>,
}

impl VersionFeed {
    pub fn render(&self) -> String {
        let VersionFeed { address, package, .. } = self;
        let entries = html! {
            @for entry in &self.entries {
                @let version = segment(&entry.version);
                entry {
                    // The id contains the time, because a version may be listed again after another one.
                    id { (address) "/?version=" (version) "#" (entry.at.0) }
                    title { (plain(package)) " " (plain(&entry.version)) }
                    updated { (entry.at.to_string()) }
                    @if entry.is_served { link rel="alternate" href={ (address) "/?version=" (version) } {} }
                    @else { link rel="alternate" href={ (address) "/history/" } {} }
                    summary {
                        "listed"
                        @if !entry.source.is_empty() { " from " (plain(&entry.source)) }
                    }
                }
            }
        };
        let page = if self.is_served { "" } else { "history/" };
        let addresses = [format!("{address}/versions.atom"), format!("{address}/{page}")];
        document(&format!("Versions of {package} in {}", self.repo), &addresses, self.updated, &entries)
    }
}

#[derive(Clone, Debug)]
pub struct VulnerabilityFeed {
    pub repo: String,
    /// The URL of the pages of the repository, `https://host/prod/latest/web`.
    pub folder: String,
    pub updated: Timestamp,
    /// The vulnerabilities, the last changed first, each with the time of its last change.
    pub entries: Vec<(Timestamp, AffectedPackage)>,
}

impl VulnerabilityFeed {
    pub fn render(&self) -> String {
        let VulnerabilityFeed { folder, .. } = self;
        let entries = html! {
            @for (changed, row) in &self.entries {
                @let package = format!("{folder}/packages/{}/", segment(&row.name));
                entry {
                    id { (package) "#" (segment(&row.id)) }
                    title { (plain(&row.name)) ": " (plain(&row.id)) }
                    updated { (changed.to_string()) }
                    link rel="alternate" href=(package) {}
                    summary {
                        (plain(&one_line(row.summary.as_deref().unwrap_or_default(), MAX_SUMMARY))) " Affected: " (plain(&versions(&row.versions))) ". Fixed in: "
                        @if row.fixed_in.is_empty() { "no version" } @else { (plain(&versions(&row.fixed_in))) } "."
                    }
                }
            }
        };
        let addresses = [format!("{folder}/vulnerabilities.atom"), format!("{folder}/vulnerabilities/")];
        document(&format!("Known vulnerabilities in {}", self.repo), &addresses, self.updated, &entries)
    }
}

/// Returns a feed. `address` is its own address and its id, `page` the address of the page with the same content.
fn document(title: &str, [address, page]: &[String; 2], updated: Timestamp, entries: &Markup) -> String {
    let document = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"))
        feed xmlns="http://www.w3.org/2005/Atom" {
            id { (address) }
            title { (plain(title)) }
            updated { (updated.to_string()) }
            author { name { "rstudio-pm" } }
            link rel="self" href=(address) {}
            link rel="alternate" href=(page) {}
            (entries)
        }
    };
    document.into_string()
}

/// Removes the characters that XML 1.0 forbids, even escaped, and those that change the direction of text.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_control(*c) && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
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
            entries: vec![RepositoryEvent {
                transaction: TxId(7),
                snapshot: TxId(7),
                at: "2026-11-20T07:50:28Z".parse().expect("a time"),
                subject: "cr\u{202e}an\u{2069}".to_owned(),
                summary: "3 new\u{2066} & \u{ffff}more".to_owned(),
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
        assert!(text.contains("<summary>3 new &amp; more</summary>"), "{text}");
        let is_removed = |c: char| is_control(c) && c != '\n' || c == '\u{ffff}';
        assert!(!text.contains(is_removed), "{text:?}");
    }
}
