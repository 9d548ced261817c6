//! The frame of all pages: head, navigation, search, footer, links between the pages of a long list, the line
//! of a printed page, and the page of an error.

use std::fmt;

use maud::{DOCTYPE, Markup, Render, html};

use super::assets::{Assets, assets};
use super::text::{number, segment, visible, with_packages};
use base::model::text::one_line;

/// Maximum depth of an address whose page has relative links; only addresses with empty segments are deeper.
const MAX_DEPTH: usize = 16;

/// Maximum number of characters of the summary of a page.
const MAX_SUMMARY: usize = 200;

/// Whether a user is signed in, on a server with a sign-in. It determines the link in the navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// No user is signed in. Contains the path of the sign-in from the root of the server, with a leading slash.
    SignedOut(String),
    SignedIn,
}

/// The root of the server relative to a page: `./`, `../`. Links are relative: a proxy may have removed a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    path: String,
    account: Option<Account>,
    /// The version of Bioconductor that the address of the page selects; links to pages of the repository keep it.
    bioconductor: Option<String>,
    /// Whether the page has a link to the pages of administrators.
    is_administrator: bool,
}

impl Root {
    /// Returns the root for a page at a raw path.
    pub fn of_path(path: &str) -> Root {
        let path = match path.matches('/').count().saturating_sub(1) {
            0 => "./".to_owned(),
            depth @ 1..=MAX_DEPTH => "../".repeat(depth),
            _ => "/".to_owned(),
        };
        Root { path, account: None, bioconductor: None, is_administrator: false }
    }

    /// Returns the root for a page of unknown address, as an absolute path. `prefix` is the path of `Server.Address`.
    pub fn of_prefix(prefix: &str) -> Root {
        Root { path: format!("{prefix}/"), account: None, bioconductor: None, is_administrator: false }
    }

    pub fn with_account(self, account: Option<Account>) -> Root {
        Root { account, ..self }
    }

    pub fn with_administration(self, is_administrator: bool) -> Root {
        Root { is_administrator, ..self }
    }

    pub fn with_bioconductor(self, bioconductor: Option<String>) -> Root {
        Root { bioconductor, ..self }
    }

    /// Returns the query of a page of a repository: `parameters`, and the selected version of Bioconductor.
    pub fn query(&self, parameters: &[(&str, &str)]) -> String {
        let version = self.bioconductor.as_deref().map(|version| ("bioc", version));
        let all = parameters.iter().copied().chain(version);
        let all: Vec<String> = all.map(|(name, value)| format!("{name}={}", segment(value))).collect();
        if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
    }

    /// Returns the folder of a snapshot of a repository, with a slash at the end.
    pub fn folder(&self, repo: &str, snapshot: &str) -> String {
        format!("{self}{}/{}/", segment(repo), segment(snapshot))
    }

    pub fn snapshot(&self, repo: &str, snapshot: &str) -> String {
        format!("{}{}", self.folder(repo, snapshot), self.query(&[]))
    }

    pub fn packages(&self, repo: &str, snapshot: &str) -> String {
        format!("{}web/packages/{}", self.folder(repo, snapshot), self.query(&[]))
    }

    pub fn changes(&self, repo: &str, snapshot: &str) -> String {
        format!("{}web/changes/{}", self.folder(repo, snapshot), self.query(&[]))
    }

    pub fn bioconductor(&self) -> Option<&str> {
        self.bioconductor.as_deref()
    }

    pub fn lock_file(&self, repo: &str, snapshot: &str) -> String {
        format!("{}web/lockfile/{}", self.folder(repo, snapshot), self.query(&[]))
    }

    pub fn vulnerabilities(&self, repo: &str, snapshot: &str) -> String {
        format!("{}web/vulnerabilities/{}", self.folder(repo, snapshot), self.query(&[]))
    }

    pub fn package(&self, location: &Location, package: &str, below: &str) -> String {
        let folder = self.folder(&location.repo, &location.snapshot);
        format!("{folder}web/packages/{}/{below}{}", segment(package), self.query(&[]))
    }

