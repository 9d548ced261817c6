//! The page of a package, in one version.

use std::cell::Cell;
use std::collections::BTreeSet;

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::readme::Html;
use super::text::{self, count, number, segment, visible};
use super::vulnerabilities::MAX_SUMMARY;
use base::model::text::one_line;
use base::model::time::Day;

/// The key of metadata that is displayed before all others.
const STATUS: &str = "status";
/// Maximum number of links to packages that title and description name in quotes.
const MAX_NAME_LINKS: usize = 200;

#[derive(Clone, Debug)]
pub struct Dependency {
    pub name: String,
    /// The condition on its version, such as `>= 1.0`; may be empty.
    pub condition: String,
    /// Whether the snapshot lists it.
    pub is_listed: bool,
}

#[derive(Clone, Debug)]
pub struct Vulnerability {
    pub id: String,
    pub summary: String,
}

/// The value of a row in the table of properties.
#[derive(Clone, Debug)]
pub enum PropertyValue {
    /// Text, which may be untrusted.
    Text(String),
    Day(Day),
    /// Untrusted addresses, which become links.
    Links(String),
    /// A digest or another text in the font for code.
    Code(String),
}

#[derive(Clone, Debug)]
pub struct Package {
    pub location: Location,
    pub name: String,
    /// The name as its owner writes it.
    pub display_name: String,
    pub version: String,
    /// Whether the snapshot lists this version.
    pub is_listed: bool,
    /// The reason why the version is yanked, which may be empty; `None` if it is not yanked.
    pub yanked: Option<String>,
    /// The reason why a rule blocks the version; `None` if no rule does.
    pub blocked: Option<String>,
    /// The highest blocked version above this one, with the rule and its reason.
    pub blocked_version: Option<(String, String)>,
    /// The rule that warns about it, with the reason.
    pub warning: Option<String>,
    pub title: String,
    pub description: String,
    /// The listed packages that title and description name in quotes.
    pub named_packages: BTreeSet<String>,
    /// The tag of the language of these texts, if it is known.
    pub language: Option<String>,
    /// The command that installs the version; `None` if there is none, as for a blocked version.
    pub install: Option<String>,
    pub vulnerabilities: Vec<Vulnerability>,
    pub properties: Vec<(&'static str, PropertyValue)>,
    /// Dependencies by kind; kinds without dependencies are omitted.
    pub dependencies: Vec<(&'static str, Vec<Dependency>)>,
    /// The first packages that depend on this one, and the number of all.
    pub dependents: (Vec<String>, usize),
    pub readme: Option<Html>,
    /// Metadata that administrators set, by key.
    pub metadata: Vec<(String, String)>,
    pub versions: usize,
    pub json: Option<String>,
    /// The address, below that of the snapshot, of the proof that it lists the version; `None` without one.
    pub proof: Option<String>,
    /// Whether there is a page of the days on which versions were listed.
    pub has_history: bool,
    /// Whether there are pages of dependencies, dependents and binaries.
    pub has_graph: bool,
    pub has_description: bool,
    pub has_files: bool,
    pub has_downloads: bool,
}

impl Package {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.name.clone(), None)),
            json: self.json.clone(),
            summary: if self.title.is_empty() { self.description.clone() } else { self.title.clone() },
            has_version_feed: self.has_history,
            ..Frame::new(
                root,
                format!("{} {}, {repo}, {snapshot}", visible(&self.display_name), visible(&self.version)),
            )
        };
        let language = self.language.clone().unwrap_or_default();
        let links = Cell::new(0_usize);
        let page = |name: &str| {
            let is_linked = self.named_packages.contains(name) && links.get() < MAX_NAME_LINKS;
            is_linked.then(|| {
                links.set(links.get() + 1);
                frame.root.package(&self.location, name, "")
            })
        };
        let title = html! {
            @if !self.title.is_empty() {
                p.prose lang=(language) dir="auto" { strong { (text::with_packages(&self.title, page)) } }
            }
        };
        let texts = html! {
            @if !self.description.is_empty() {
                h2 { "Description" }
                p.prose lang=(language) dir="auto" { (text::description(&self.description, page)) }
            }
            (self.dependencies(&frame.root))
            @if let Some(readme) = &self.readme {
                h2 { "README" }
                (readme)
            }
        };
        frame.render(&html! {
            h1 data-automation="package-title" { (visible(&self.display_name)) " " (visible(&self.version)) }
            (self.state(&frame.root))
            (title)
            @if let Some(install) = &self.install { figure.snippet {
                figcaption {
                    span { a href=(frame.root.snapshot(repo, snapshot)) { "Set up " (repo) ", " (snapshot) } ", then:" }
                }
                pre tabindex="0" { code { (install) } }
            } }
            (self.pages(&frame.root))
            (self.vulnerabilities())
            div.columns {
                @if !texts.0.is_empty() { div { (texts) } }
                (self.properties())
            }
        })
    }

    fn state(&self, root: &Root) -> Markup {
        let address = root.package(&self.location, &self.name, "");
        html! {
            @if !self.is_listed {
                p.notice { "This snapshot lists another version: " a href=(address) { "the listed one" } "." }
            }
            @if let Some((_, status)) = self.metadata.iter().find(|(key, _)| key == STATUS) {
                p.notice data-automation="package-status" { "Status: " strong { (visible(status)) } }
            }
            @if let Some(reason) = &self.blocked {
                p.notice { "This version is blocked in this repository by " (visible(reason)) "." }
            }
            @if let Some((version, reason)) = &self.blocked_version {
                p.notice {
                    "Version " (visible(version)) " is blocked in this repository by " (visible(reason)) "."
                }
            }
            @if let Some(reason) = &self.warning {
                p.notice { span.danger { "Warning" } " of this repository about this version: " (visible(reason)) "." }
            }
            @if let Some(reason) = &self.yanked {
                p.notice { span.danger { "Yanked" } @if !reason.is_empty() { ": " (visible(reason)) } }
            }
        }
    }

    /// Renders the links to the pages below that of the package. They precede the README, which may be long.
    fn pages(&self, root: &Root) -> Markup {
        let below = |page: &str| root.package(&self.location, &self.name, page);
        let of_version = |page: &str| {
            let address = root.package(&self.location, &self.name, page);
            match (self.is_listed, address.contains('?')) {
                (true, _) => address,
                (false, true) => format!("{address}&version={}", segment(&self.version)),
                (false, false) => format!("{address}?version={}", segment(&self.version)),
            }
        };
        html! {
            nav aria-label="Package" {
                ul.links {
                    li { a href=(below("versions/")) { (count(self.versions, "version", "versions")) } }
                    @if self.has_history { li { a href=(below("history/")) { "History" } } }
                    @if self.has_graph {
                        li { a href=(below("dependencies/")) { "Installation" } }
                        li { a href=(below("binaries/")) { "Binaries" } }
                    }
                    li { a href=(below("why/")) { "Which file a client gets" } }
                    @if self.has_downloads { li { a href=(below("downloads/")) { "Downloads" } } }
                    @if self.has_files {
                        li { a href=(of_version("files/")) { "Files" } }
                    }
                    @if self.has_description { li { a href=(of_version("DESCRIPTION")) { "DESCRIPTION" } } }
                    @if let Some(proof) = &self.proof {
                        @let folder = root.folder(&self.location.repo, &self.location.snapshot);
                        li { a href={ (folder) (proof) } { "Proof" } }
                    }
                }
            }
        }
    }

    fn vulnerabilities(&self) -> Markup {
        if self.vulnerabilities.is_empty() {
            return html! {};
        }
        html! {
            section aria-labelledby="vulnerabilities" {
                h2.danger id="vulnerabilities" {
                    (count(self.vulnerabilities.len(), "known vulnerability", "known vulnerabilities"))
                }
                ul { @for vulnerability in &self.vulnerabilities {
                    li {
                        strong { (visible(&vulnerability.id)) } " "
                        (visible(&one_line(&vulnerability.summary, MAX_SUMMARY)))
                    }
                } }
            }
        }
    }

    fn dependencies(&self, root: &Root) -> Markup {
        let (dependents, total) = &self.dependents;
        html! {
            @if !self.dependencies.is_empty() {
                h2 { "Dependencies" }
                @for (kind, dependencies) in &self.dependencies {
                    p { strong { (kind) } ": "
                        @for (at, dependency) in dependencies.iter().enumerate() {
                            @if at > 0 { ", " }
                            @if dependency.is_listed {
                                a href=(root.package(&self.location, &dependency.name, "")) { (visible(&dependency.name)) }
                            } @else { (visible(&dependency.name)) }
                            @if !dependency.condition.is_empty() { " (" (visible(&dependency.condition)) ")" }
                        }
                    }
                }
            }
            @if *total > 0 {
                h2 { "Used by " (count(*total, "package", "packages")) }
                p {
                    @for (at, name) in dependents.iter().enumerate() {
                        @if at > 0 { ", " }
                        a href=(root.package(&self.location, name, "")) { (visible(name)) }
                    }
                    @if *total > dependents.len() { " and " (number(total - dependents.len())) " more" }
                    ". " a href=(root.package(&self.location, &self.name, "dependents/")) { "All dependents, with their conditions" }
                }
            }
        }
    }

    fn properties(&self) -> Markup {
        html! {
            section aria-labelledby="facts" {
                h2 id="facts" { "Details" }
                dl.facts {
                    @for (label, value) in &self.properties {
                        dt { (label) }
                        dd dir="auto" { @match value {
                            PropertyValue::Text(text) => { (visible(text)) }
                            PropertyValue::Day(day) => { (text::day(*day)) }
                            PropertyValue::Links(field) => { (text::addresses(field)) }
                            PropertyValue::Code(code) => { code { (code) } }
                        } }
                    }
                }
                @if !self.metadata.is_empty() {
                    h3 { "Metadata" }
                    dl.facts data-automation="package-metadata" {
                        @for (key, value) in &self.metadata {
                            dt { (visible(key)) }
                            dd dir="auto" { (visible(value)) }
                        }
                    }
                }
            }
        }
    }
}
