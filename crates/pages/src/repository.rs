//! The page of a repository at a snapshot: setup, calendar, the content of the snapshot.

use maud::{Markup, html};

use super::calendar::Calendar;
use super::feed::RepositoryEvent;
use super::first_packages::FirstPackages;
use super::frame::{Frame, Location, Root, Section};
use super::setup::{Setup, System};
use super::text::{self, count, visible};
use base::model::time::Day;

/// Whether the content of a snapshot can still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Newest,
    /// The state of a day that has not ended.
    CurrentDay,
    /// A past state that is not final: the first subscriptions are from today, or a source was not synced since.
    Unfinished,
    /// A past state to which block rules apply.
    Rules,
    /// A state that never changes.
    Final,
}

impl Stability {
    fn sentence(self) -> &'static str {
        match self {
            Stability::Newest => "The newest state; it changes when a source does.",
            Stability::CurrentDay => "This snapshot can still change: its day has not ended.",
            Stability::Unfinished => {
                "This snapshot can still change: its subscriptions or its sources are not final yet."
            }
            Stability::Rules => "This snapshot changes only with the block rules that apply to it.",
            Stability::Final => "This snapshot never changes.",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Overview<'a> {
    pub location: Location,
    pub description: String,
    pub setup: Setup,
    /// Whether the system was detected from the browser and not chosen.
    pub is_detected: bool,
    pub stability: Stability,
    pub published: Option<Day>,
    pub packages: usize,
    pub sources: Vec<String>,
    /// The newest changes, if the snapshot is the newest one.
    pub changes: Vec<RepositoryEvent>,
    pub bioconductor: Vec<String>,
    pub calendar: Calendar<'a>,
    pub first_packages: &'a FirstPackages,
    /// Whether the API describes the repository under the name or number in the address.
    pub has_json: bool,
}

impl Overview<'_> {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let summary = format!("{}. {}", count(self.packages, "package", "packages"), self.description);
        let frame = Frame {
            location: Some((self.location.clone(), Section::Overview)),
            summary,
            json: self.has_json.then(|| format!("{root}__api__/repos/{}", text::segment(repo))),
            ..Frame::new(root, format!("{repo}, {snapshot}"))
        };
        frame.render(&html! {
            h1 { (repo) @if snapshot != "latest" { ", " (snapshot) } }
            @if !self.description.is_empty() { p.prose dir="auto" { (visible(&self.description)) } }
            p { (self.state()) }
            (self.calendar.year(&frame.root))
            div.columns {
                section aria-labelledby="setup" {
                    h2 id="setup" { "Set up" }
                    (self.choice(&frame.root))
                    (self.setup.render())
                }
                div {
                    section aria-labelledby="days" {
                        h2 id="days" { "Days" }
                        (self.calendar.render(&frame.root))
                    }
                    section aria-labelledby="content-of-snapshot" {
                        h2 id="content-of-snapshot" { "Content" }
                        (self.content(&frame.root))
                    }
                }
            }
        })
    }

    fn state(&self) -> Markup {
        html! {
            (self.stability.sentence())
            @if let Some(day) = self.published { " Published on " (text::day(day)) "." }
        }
    }

    fn choice(&self, root: &Root) -> Markup {
        let Location { repo, snapshot } = &self.location;
        let day: Option<Day> = snapshot.parse().ok();
        let day = day.map(|day| day.to_string());
        let first = self.calendar.changes.keys().next().map(Day::to_string);
        let today = self.calendar.today.to_string();
        html! {
            form method="get" action={ (root) (text::segment(repo)) "/" } { div.fields {
                label { "Day " small { "empty: always the newest" } " "
                    input type="date" name="day" value=[day] min=[first] max=(today); }
                @if self.setup.has_systems() { label { "System "
                    select name="platform" {
                        // Only the text for one list of R has code that detects the distribution.
                        @if self.setup.kind.is_one_list() { (self.system("linux", "Linux, detected by R")) }
                        @for distribution in &self.setup.distributions {
                            (self.system(&distribution.name, &distribution.display))
                        }
                        (self.system("source", "Source packages"))
                        (self.system("windows", "Windows"))
                        (self.system("macos", "macOS"))
                    }
                } }
                @if !self.bioconductor.is_empty() { label { "Bioconductor "
                    select name="bioc" {
                        @for version in &self.bioconductor {
                            option value=(version) selected[self.setup.bioconductor.as_ref() == Some(version)] {
                                (version)
                            }
                        }
                    }
                } }
                button { "Show" }
            } }
            @if self.is_detected && self.setup.has_systems() && self.setup.system != System::Source {
                p { small { "The system is that of this browser." } }
            }
            @if self.setup.system == System::AnyLinux && self.setup.kind.is_one_list() {
                p { small {
                    "The code for R detects the distribution, and uses its binaries if there are any. Choose a distribution \
                     for an address without such code."
                } }
            }
            @if self.setup.system == System::Source && self.setup.kind.has_parts() {
                p { small { "On Linux, choose the distribution for the address of its binaries." } }
            }
        }
    }

    fn system(&self, key: &str, name: &str) -> Markup {
        html! { option value=(key) selected[self.setup.system.key() == key] { (name) } }
    }

    fn content(&self, root: &Root) -> Markup {
        let Location { repo, snapshot } = &self.location;
        html! {
            p { a href=(root.packages(repo, snapshot)) { (count(self.packages, "package", "packages")) } }
            @if self.sources.is_empty() && self.stability == Stability::Newest {
                p { "No source is subscribed. " (self.first_packages.render()) }
            } @else if self.sources.is_empty() {
                p { "No source had packages." }
            } @else {
                @if self.packages == 0 && self.stability == Stability::Newest {
                    p { "The repository is empty. " (self.first_packages.render()) }
                }
                p { "Sources; a package comes from the first one that has it:" }
                ol { @for source in &self.sources { li { (source) } } }
            }
            @if !self.changes.is_empty() {
                h3 { "Latest changes" }
                ul { @for change in &self.changes {
                    li { (text::day(change.at.day())) " " (change.subject) ": " (change.summary) }
                } }
            }
        }
    }
}