    pub fn version(&self, location: &Location, package: &str, version: &str) -> String {
        let folder = self.folder(&location.repo, &location.snapshot);
        format!("{folder}web/packages/{}/{}", segment(package), self.query(&[("version", version)]))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Render for Root {
    fn render_to(&self, buffer: &mut String) {
        self.path.render_to(buffer);
    }
}

/// A repository and one of its snapshots, as the address of a page names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The name or number.
    pub repo: String,
    /// `latest`, a day or the number of a transaction.
    pub snapshot: String,
}

/// The pages of a snapshot in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    /// The package list, or a page below it.
    Packages,
    Changes,
    Vulnerabilities,
    LockFile,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub root: Root,
    /// The title, without the name of the server.
    pub title: String,
    pub location: Option<(Location, Section)>,
    /// The package of the page, and the name of the page if it is not its main page.
    pub package: Option<(String, Option<&'static str>)>,
    pub search: String,
    pub json: Option<String>,
    /// One sentence about the subject, which chat programs show with a link to the page; none if it is empty.
    pub summary: String,
    /// Whether there is a feed of the versions of the package.
    pub has_version_feed: bool,
    /// The navigation of a page without a snapshot.
    pub navigation: Option<Markup>,
}

impl Frame {
    pub fn new(root: Root, title: impl Into<String>) -> Frame {
        let (title, search, summary) = (title.into(), String::new(), String::new());
        let (location, package, json, navigation) = (None, None, None, None);
        Frame { root, title, location, package, search, json, summary, has_version_feed: false, navigation }
    }

    pub fn render(&self, content: &Markup) -> String {
        let Assets { style, script, icon, .. } = assets();
        let root = &self.root;
        let feed = self.feed();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " – rstudio-pm" }
                    @if !self.summary.is_empty() {
                        meta property="og:title" content=(self.title);
                        meta property="og:description" content=(visible(&one_line(&self.summary, MAX_SUMMARY)));
                    }
                    link rel="search" type="application/opensearchdescription+xml" title="rstudio-pm"
                        href={ (root) "assets/opensearch.xml" };
                    link rel="stylesheet" href={ (root) (style.path()) };
                    link rel="icon" type="image/svg+xml" href={ (root) (icon.path()) };
                    @if let Some((title, address)) = &feed {
                        link rel="alternate" type="application/atom+xml" title=(title) href=(address);
                    }
                    @if let Some(json) = &self.json { link rel="alternate" type="application/json" href=(json); }
                    script src={ (root) (script.path()) } integrity=(script.integrity()) defer {}
                }
                body data-root=(root) {
                    a.skip href="#content" { "Skip to the content" }
                    header.top { div.wide { a.brand href=(root) { "rstudio-pm" } (self.search_form()) (self.account()) } }
                    @if self.location.is_some() { (self.snapshot_navigation()) }
                    @if let Some(navigation) = &self.navigation { div.path.wide { (navigation) } }
                    main.wide id="content" { (content) }
                    footer.bottom { div.wide {
                        span { "rstudio-pm " (env!("CARGO_PKG_VERSION")) }
                        span { "Days and times are UTC" }
                        a href={ (root) "__docs__/" } { "Manual" }
                        a href={ (root) "__api__/swagger/" } { "API" }
                        @if let Some(json) = &self.json { a href=(json) { "This page as JSON" } }
                        @if let Some((title, address)) = &feed { a href=(address) { "Feed: " (title) } }
                    } }
                }
            }
        };
        page.into_string()
    }

    /// Returns the title and the address of the feed about the subject of the page. Feeds are about the newest state.
    fn feed(&self) -> Option<(String, String)> {
        let (location, section) = self.location.as_ref()?;
        let folder = self.root.folder(&location.repo, "latest");
        let repo = &location.repo;
        match (section, &self.package) {
            (Section::Overview | Section::Changes, _) => {
                Some((format!("Changes of {repo}"), format!("{folder}web/changes.atom")))
            }
            (Section::Vulnerabilities, _) => Some((
                format!("Known vulnerabilities in {repo}"),
                format!("{folder}web/vulnerabilities.atom"),
            )),
            // The newest state may not have a package of an earlier one.
            (Section::Packages, Some((package, _)))
                if self.has_version_feed && location.snapshot == "latest" =>
            {
                let title = format!("Versions of {}", visible(package));
                Some((title, self.root.package(location, package, "versions.atom")))
            }
            (Section::Packages | Section::LockFile, _) => None,
        }
    }

    /// Renders the search field, which searches in the snapshot of the page, or else in all repositories.
    fn search_form(&self) -> Markup {
        let (action, label) = match &self.location {
            Some((Location { repo, snapshot }, _)) => {
                (self.root.packages(repo, snapshot), format!("Search packages in {repo}"))
            }
            None => (self.root.to_string(), "Search packages in all repositories".to_owned()),
        };
        // Suggestions are names in the snapshot of the page.
        let location = self.location.as_ref().map(|(location, _)| location);
        let repo = location.map(|location| &location.repo);
        let snapshot = location.map(|location| &location.snapshot).filter(|snapshot| *snapshot != "latest");
        let version = self.root.bioconductor.as_ref().filter(|_| location.is_some());
        let hook = match self.location {
            Some(_) => "search-input-package-search",
            None => "search-input-home-package-search",
        };
        html! {
            form role="search" method="get" action=(action) {
                input type="search" name="q" value=(self.search) aria-label=(label) placeholder=(label)
                    maxlength="100" autocomplete="off" data-repository=[repo] data-snapshot=[snapshot] data-bioconductor=[version]
                    data-automation=(hook);
                // A hidden field, because a form replaces the query of its address.
                @if let Some(version) = &self.root.bioconductor { input type="hidden" name="bioc" value=(version); }
                button { "Search" }
            }
        }
    }

    fn account(&self) -> Markup {
        let root = &self.root;
        html! {
            @if root.is_administrator { a href={ (root) "__ui__/admin/" } { "Administration" } }
            @match &root.account {
                None => {}
                Some(Account::SignedOut(address)) => {
                    a href={ (root) (address.trim_start_matches('/')) } data-automation="sign-in" { "Sign in" }
                }
                Some(Account::SignedIn) => {
                    a href={ (root) "__logout__" } data-automation="sign-out" { "Sign out" }
                }
            }
        }
    }

    fn snapshot_navigation(&self) -> Markup {
        let Some((location, section)) = &self.location else { return html! {} };
        let Location { repo, snapshot } = location;
        let overview = self.root.snapshot(repo, snapshot);
        let packages = self.root.packages(repo, snapshot);
        let changes = self.root.changes(repo, snapshot);
        let vulnerabilities = self.root.vulnerabilities(repo, snapshot);
        let lock_file = self.root.lock_file(repo, snapshot);
        let current = |own: Section| (*section == own && self.package.is_none()).then_some("page");
        html! {
            div.path.wide {
                nav aria-label="Path" { ol {
                    li { a href=(self.root) { "Repositories" } }
                    li { (repo) }
                    li { a href=(overview) { (snapshot) } }
                    @if let Some((package, page)) = &self.package {
                        li { a href=(self.root.package(location, package, "")) { (package) } }
                        @if let Some(page) = page { li { (page) } }
                    }
                } }
                nav aria-label="Repository" { ul {
                    li { a href=(overview) aria-current=[current(Section::Overview)] { "Set up" } }
                    li { a href=(packages) aria-current=[current(Section::Packages)] { "Packages" } }
                    li { a href=(changes) aria-current=[current(Section::Changes)] { "Changes" } }
                    li { a href=(lock_file) aria-current=[current(Section::LockFile)] { "Lock file" } }
                    li { a href=(vulnerabilities) aria-current=[current(Section::Vulnerabilities)] { "Vulnerabilities" } }
                } }
            }
        }
    }
}

