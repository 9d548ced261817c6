//! The route table, which has all addresses: maps method, path and query to a [`Route`]. No I/O.

pub mod access;
pub mod admin;
pub mod administration;
pub mod log;
pub mod login;
pub mod public;
pub mod repo_path;
mod table;
pub mod web;

use access::{Access, read_repository, server, source};
use admin::AdminRoute;
use administration::AdministrationPage;
use http::Method;
use log::LogRoute;
use login::LoginRoute;
use public::PublicRoute;
use repo_path::{PACKAGES, RepoPath};
use web::{WEB, WebPath};

use crate::http::error::Failure;
use crate::http::response::ErrorFormat;
use crate::http::target::{Query, segments};
use base::access::Action;
use base::model::snapshot::{BadSnapshot, Snapshot};
use formats::language::{self, Nouns};
use pages::text::segment;

/// The resource that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`, and `/client/`, as in Posit Package Manager: the page of all repositories.
    Home,
    /// The page of the manual with this name; the table of contents if the name is empty.
    Manual(String),
    /// `/assets/{file}`: the style sheet, the script and the icon of the pages.
    Asset(String),
    /// `/assets/opensearch.xml`: the description of the search for browsers.
    OpenSearch,
    /// `/favicon.ico`.
    Favicon,
    /// `/robots.txt`.
    Robots,
    /// `/__ping__`: the liveness check.
    Ping,
    /// `/{repo}` and `/{repo}/`: redirects to the newest snapshot.
    Latest {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// Whether the address ends in a slash.
        trailing_slash: bool,
    },
    /// `/{repo}[/{snapshot}]/package={name}`, the canonical address of a package on CRAN: redirects to its page.
    PackageLink {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// The address of the page, relative to that of the request.
        location: String,
    },
    /// `/{repo}/{snapshot}/` and the directory of a part of Bioconductor: an HTML page about the repository.
    RepositoryPage {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// The snapshot of the repository.
        snapshot: Snapshot,
        /// The segment after `__linux__`, if any; not necessarily the name of a distribution.
        linux: Option<String>,
    },
    /// `/{repo}/{snapshot}/web/…`: an HTML page about packages.
    Web {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// The snapshot of the repository.
        snapshot: Snapshot,
        path: WebPath,
    },
    /// `/{repo}/{snapshot}/…`, `/{repo}/__linux__/{distribution}/{snapshot}/…`. Optional snapshot in `packages/`.
    Repository {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// The snapshot of the repository.
        snapshot: Snapshot,
        /// The rest of the address.
        path: RepoPath,
    },
    /// `/{repo}[/{snapshot}]/config.yaml`: the list of Bioconductor versions.
    Versions {
        /// The name or number in the URL, which is not necessarily that of an existing repository.
        repo: String,
        /// The snapshot of the repository.
        snapshot: Snapshot,
    },
    /// `POST /upload/pypi/{source}`: an upload by twine and other clients.
    UploadPython {
        /// The name in the URL, which is not necessarily that of an existing source.
        source: String,
    },
    /// `/__log__/…`: the log of what the server published and served.
    Log(LogRoute),
    /// Sign-in with an identity provider.
    Login(LoginRoute),
    /// `GET /_/oidc/audience`: the audience of tokens for trusted publishing.
    PublishingAudience,
    /// `POST /_/oidc/mint-token`: exchanges the token of a job for one that uploads Python packages.
    MintToken,
    /// `/__api__/…`: the public JSON API.
    Public(PublicRoute),
    /// `/__api__/admin/v1/…`: the admin API.
    Admin(AdminRoute),
    /// `/__ui__/admin/…`: a page of administrators.
    Administration(AdministrationPage),
}

impl Route {
    /// Returns the format of an error response.
    pub fn error_format(&self) -> ErrorFormat {
        match self {
            Route::Home
            | Route::Manual(_)
            | Route::Asset(_)
            | Route::OpenSearch
            | Route::Favicon
            | Route::Robots
            | Route::Ping
            | Route::Latest { .. }
            | Route::PackageLink { .. }
            | Route::RepositoryPage { .. }
            | Route::Web { .. }
            | Route::Repository { .. }
            | Route::Versions { .. }
            | Route::Log(_)
            | Route::Administration(_) => ErrorFormat::Text,
            Route::UploadPython { .. } => ErrorFormat::TextAndPhrase,
            Route::Login(route) if !route.is_api() => ErrorFormat::Text,
            Route::Login(_)
            | Route::PublishingAudience
            | Route::MintToken
            | Route::Public(_)
            | Route::Admin(_) => ErrorFormat::Json,
        }
    }

