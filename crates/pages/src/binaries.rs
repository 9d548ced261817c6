//! The binaries of a package.

use maud::html;

use super::frame::{Frame, Location, Root, Section};
use super::table::{Column, table};
use super::text::{self, count, size, visible};
use base::model::time::Day;

#[derive(Clone, Debug)]
pub struct BinaryLine {
    pub version: String,
    /// The platform and the version of R for which the binary was built.
    pub platform: String,
    /// The architecture, or a text stating that it runs on all architectures.
    pub architecture: String,
    pub listed: Day,
    pub size: Option<u64>,
    pub sha256: Option<String>,
}

/// Maximum number of binaries on a page; the newest versions come first.
pub const MAX_ROWS: usize = 200;

/// Returns the page. `rows` are the first of `total` binaries, newest version first; `json` is the address of the API.
pub fn page(
    root: Root,
    location: &Location,
    package: &str,
    rows: &[BinaryLine],
    total: usize,
    json: String,
) -> String {
    let frame = Frame {
        location: Some((location.clone(), Section::Packages)),
        package: Some((package.to_owned(), Some("Binaries"))),
        json: Some(json),
        ..Frame::new(root, format!("Binaries of {}, {}", visible(package), location.repo))
    };
    let columns = [
        Column::name("Version"),
        Column::text("Platform"),
        Column::text("Architecture"),
        Column::number("Size"),
        Column::name("Listed on"),
        Column::text("SHA-256"),
    ];
    let row = |row: &BinaryLine| {
        [
            html! { (visible(&row.version)) },
            html! { (visible(&row.platform)) },
            html! { (visible(&row.architecture)) },
            html! { @if let Some(bytes) = row.size { (size(bytes)) } },
            html! { (text::day(row.listed)) },
            html! { @if let Some(digest) = &row.sha256 { small { code { (digest) } } } },
        ]
    };
    frame.render(&html! {
        h1 { "Binaries of " (visible(package)) }
        @if rows.is_empty() {
            p.prose {
                "No list of binaries has this package. Servers without a list are queried when a client requests a binary: "
                a href=(frame.root.package(location, package, "why/")) { "which file a client gets" }
                ", in a terminal " code { "rspm explain " (location.repo) " " (visible(package)) } "."
            }
        } @else {
            p {
                (count(total, "binary", "binaries"))
                @if total > rows.len() { ", of which these are the newest " (rows.len()) }
                "."
            }
            (table("Binaries", columns, rows.iter().map(row)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_binaries_explains_where_they_may_come_from() {
        let location = Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() };
        let root = || Root::of_path("/prod/latest/web/packages/a/binaries/");
        let empty = page(root(), &location, "a", &[], 0, "x/builds".to_owned());
        assert!(empty.contains("/prod/latest/web/packages/a/why/"), "{empty}");
        let row = BinaryLine {
            version: "1.0".to_owned(),
            platform: "noble, R 4.4".to_owned(),
            architecture: "x86_64".to_owned(),
            listed: "2026-11-20".parse().expect("a day"),
            size: Some(2_000),
            sha256: Some("ab".repeat(32)),
        };
        let html = page(root(), &location, "a", &[row], 300, "x/builds".to_owned());
        assert!(html.contains("<a href=\"x/builds\">This page as JSON</a>"), "{html}");
        for part in ["300 binaries, of which these are the newest 1.", "noble, R 4.4", "2.0 kB", "2026-11-20"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