/// The server and the time of the content of a page, for pages that people print as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    pub server: String,
    /// Publication time of the newest state on the page, RFC 3339, if known. The browser prints the current
    /// time, because the `ETag` of a page that contained it would differ for each request.
    pub published: Option<String>,
}

impl Printed {
    /// Renders the line; `snapshots` are one or two snapshots of the repository, the earlier one first.
    pub fn render(&self, repo: &str, snapshots: &[&str]) -> Markup {
        html! {
            p.printed {
                "rstudio-pm " (env!("CARGO_PKG_VERSION")) " at " (visible(&self.server)) ", repository " (repo) ", "
                @for (at, snapshot) in snapshots.iter().enumerate() {
                    @if at > 0 { " to " }
                    span.whole { (snapshot) }
                }
                @if let Some(published) = &self.published { "; published " span.whole { (published) } }
            }
        }
    }
}

/// Returns the error page for a status and its reason phrase; `phrase` may contain text of the request. Names
/// in quotes in it become links if `pages` has their addresses.
pub fn error_page(root: Root, status: u16, reason: &str, phrase: &str, pages: &[(String, String)]) -> String {
    let frame = Frame::new(root, format!("{status} {reason}"));
    let address = |name: &str| pages.iter().find(|(known, _)| known == name).map(|(_, page)| page.clone());
    frame.render(&html! {
        h1 { (status) " " (reason) }
        p.prose { (with_packages(phrase, address)) }
        p { a href=(frame.root) { "All repositories" } }
    })
}