    /// Returns whether the answer is a page for people, so that an error is a page too.
    pub fn is_page(&self) -> bool {
        matches!(
            self,
            Route::Home
                | Route::Manual(_)
                | Route::RepositoryPage { .. }
                | Route::Web { .. }
                | Route::Administration(_)
        )
    }

    /// Returns whether the answer only shows data that the client may read.
    pub fn is_read(&self) -> bool {
        !matches!(
            self,
            Route::UploadPython { .. }
                | Route::Login(_)
                | Route::PublishingAudience
                | Route::MintToken
                | Route::Log(LogRoute::AddCheckpoint)
                | Route::Admin(_)
                | Route::Administration(_)
        )
    }

    /// Returns true for routes that `Authentication.RequireAuthForUI` restricts: pages about repositories, and the
    /// lists of all repositories and sources.
    pub fn is_interface(&self) -> bool {
        let is_list = matches!(
            self,
            Route::Public(PublicRoute::Repos | PublicRoute::Sources | PublicRoute::MetricsPackages)
        );
        self.is_page() || matches!(self, Route::Latest { .. } | Route::PackageLink { .. }) || is_list
    }

    /// Returns the action and the object of the route. A new route does not compile without an entry here.
    pub fn access(&self) -> Access<'_> {
        match self {
            // Sign-in checks its own secrets.
            Route::Home
            | Route::Manual(_)
            | Route::Asset(_)
            | Route::OpenSearch
            | Route::Favicon
            | Route::Robots
            | Route::Ping
            | Route::Login(_)
            | Route::PublishingAudience => server(Action::ReadPublic),
            // The handler verifies the identity token in the body.
            Route::MintToken => server(Action::Notify),
            Route::Latest { repo, .. }
            | Route::PackageLink { repo, .. }
            | Route::RepositoryPage { repo, .. }
            | Route::Web { repo, .. }
            | Route::Repository { repo, .. }
            | Route::Versions { repo, .. } => read_repository(repo),
            Route::UploadPython { source: name } => source(Action::WriteSource, name),
            Route::Log(route) => route.access(false),
            Route::Public(route) => route.access(),
            Route::Admin(route) => route.access(),
            // The form names the action, for which the admin API checks the permission again.
            Route::Administration(_) => server(Action::Administer),
        }
    }
}

/// The file that lists the Bioconductor versions.
const CONFIG_FILE: &str = "config.yaml";
const READ_METHODS: &str = "GET, HEAD";

