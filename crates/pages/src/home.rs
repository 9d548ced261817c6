//! The home page: the repositories, and a search in all of them.

use maud::{Markup, html};

use super::first_packages::first_run;
use super::frame::{Frame, Location, Root, pager};
use super::table::{Column, table};
use super::text::{self, count, visible};
use api::public::status::Alert;
use base::model::time::Day;

#[derive(Clone, Debug)]
pub struct RepositoryCard {
    pub name: String,
    pub kind: &'static str,
    pub description: String,
    /// The number of packages; `None` if nothing was published yet.
    pub packages: Option<usize>,
    pub changed: Option<Day>,
}

#[derive(Clone, Debug)]
pub struct Repositories {
    pub cards: Vec<RepositoryCard>,
    pub page: usize,
    pub pages: usize,
    /// The ids and the names of the repositories on all pages. Links of Posit Package Manager may contain the id.
    pub names: Vec<(i64, String)>,
    /// The URL of the server.
    pub server: String,
}

#[derive(Clone, Debug)]
pub struct SearchMatch {
    pub repo: String,
    pub name: String,
    /// The name as the owner writes it.
    pub display_name: String,
    pub version: String,
    pub title: String,
}

#[derive(Clone, Debug, Default)]
pub struct SearchResult {
    pub query: String,
    /// Whether the texts of all packages were searched.
    pub is_complete: bool,
    /// If nothing was found: repositories and their packages with a similar name.
    pub similar: Vec<(String, String)>,
    pub page: usize,
    pub pages: usize,
    pub repositories: usize,
    /// The first matches in each repository of the page.
    pub packages: Vec<SearchMatch>,
    /// The repositories of the page with more matches, each with the number of all its matches.
    pub more: Vec<(String, usize)>,
}

/// Returns the home page; `alerts` are the current problems of the server.
pub fn page(
    root: Root,
    alerts: &[Alert],
    repositories: &Repositories,
    found: Option<&SearchResult>,
) -> String {
    let title = if found.is_some() { "Search results" } else { "Packages" };
    let search = found.map(|found| found.query.clone()).unwrap_or_default();
    let json = Some(format!("{root}__api__/repos"));
    let frame = Frame { search, json, ..Frame::new(root, title) };
    frame.render(&html! {
        h1 data-automation="home-title" { (title) }
        @if !alerts.is_empty() { (problems(alerts)) }
        @if let Some(found) = found {
            (results(&frame.root, found))
            h2 { "Repositories" }
        }
        @if repositories.names.is_empty() {
            (first_run(&repositories.server))
        } @else {
            ul.cards { @for repository in &repositories.cards { (card(&frame.root, repository)) } }
            @if found.is_none() {
                (pager(repositories.page, repositories.pages, |page| format!("?page={page}")))
            } @else if repositories.pages > 1 {
                p { a href="?page=1" { "All " (count(repositories.names.len(), "repository", "repositories")) } }
            }
        }
        // The script reads the names of repositories from here, a line for each one.
        template id="repository-numbers" {
            @for (id, name) in &repositories.names { (id) " " (name) "\n" }
        }
    })
}

/// Renders the problems that an administrator should solve.
fn problems(alerts: &[Alert]) -> Markup {
    html! {
        section.notice aria-label="Problems of this server" {
            ul { @for alert in alerts { li {
                (visible(&alert.message))
                @if let Some(since) = &alert.since { ", since " (text::time(since)) }
            } } }
        }
    }
}

fn card(root: &Root, repository: &RepositoryCard) -> Markup {
    let RepositoryCard { name, kind, description, packages, changed, .. } = repository;
    html! {
        li.card data-automation="repository-selection-card" {
            h2 { a href=(root.snapshot(name, "latest")) { (name) } " " small { (kind) } }
            @if !description.is_empty() { p dir="auto" { (visible(description)) } }
            p {
                @match packages {
                    Some(packages) => { (count(*packages, "package", "packages")) }
                    None => { "nothing published yet" }
                }
                @if let Some(day) = changed { ", changed " (text::day(*day)) }
            }
            ul.links {
                li { a href=(root.snapshot(name, "latest")) { "Set up" } }
                li { a href=(root.packages(name, "latest")) { "Packages" } }
                li { a href=(root.changes(name, "latest")) { "Changes" } }
                li { a href=(root.vulnerabilities(name, "latest")) { "Vulnerabilities" } }
            }
        }
    }
}

fn results(root: &Root, found: &SearchResult) -> Markup {
    if found.pages == 0 {
        let link = |(repo, name): &(String, String)| {
            let address = root.package(&newest(repo), name, "");
            html! { a href=(address) { (visible(name)) } " in " (repo) }
        };
        return html! {
            p { "No package was found for “" (visible(&found.query)) "”." }
            (text::proposals(found.similar.iter().map(link)))
            @if !found.is_complete { (text::incomplete_search()) }
        };
    }
    let address = |page: usize| format!("?q={}&page={page}", text::segment(&found.query));
    if found.packages.is_empty() {
        return html! {
            p { "This page is empty: the results have " (count(found.pages, "page", "pages")) "." }
            p { a href=(address(1)) { "The first page" } }
        };
    }
    let columns =
        [Column::name("Name"), Column::text("Version"), Column::text("Repository"), Column::title("Title")];
    let row = |package: &SearchMatch| {
        let address = root.package(&newest(&package.repo), &package.name, "");
        [
            html! { a href=(address) { (visible(&package.display_name)) } },
            html! { (visible(&package.version)) },
            html! { (package.repo) },
            text::marked(&package.title, &found.query),
        ]
    };
    html! {
        @if !found.is_complete { (text::incomplete_search()) }
        (table("Search results", columns, found.packages.iter().map(row)))
        @if !found.more.is_empty() {
            ul { @for (repo, total) in &found.more {
                li { a href={ (root.packages(repo, "latest")) "?q=" (text::segment(&found.query)) } {
                    "All " (text::number(*total)) " in " (repo)
                } }
            } }
        }
        @if found.pages > 1 {
            p { (count(found.repositories, "repository has", "repositories have")) " matches." }
            (pager(found.page, found.pages, address))
        }
    }
}

/// Returns the location of the newest snapshot of a repository.
fn newest(repo: &str) -> Location {
    Location { repo: repo.to_owned(), snapshot: "latest".to_owned() }
}