/// Renders links to the pages near `page`, the first and the last, if several; `address` is that of a page.
pub fn pager(page: usize, pages: usize, address: impl Fn(usize) -> String) -> Markup {
    if pages < 2 {
        return html! {};
    }
    let near = page.saturating_sub(2).max(1)..=page.saturating_add(2).min(pages);
    html! {
        nav aria-label="Pages" { ul.pages {
            @if page > 1 { li { a href=(address(page - 1)) rel="prev" { "Previous" } } }
            @if *near.start() > 1 { li { a href=(address(1)) { "1" } } }
            @for other in near.clone() { li {
                @if other == page { span aria-current="page" { (number(other)) } }
                @else { a href=(address(other)) { (number(other)) } }
            } }
            @if *near.end() < pages { li { a href=(address(pages)) { (number(pages)) } } }
            @if page < pages { li { a href=(address(page + 1)) rel="next" { "Next" } } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_as_many_folders_up_as_the_page_is_deep() {
        for (path, root) in [
            ("/", "./"),
            ("/client", "./"),
            ("/client/", "../"),
            ("/prod/latest", "../"),
            ("/prod/latest/", "../../"),
            ("/prod/latest/web/packages/a/", "../../../../../"),
        ] {
            assert_eq!(Root::of_path(path).to_string(), root, "{path}");
        }
        assert_eq!(Root::of_path(&"/".repeat(4000)).to_string(), "/");
    }

    #[test]
    fn pages_link_to_the_sign_in_only_if_people_sign_in() {
        let page = |account| {
            let root = Root::of_path("/prod/latest/").with_account(account);
            Frame::new(root, "x").render(&html! {})
        };
        assert!(!page(None).contains("Sign "));
        let signed_out = page(Some(Account::SignedOut("/__login__?return=%2Fprod".to_owned())));
        assert!(signed_out.contains("href=\"../../__login__?return=%2Fprod\""), "{signed_out}");
        let signed_in = page(Some(Account::SignedIn));
        assert!(signed_in.contains("href=\"../../__logout__\"") && !signed_in.contains("Sign in"));
    }

    #[test]
    fn links_keep_the_selected_version_of_bioconductor() {
        let location = Location { repo: "bioc".to_owned(), snapshot: "latest".to_owned() };
        let root = Root::of_path("/bioc/latest/");
        assert_eq!(root.version(&location, "a", "1"), "../../bioc/latest/web/packages/a/?version=1");
        let root = root.with_bioconductor(Some("3.20".to_owned()));
        assert_eq!(
            root.package(&location, "a", "versions/"),
            "../../bioc/latest/web/packages/a/versions/?bioc=3.20"
        );
        assert_eq!(
            root.version(&location, "a", "1"),
            "../../bioc/latest/web/packages/a/?version=1&bioc=3.20"
        );
        assert_eq!(root.folder("bioc", "5"), "../../bioc/5/");
    }

    #[test]
    fn the_search_field_has_the_snapshot_whose_names_are_suggested() {
        let field = |snapshot: &str, version: Option<&str>| {
            let location = Location { repo: "prod".to_owned(), snapshot: snapshot.to_owned() };
            let root = Root::of_path("/prod/latest/").with_bioconductor(version.map(str::to_owned));
            let frame = Frame { location: Some((location, Section::Packages)), ..Frame::new(root, "x") };
            let html = frame.render(&html! {});
            html.split("<input").nth(1).and_then(|part| part.split('>').next()).map(str::to_owned)
        };
        let newest = field("latest", None).expect("a field");
        assert!(newest.contains("data-repository=\"prod\"") && !newest.contains("data-snapshot"), "{newest}");
        let of_day = field("2026-11-20", Some("3.20")).expect("a field");
        assert!(of_day.contains("data-snapshot=\"2026-11-20\" data-bioconductor=\"3.20\""), "{of_day}");
    }

    #[test]
    fn all_text_of_the_frame_is_escaped() {
        let hostile = "<script>\"'&";
        let location = Location { repo: hostile.to_owned(), snapshot: hostile.to_owned() };
        let frame = Frame {
            location: Some((location, Section::Packages)),
            package: Some((hostile.to_owned(), None)),
            search: hostile.to_owned(),
            summary: format!("{hostile} {}", "x".repeat(300)),
            ..Frame::new(Root::of_path("/"), hostile)
        };
        let page = frame.render(&html! { p { (hostile) } });
        assert!(!page.contains("<script>") && page.matches("<script").count() == 1, "{page}");
        assert!(page.contains("&lt;script&gt;&quot;'&amp;"), "{page}");
        let summary = format!(
            "<meta property=\"og:description\" content=\"&lt;script&gt;&quot;'&amp; {}…\">",
            "x".repeat(188)
        );
        assert!(page.contains(&summary) && page.contains("og:title"), "{page}");
        let other = Frame::new(Root::of_path("/"), "x").render(&html! {});
        assert!(!other.contains("og:") && other.contains("href=\"./assets/opensearch.xml\""), "{other}");
    }

    #[test]
    fn names_of_packages_with_a_page_are_links_and_the_phrase_is_escaped() {
        let pages = [("alpha".to_owned(), "../alpha/".to_owned())];
        let phrase = "no package '<b>alpha' or 'alpho'; did you mean 'alpha' or 'beta'?";
        let html =
            error_page(Root::of_path("/prod/latest/web/packages/x/"), 404, "Not Found", phrase, &pages);
        let expected = "no package '&lt;b&gt;alpha' or 'alpho'; \
            did you mean '<a href=\"../alpha/\">alpha</a>' or 'beta'?</p>";
        assert!(html.contains(expected) && html.contains("<h1>404 Not Found</h1>"), "{html}");
    }
}
