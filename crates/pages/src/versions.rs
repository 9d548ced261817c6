//! The versions of a package that a snapshot serves, with their files.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::table::{Column, table};
use super::text::{self, count, visible};
use super::timeline::{Release, timeline};
use base::model::time::Day;

#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    /// Its address, relative to the page; `None` if it is unknown.
    pub address: Option<String>,
    pub size: Option<u64>,
    pub sha256: Option<String>,
    /// Further facts: the interpreters, the reason for which it is yanked or blocked, or a warning.
    pub remark: String,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub version: String,
    /// Its state in one word: `listed`, `archived`, `yanked`, `blocked`.
    pub state: &'static str,
    /// Publication day, if known.
    pub published: Option<Day>,
    pub vulnerabilities: usize,
    pub files: Vec<File>,
}

/// Returns the page of the versions of a package, newest first. `newest` is the day of the newest state, up to which the
/// picture shows the release that none replaced.
pub fn page(
    root: Root,
    location: &Location,
    package: &str,
    versions: &[Version],
    newest: Option<Day>,
) -> String {
    let frame = Frame {
        location: Some((location.clone(), Section::Packages)),
        package: Some((package.to_owned(), Some("Versions"))),
        ..Frame::new(root, format!("Versions of {}, {}", visible(package), location.repo))
    };
    let columns =
        [Column::name("Version"), Column::text("State"), Column::name("Published"), Column::text("Files")];
    let row = |version: &Version| {
        [
            html! { a href=(frame.root.version(location, package, &version.version)) { (visible(&version.version)) } },
            html! {
                (version.state)
                @if version.vulnerabilities > 0 { " " span.danger {
                    (count(version.vulnerabilities, "vulnerability", "vulnerabilities"))
                } }
            },
            html! { @if let Some(day) = version.published { (text::day(day)) } },
            html! { @for file in &version.files { (self::file(file)) } },
        ]
    };
    frame.render(&html! {
        h1 { "Versions of " (visible(package)) }
        p { (count(versions.len(), "version", "versions")) " in this snapshot." }
        (timeline(package, &releases(versions), newest))
        (table("Versions", columns, versions.iter().map(row)))
    })
}

/// Returns the versions whose day of publication is known, newest first.
fn releases(versions: &[Version]) -> Vec<Release> {
    let mut published: Vec<(Day, &str)> =
        versions.iter().filter_map(|version| Some((version.published?, version.version.as_str()))).collect();
    published.sort_by_key(|(day, _)| std::cmp::Reverse(*day));
    let next = std::iter::once(None).chain(published.iter().map(|(day, _)| Some(*day)));
    let release = |((from, version), until): (&(Day, &str), Option<Day>)| Release {
        version: (*version).to_owned(),
        from: *from,
        until,
    };
    published.iter().zip(next).map(release).collect()
}

fn file(file: &File) -> Markup {
    html! {
        p {
            @match &file.address {
                Some(address) => { a href=(address) { (visible(&file.name)) } }
                None => { (visible(&file.name)) }
            }
            @if let Some(size) = file.size { " " (text::size(size)) }
            @if !file.remark.is_empty() { " " (visible(&file.remark)) }
            @if let Some(digest) = &file.sha256 { br; small { "SHA-256 " code { (digest) } } }
        }
    }
}