/// Parses a request's method, its raw path without the prefix of `Server.Address`, and its raw query.
///
/// # Errors
/// 400 for a malformed path or query, 404 for an unknown address, 405 for a wrong method, 414 for too long a target.
pub fn parse(
    method: &Method,
    path: &str,
    query: Option<&str>,
    limit: usize,
) -> Result<(Route, Query), Failure> {
    let decoded = segments(method, path, limit)?;
    let query = Query::parse(query, limit)?;
    let names: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    if let Some(route) = login::parse(method, &names)? {
        return Ok((Route::Login(route), query));
    }
    let route = match names.as_slice() {
        [""] => Route::Home,
        ["__ping__"] => Route::Ping,
        // No repository has one of these names.
        ["client"] | ["client", "" | "index.html"] => Route::Home,
        ["assets", "opensearch.xml"] => Route::OpenSearch,
        ["assets", file] => Route::Asset((*file).to_owned()),
        ["favicon.ico"] => Route::Favicon,
        ["robots.txt"] => Route::Robots,
        ["__api__", "admin", "v1", rest @ ..] => {
            return Ok((Route::Admin(admin::parse(method, rest)), query));
        }
        ["__api__", rest @ ..] => return Ok((Route::Public(public::parse(method, rest)?), query)),
        // No repository has the name `_`: names begin with a letter or a digit.
        ["_", "oidc", "audience"] => Route::PublishingAudience,
        ["_", "oidc", "mint-token"] => {
            if *method != Method::POST {
                return Err(Failure::method_not_allowed(Method::POST.as_str()));
            }
            return Ok((Route::MintToken, query));
        }
        ["__ui__", "admin", rest @ ..] => {
            return Ok((Route::Administration(AdministrationPage::parse(method, rest)?), query));
        }
        ["__log__", rest @ ..] => return Ok((Route::Log(LogRoute::parse(method, rest)?), query)),
        ["__docs__", names @ .., ""] | ["__docs__", names @ ..] => Route::Manual(names.join("/")),
        [first, ..] if first.starts_with("__") => return Err(Failure::no_such_address()),
        // No repository has the name `upload`, which is reserved.
        ["upload", "pypi", source] | ["upload", "pypi", source, ""] if !source.is_empty() => {
            if *method != Method::POST {
                return Err(Failure::method_not_allowed(Method::POST.as_str()));
            }
            return Ok((Route::UploadPython { source: (*source).to_owned() }, query));
        }
        // The address of a file of a project in documents of the JSON API: `/packages/{repo}/{snapshot}/…`.
        // In a repository with the name `packages`, the third segment is `packages` instead of a snapshot.
        [PACKAGES, repo, snapshot, id, file] if is_digest(id) && *snapshot != PACKAGES => {
            repository(repo, None, snapshot, &[PACKAGES, *id, *file])?
        }
        // RStudio requests `{address of the repository}/../../__api__/repos` with curl, which does not follow redirects;
        // the result depends on the form of the address. A file of a package may have this name, below `web`.
        [_, below @ .., "__api__", "repos"] if !below.contains(&WEB) => Route::Public(PublicRoute::Repos),
        names if is_package_link(names) => package_link(names)?,
        [repo] => Route::Latest { repo: (*repo).to_owned(), trailing_slash: false },
        [repo, ""] => Route::Latest { repo: (*repo).to_owned(), trailing_slash: true },
        [repo, "__linux__", distribution, snapshot, rest @ ..] => {
            repository(repo, Some(distribution), snapshot, rest)?
        }
        [_, "__linux__", ..] => {
            return Err(Failure::not_found(
                "a URL for Linux binaries has the form /{repository}/__linux__/{distribution}/{snapshot}",
            ));
        }
        [repo, CONFIG_FILE] => versions(repo, "latest")?,
        [repo, snapshot, CONFIG_FILE] => versions(repo, snapshot)?,
        [_, directory, ..] if let Some(nouns) = nouns_of(directory) => {
            return Err(Failure::not_found(format!(
                "the address of {} has a snapshot: /{{repository}}/latest/{}/, or a date in place of latest",
                nouns.a_repository, nouns.directory
            )));
        }
        // A client whose index is `https://host/simple`. A repository may have the name `simple`.
        [directory, project] | [directory, project, ""]
            if !project.is_empty()
                && project.parse::<Snapshot>().is_err()
                && let Some(nouns) = nouns_of(directory) =>
        {
            return Err(Failure::not_found(format!(
                "the address of {} begins with its name: /{{repository}}/latest/{}/",
                nouns.a_repository, nouns.directory
            )));
        }
        [repo, PACKAGES, ..] => repository(repo, None, "latest", &names[1..])?,
        [repo, snapshot, rest @ ..] => repository(repo, None, snapshot, rest)?,
        [] => return Err(Failure::no_such_address()),
    };
    let has_form = matches!(route, Route::Web { path: WebPath::LockFile, .. });
    match *method {
        Method::GET | Method::HEAD => {}
        Method::POST if has_form => {}
        _ if has_form => return Err(Failure::method_not_allowed("GET, HEAD, POST")),
        _ => return Err(Failure::method_not_allowed(READ_METHODS)),
    }
    Ok((route, query))
}

/// Returns the nouns of the language with this directory of lists and pages.
fn nouns_of(directory: &str) -> Option<&'static Nouns> {
    language::with_directory(directory).map(|(_, projects)| projects.nouns())
}

/// Returns whether a segment has the length of a digest. No other segment at this position of an address has it.
fn is_digest(segment: &str) -> bool {
    segment.len() == 64
}

/// Returns the segment that names the repository in the raw path of a resource in a repository.
pub fn repository_segment(path: &str) -> &str {
    let segments: Vec<&str> = path.split('/').skip(1).take(6).collect();
    match segments[..] {
        [PACKAGES, repo, snapshot, id, _] if is_digest(id) && snapshot != PACKAGES => repo,
        [repo, ..] => repo,
        [] => "",
    }
}

