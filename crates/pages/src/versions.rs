//! The versions of a package that a snapshot serves, with their files.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::text::{self, count, visible};
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

/// Returns the page of the versions of a package, newest first.
pub fn page(root: Root, location: &Location, package: &str, versions: &[Version]) -> String {
    let frame = Frame {
        location: Some((location.clone(), Section::Packages)),
        package: Some((package.to_owned(), Some("Versions"))),
        ..Frame::new(root, format!("Versions of {}, {}", visible(package), location.repo))
    };
    frame.render(&html! {
        h1 { "Versions of " (visible(package)) }
        p { (count(versions.len(), "version", "versions")) " in this snapshot." }
        section.scroll tabindex="0" aria-label="Versions" { table {
            thead { tr {
                th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Published" }
                th scope="col" { "Files" }
            } }
            tbody { @for version in versions { tr {
                td.name { a href=(frame.root.version(location, package, &version.version)) {
                    (visible(&version.version))
                } }
                td {
                    (version.state)
                    @if version.vulnerabilities > 0 { " " span.danger {
                        (count(version.vulnerabilities, "vulnerability", "vulnerabilities"))
                    } }
                }
                td.name { @if let Some(day) = version.published { (text::day(day)) } }
                td { @for file in &version.files { (self::file(file)) } }
            } } }
        } }
    })
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
