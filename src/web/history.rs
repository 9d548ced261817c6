//! The days on which a repository listed the versions of a package.

use maud::html;

use super::frame::{Frame, Location, Root, Section};
use super::text::{self, visible};
use crate::model::time::Day;

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
}

/// Returns the page of the history of a package, newest first.
#[must_use]
pub fn page(root: Root, location: &Location, package: &str, listed: &[ListedVersion]) -> String {
    let frame = Frame {
        location: Some((location.clone(), Section::Packages)),
        package: Some((package.to_owned(), Some("History"))),
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
                    @if let Some(day) = row.until { (text::day(day)) } @else { strong { "still listed" } }
                }
            } } }
        } }
    })
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
        };
        let location = Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() };
        let rows = [row("1.1", "2026-11-20", None), row("1.0", "2026-11-01", Some("2026-11-20"))];
        let html = page(Root::of_path("/prod/latest/web/packages/a/history/"), &location, "a", &rows);
        for part in ["/prod/2026-11-20/web/packages/a/", "still listed", "&lt;team&gt;", "History"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
