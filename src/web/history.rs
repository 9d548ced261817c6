//! The days on which a repository listed the versions of a package.

use maud::html;

use super::frame::{Frame, Location, Root, Section};
use super::text::{self, visible};
use crate::model::time::Day;

/// Maximum number of versions in the notice about hidden ones.
const MAX_HIDDEN: usize = 20;

/// A period in which the repository listed a version.
#[derive(Clone, Debug)]
pub struct ListedVersion {
    /// The version.
    pub version: String,
    /// The source that it was served from.
    pub source: String,
    /// The first day.
    pub from: Day,
    /// The first day on which the version was no longer listed; `None` if it is listed now.
    pub until: Option<Day>,
    /// Whether only dated URLs list the version now, because a rule hides it in `latest`.
    pub is_only_dated: bool,
}

/// The history of a package.
#[derive(Clone, Debug)]
pub struct History {
    /// The package.
    pub package: String,
    /// The versions that the repository listed, newest first.
    pub listed: Vec<ListedVersion>,
    /// The versions that block rules hide at some time, newest first, with the rule and its reason.
    pub hidden: Vec<(String, String)>,
}

impl History {
    /// Returns the page.
    #[must_use]
    pub fn render(&self, root: Root, location: &Location) -> String {
        let History { package, listed, hidden } = self;
        let frame = Frame {
            location: Some((location.clone(), Section::Packages)),
            package: Some((package.clone(), Some("History"))),
            has_version_feed: true,
            ..Frame::new(root, format!("History of {}, {}", visible(package), location.repo))
        };
        let of_day = |day: Day| {
            let location = Location { snapshot: day.to_string(), ..location.clone() };
            frame.root.package(&location, package, "")
        };
        frame.render(&html! {
            h1 { "History of " (visible(package)) }
            p.prose {
                "The versions that this repository listed, with its sources in their order of that time. Each day is a link "
                "to the package as of the end of that day."
            }
            @if !hidden.is_empty() {
                p.notice {
                    "Block rules hide versions of this package: "
                    @for (index, (version, reason)) in hidden.iter().take(MAX_HIDDEN).enumerate() {
                        @if index > 0 { "; " }
                        (visible(version)) " by " (visible(reason))
                    }
                    @if hidden.len() > MAX_HIDDEN { "; and " (hidden.len() - MAX_HIDDEN) " more" }
                    ". The table has the days whose addresses list a version under these rules."
                }
            }
            section.scroll tabindex="0" aria-label="History" { table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "Source" } th scope="col" { "Listed from" }
                    th scope="col" { "Until" }
                } }
                tbody { @for row in listed { tr {
                    td.name { (visible(&row.version)) }
                    td { (visible(&row.source)) }
                    td.name { a href=(of_day(row.from)) { (text::day(row.from)) } }
                    td.name {
                        @if let Some(day) = row.until { (text::day(day)) }
                        @else if row.is_only_dated { "listed on days, not in latest" }
                        @else { strong { "still listed" } }
                    }
                } } }
            } }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_days_and_a_link_to_the_first() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let row = |version: &str, from: &str, until: Option<&str>| ListedVersion {
            version: version.to_owned(),
            source: "<team>".to_owned(),
            from: day(from),
            until: until.map(day),
            is_only_dated: false,
        };
        let location = Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() };
        let listed = vec![row("1.1", "2026-11-20", None), row("1.0", "2026-11-01", Some("2026-11-20"))];
        let history = |listed: Vec<ListedVersion>, hidden| {
            let history = History { package: "a".to_owned(), listed, hidden };
            history.render(Root::of_path("/prod/latest/web/packages/a/history/"), &location)
        };
        let html = history(listed.clone(), Vec::new());
        for part in ["/prod/2026-11-20/web/packages/a/", "still listed", "&lt;team&gt;", "History"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("Block rules"), "{html}");
        let mut dated = listed;
        dated[0].is_only_dated = true;
        let hidden = (0..=MAX_HIDDEN).map(|at| (format!("2.{at}"), "rule 1 (<b>)".to_owned())).collect();
        let html = history(dated, hidden);
        assert!(html.contains("listed on days, not in latest") && !html.contains("still listed"), "{html}");
        assert!(
            html.contains("2.0 by rule 1 (&lt;b&gt;); 2.1 by") && html.contains("; and 1 more. The table"),
            "{html}"
        );
    }
}