fn repository(repo: &str, linux: Option<&str>, snapshot: &str, rest: &[&str]) -> Result<Route, Failure> {
    let snapshot = snapshot.parse().map_err(|e: BadSnapshot| Failure::not_found(e.to_string()))?;
    // `packages.rds` is a file for R, not a page.
    if let [WEB, rest @ ..] = rest
        && rest != ["packages", "packages.rds"]
    {
        return Ok(Route::Web { repo: repo.to_owned(), snapshot, path: WebPath::parse(rest)? });
    }
    let path = RepoPath::parse(linux, rest)?;
    let repo = repo.to_owned();
    Ok(match path {
        Some(path) => Route::Repository { repo, snapshot, path },
        None => Route::RepositoryPage { repo, snapshot, linux: linux.map(str::to_owned) },
    })
}

/// The beginning of the last segment of CRAN's canonical address of a package.
const PACKAGE_LINK: &str = "package=";

fn is_package_link(names: &[&str]) -> bool {
    matches!(names, [_, .., last] | [_, .., last, ""] if last.starts_with(PACKAGE_LINK))
}

fn package_link(names: &[&str]) -> Result<Route, Failure> {
    let (names, up) = names.strip_suffix(&[""]).map_or((names, ""), |names| (names, "../"));
    let [repo, before @ .., last] = names else { return Err(Failure::no_such_address()) };
    let latest = match before {
        [] => "latest/",
        [_] | ["__linux__", _, _] => "",
        _ => return Err(Failure::no_such_address()),
    };
    let name = last.strip_prefix(PACKAGE_LINK).filter(|name| !name.is_empty());
    let name = segment(name.ok_or_else(Failure::no_such_address)?);
    // Relative: a proxy may have removed a prefix of the path.
    let location = format!("{up}{latest}{WEB}/packages/{name}/");
    Ok(Route::PackageLink { repo: (*repo).to_owned(), location })
}

fn versions(repo: &str, snapshot: &str) -> Result<Route, Failure> {
    let snapshot = snapshot.parse().map_err(|e: BadSnapshot| Failure::not_found(e.to_string()))?;
    Ok(Route::Versions { repo: repo.to_owned(), snapshot })
}

#[cfg(test)]
mod tests {
    use super::web::PackagePage;
    use super::*;
    use formats::r::bioconductor::{self, PartName};
    use formats::r::layout;

    fn route(path: &str) -> Result<Route, u16> {
        parse(&Method::GET, path, None, 4096).map(|(route, _)| route).map_err(|e| e.status.as_u16())
    }

    fn part_name(part: &str) -> Option<PartName> {
        let segments: Vec<&str> = part.split('/').collect();
        bioconductor::split_path(&segments).map(|(part, _)| part)
    }

    fn repository(repo: &str, linux: Option<&str>, snapshot: &str, path: &str) -> Route {
        let (repo, snapshot) = (repo.to_owned(), snapshot.parse().expect("a snapshot"));
        let path = layout::parse(path).expect("a path");
        Route::Repository { repo, snapshot, path: RepoPath::R { linux: linux.map(str::to_owned), path } }
    }

    fn python(repo: &str, snapshot: &str, path: &str) -> Route {
        let segments: Vec<&str> = path.split('/').collect();
        let path = RepoPath::parse(None, &segments).expect("a path").expect("no directory");
        Route::Repository { repo: repo.to_owned(), snapshot: snapshot.parse().expect("a snapshot"), path }
    }

    fn page(repo: &str, snapshot: &str) -> Route {
        linux_page(repo, snapshot, None)
    }

    fn linux_page(repo: &str, snapshot: &str, linux: Option<&str>) -> Route {
        let snapshot = snapshot.parse().expect("a snapshot");
        Route::RepositoryPage { repo: repo.to_owned(), snapshot, linux: linux.map(str::to_owned) }
    }

    fn web(repo: &str, snapshot: &str, path: WebPath) -> Route {
        Route::Web { repo: repo.to_owned(), snapshot: snapshot.parse().expect("a snapshot"), path }
    }

