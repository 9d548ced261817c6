//! Feeds in the format Atom (RFC 4287).

use maud::{PreEscaped, html};

use crate::model::time::Timestamp;

/// One transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub transaction: i64,
    /// When it was published.
    pub at: Timestamp,
    /// The source that changed.
    pub source: String,
    /// What changed: `3 new, 41 updated`.
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
    /// When the repository changed last.
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

/// Text without the control characters that XML 1.0 forbids even escaped.
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