    #[test]
    fn bioconductor_is_below_packages_with_and_without_a_snapshot() {
        let bioc = |snapshot: &str, part: &str, path: &str| {
            let snapshot = snapshot.parse().expect("a snapshot");
            let (part, path) = (part_name(part).expect("a part"), layout::parse(path).expect("a path"));
            let path = RepoPath::Bioconductor { linux: None, part, path };
            Ok(Route::Repository { repo: "bioc".to_owned(), snapshot, path })
        };
        let index = "src/contrib/PACKAGES.rds";
        assert_eq!(
            route("/bioc/packages/3.20/bioc/src/contrib/PACKAGES.rds"),
            bioc("latest", "3.20/bioc", index)
        );
        assert_eq!(
            route("/bioc/2024-11-01/packages/3.16/data/annotation/bin/windows/contrib/4.2/PACKAGES"),
            bioc("2024-11-01", "3.16/data/annotation", "bin/windows/contrib/4.2/PACKAGES")
        );
        assert_eq!(route("/bioc/latest/packages/3.5/extra/"), Ok(page("bioc", "latest")));
        assert_eq!(
            route("/bioc/packages/release/bioc/src/contrib/PACKAGES.rds"),
            bioc("latest", "release/bioc", index)
        );
        assert_eq!(
            route("/bioc/2024-11-01/packages/devel/data/experiment/src/contrib/PACKAGES.rds"),
            bioc("2024-11-01", "devel/data/experiment", index)
        );
        let file = route("/bioc/__linux__/noble/latest/packages/3.20/books/src/contrib/a_1.0.tar.gz");
        let Ok(Route::Repository { path: RepoPath::Bioconductor { linux, part, .. }, .. }) = file else {
            panic!("not a file of Bioconductor: {file:?}")
        };
        assert_eq!((linux.as_deref(), Some(part)), (Some("noble"), part_name("3.20/books")));
        let versions = |snapshot: &str| {
            let snapshot = snapshot.parse().expect("a snapshot");
            Ok(Route::Versions { repo: "bioc".to_owned(), snapshot })
        };
        assert_eq!(route("/bioc/config.yaml"), versions("latest"));
        assert_eq!(route("/bioc/2024-11-01/config.yaml"), versions("2024-11-01"));
        for path in [
            "/bioc/packages",
            "/bioc/packages/3.20",
            "/bioc/packages/3.20/container-binaries/bioconductor_docker/src/contrib/PACKAGES.rds",
            "/bioc/packages/Release/bioc/src/contrib/PACKAGES",
            "/bioc/packages/release/src/contrib/PACKAGES",
            "/bioc/packages/3.20/data/src/contrib/PACKAGES",
            "/bioc/soon/config.yaml",
        ] {
            assert_eq!(route(path), Err(404), "{path}");
        }
    }

    #[test]
    fn every_address_has_one_route() {
        let s = str::to_owned;
        let file = format!("/py/5/packages/{}/a-1.0-py3-none-any.whl.metadata", "0a".repeat(32));
        let table = [
            ("/", Route::Home),
            ("/__login__", Route::Login(LoginRoute::Start)),
            ("/__login__/callback", Route::Login(LoginRoute::Callback)),
            ("/__login__/device", Route::Login(LoginRoute::DevicePage)),
            ("/__ping__", Route::Ping),
            ("/_/oidc/audience", Route::PublishingAudience),
            ("/cran", Route::Latest { repo: s("cran"), trailing_slash: false }),
            ("/cran/", Route::Latest { repo: s("cran"), trailing_slash: true }),
            ("/cran/latest", page("cran", "latest")),
            ("/cran/latest/", page("cran", "latest")),
            ("/cran/__linux__/noble/latest/", linux_page("cran", "latest", Some("noble"))),
            ("/cran/5/web/packages/a3/", web("cran", "5", WebPath::Package(s("a3"), PackagePage::Summary))),
            ("/cran/__linux__/noble/latest/web/packages/", web("cran", "latest", WebPath::Packages)),
            ("/__docs__/", Route::Manual(String::new())),
            ("/__docs__", Route::Manual(String::new())),
            ("/__docs__/access/", Route::Manual(s("access"))),
            ("/__docs__/runbooks/disk-full", Route::Manual(s("runbooks/disk-full"))),
            ("/client/", Route::Home),
            ("/client", Route::Home),
            ("/client/index.html", Route::Home),
            ("/assets/ui.css", Route::Asset(s("ui.css"))),
            ("/assets/opensearch.xml", Route::OpenSearch),
            ("/favicon.ico", Route::Favicon),
            ("/robots.txt", Route::Robots),
            ("/cran/latest/src/contrib/PACKAGES", repository("cran", None, "latest", "src/contrib/PACKAGES")),
            (
                "/cran/2024-02-29/src/contrib/A_1.tar.gz",
                repository("cran", None, "2024-02-29", "src/contrib/A_1.tar.gz"),
            ),
            ("/cran/2022-08-01+Y3JhbiwyOjQ1/", page("cran", "2022-08-01")),
            ("/cran/2022-08-01%2BY3JhbiwyOjQ1", page("cran", "2022-08-01")),
            ("/cran/5", page("cran", "5")),
            ("/py/latest/simple/", python("py", "latest", "simple/")),
            ("/simple/latest/simple/", python("simple", "latest", "simple/")),
            ("/py/2026-11-20/simple/Odd.Name", python("py", "2026-11-20", "simple/Odd.Name")),
            (file.as_str(), python("py", "5", file.strip_prefix("/py/5/").expect("the prefix"))),
        ];
        for (path, expected) in table {
            assert_eq!(route(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn the_address_of_a_package_on_cran_redirects_to_its_page() {
        for (path, location) in [
            ("/cran/latest/package=digest", "web/packages/digest/"),
            ("/cran/2024-02-29/package%3Ddata.table", "web/packages/data.table/"),
            ("/cran/5/package=digest/", "../web/packages/digest/"),
            ("/cran/package=digest", "latest/web/packages/digest/"),
            ("/cran/package=digest/", "../latest/web/packages/digest/"),
            ("/cran/__linux__/noble/latest/package=digest", "web/packages/digest/"),
            ("/cran/latest/package=%3Cb%3E", "web/packages/%3Cb%3E/"),
        ] {
            let expected = Route::PackageLink { repo: "cran".to_owned(), location: location.to_owned() };
            assert_eq!(route(path), Ok(expected), "{path}");
        }
        for path in [
            "/package=digest/package=digest/x",
            "/cran/latest/package=",
            "/cran/latest/Package=digest",
            "/cran/latest/src/package=digest",
            "/__api__/package=digest",
        ] {
            assert_eq!(route(path), Err(404), "{path}");
        }
    }

    #[test]
    fn rstudio_finds_the_list_of_repositories_beside_each_form_of_address() {
        for path in [
            "/cran/__api__/repos",
            "/cran/__linux__/__api__/repos",
            "/cran/latest/bin/linux/__api__/repos",
            "/bioc/latest/packages/__api__/repos",
        ] {
            assert_eq!(route(path), Ok(Route::Public(PublicRoute::Repos)), "{path}");
        }
        let file = WebPath::Package("a".to_owned(), PackagePage::File("__api__/repos".to_owned()));
        assert_eq!(route("/cran/5/web/packages/a/files/__api__/repos"), Ok(web("cran", "5", file)));
        assert_eq!(route("/cran/__api__/sources"), Err(404));
    }

    #[test]
    fn a_distribution_precedes_the_snapshot() {
        assert_eq!(
            route("/cran/__linux__/noble/2024-02-29/src/contrib/A_1.tar.gz"),
            Ok(repository("cran", Some("noble"), "2024-02-29", "src/contrib/A_1.tar.gz"))
        );
    }

    #[test]
    fn files_of_python_repositories_have_an_address_below_packages() {
        let hex = "0a".repeat(32);
        let file = format!("packages/{hex}/a-1.0.tar.gz");
        let path = format!("/packages/py/2026-11-20/{hex}/a-1.0.tar.gz");
        assert_eq!(route(&path), Ok(python("py", "2026-11-20", &file)));
        assert_eq!(repository_segment(&path), "py");
        // The name of a repository may be `packages`.
        for (path, snapshot) in [
            (format!("/packages/latest/packages/{hex}/a-1.0.tar.gz"), "latest"),
            (format!("/packages/packages/{hex}/a-1.0.tar.gz"), "latest"),
            (format!("/packages/packages/5/{hex}/a-1.0.tar.gz"), "5"),
        ] {
            assert_eq!(route(&path), Ok(python("packages", snapshot, &file)), "{path}");
            assert_eq!(repository_segment(&path), "packages", "{path}");
        }
        let index = "src/contrib/PACKAGES";
        assert_eq!(
            route("/packages/latest/src/contrib/PACKAGES"),
            Ok(repository("packages", None, "latest", index))
        );
        assert_eq!(repository_segment("/cran/latest/src/contrib/PACKAGES"), "cran");
        for path in [
            format!("/packages/py/newest/{hex}/a-1.0.tar.gz"),
            format!("/packages/py/latest/{hex}/a.txt"),
            format!("/packages/py/latest/{}/a-1.0.tar.gz", "0A".repeat(32)),
            "/packages/py/latest/5/a-1.0.tar.gz".to_owned(),
        ] {
            assert_eq!(route(&path), Err(404), "{path}");
        }
    }

    #[test]
    fn an_address_outside_the_table_is_not_found() {
        for path in [
            "/cran/newest/x",
            "/cran/latest/src",
            "/cran/latest/web/checks/",
            "/cran/web/packages/a3/",
            "/cran/2024-13-01/x",
            "/__api__",
            "/__api__/nothing",
            "/__api__/repos/a/b",
            "/__linux__/x/latest",
            "/cran/__linux__",
            "/cran/__linux__/noble",
            "/cran/__linux__/noble/newest/src/contrib/PACKAGES",
            "/cran/__other__/noble/latest/src/contrib/PACKAGES",
            "/py/simple",
            "/py/simple/odd/",
            "/simple/odd",
            "/simple/Odd.Name/",
            "/py/latest/simple/-/",
            "/py/__linux__/noble/latest/simple/",
            "/__docs/",
        ] {
            assert_eq!(route(path), Err(404), "{path}");
        }
    }

    #[test]
    fn other_methods_get_the_allowed_ones() {
        for method in
            [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::CONNECT]
        {
            for path in ["/", "/cran/latest/src/contrib/PACKAGES", "/__api__/repos"] {
                let failure = parse(&method, path, None, 4096).expect_err("rejected");
                assert_eq!(
                    (failure.status.as_u16(), failure.allow.as_deref()),
                    (405, Some("GET, HEAD")),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn uploads_are_posted_with_and_without_a_slash_at_the_end() {
        let upload = |method: Method, path: &str| {
            let parsed = parse(&method, path, None, 4096).map(|(route, _)| route);
            parsed.map_err(|failure| (failure.status.as_u16(), failure.allow))
        };
        let route = Ok(Route::UploadPython { source: "team".to_owned() });
        assert_eq!(upload(Method::POST, "/upload/pypi/team"), route);
        assert_eq!(upload(Method::POST, "/upload/pypi/t%65am/"), route);
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert_eq!(upload(method, "/upload/pypi/team/"), Err((405, Some("POST".into()))));
        }
        for path in ["/upload/pypi", "/upload/pypi/", "/upload/pypi/team/x", "/upload/pypi/team/+simple/x/"] {
            assert_eq!(upload(Method::POST, path).map_err(|(status, _)| status), Err(404), "{path}");
        }
    }

    #[test]
    fn every_route_names_its_action_and_object() {
        use super::access::AccessTarget;
        for (path, action, target, format) in [
            ("/", Action::ReadPublic, AccessTarget::Server, ErrorFormat::Text),
            ("/__ping__", Action::ReadPublic, AccessTarget::Server, ErrorFormat::Text),
            ("/cran", Action::Read, AccessTarget::Repository("cran"), ErrorFormat::Text),
            ("/cr%61n/5/", Action::Read, AccessTarget::Repository("cran"), ErrorFormat::Text),
            (
                "/cran/latest/src/contrib/PACKAGES",
                Action::Read,
                AccessTarget::Repository("cran"),
                ErrorFormat::Text,
            ),
            ("/bioc/config.yaml", Action::Read, AccessTarget::Repository("bioc"), ErrorFormat::Text),
            ("/__api__/repos", Action::ReadPublic, AccessTarget::Server, ErrorFormat::Json),
            ("/__api__/repos/7/packages", Action::Read, AccessTarget::Repository("7"), ErrorFormat::Json),
            ("/__api__/sources/7/packages", Action::Read, AccessTarget::Source("7"), ErrorFormat::Json),
            ("/__api__/admin/v1/status", Action::Administer, AccessTarget::Server, ErrorFormat::Json),
            ("/__api__/admin/v1/repos/x", Action::Inspect, AccessTarget::Repository("x"), ErrorFormat::Json),
            ("/__api__/admin/v1/sources/x", Action::Inspect, AccessTarget::Source("x"), ErrorFormat::Json),
            ("//__api__/admin/v1/nothing", Action::Inspect, AccessTarget::Server, ErrorFormat::Json),
        ] {
            let route = route(path).expect(path);
            let access = route.access();
            assert_eq!((access.action, access.target), (action, target), "{path}");
            assert_eq!(route.error_format(), format, "{path}");
        }
    }
}
