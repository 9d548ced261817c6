//! The route table: maps method, path and query to a [`Route`]. Pure.

use http::Method;

use super::error::Failure;
use super::target::{Query, segments};
use crate::model::snapshot::{BadSnapshot, Snapshot};
use crate::r::bioconductor::{self, Component, PartName};
use crate::r::layout::{self, RPath};

/// The resource that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`: a small HTML page.
    Home,
    /// `/__ping__`: the liveness check.
    Ping,
    /// `/{repo}` and `/{repo}/`: redirects to the newest snapshot.
    Latest {
        /// As in the URL; may not exist.
        repo: String,
        /// The address ends in a slash.
        trailing_slash: bool,
    },
    /// `/{repo}/{snapshot}/…`, `/{repo}/__linux__/{distribution}/{snapshot}/…`; the snapshot is optional before
    /// `packages/`.
    Repository {
        /// As in the URL; may not exist.
        repo: String,
        /// The segment after `__linux__`: source packages are answered with binaries for that distribution. May not
        /// exist.
        linux: Option<String>,
        /// The snapshot of the repository.
        snapshot: Snapshot,
        /// The Bioconductor repository: `packages/{version}/{component}/` after the snapshot; `path` is below it.
        part: Option<PartName>,
        /// The path in the repository; `None` for the repository's own address, which is opened in a browser.
        path: Option<RPath>,
    },
    /// `/{repo}[/{snapshot}]/config.yaml`: the list of Bioconductor versions.
    Versions {
        /// As in the URL; may not exist.
        repo: String,
        /// The snapshot of the repository.
        snapshot: Snapshot,
    },
    /// The public JSON API, by GET.
    Public(PublicRoute),
    /// The public JSON API, by POST.
    Post(PostRoute),
    /// `/__api__/admin/v1/…`, any method: served on the admin socket only. Holds the decoded path after the prefix,
    /// without a leading slash.
    Admin(String),
}

/// `/__api__/…` by GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicRoute {
    /// `status`
    Status,
    /// `repos`
    Repos,
    /// `repos/{r}`, by id or name, as all below.
    Repo(String),
    /// `repos/{r}/sources`
    RepoSources(String),
    /// `repos/{r}/packages`
    Packages(String),
    /// `repos/{r}/packages/{name}`
    Package(String, String),
    /// `repos/{r}/packages/{name}/builds`
    PackageBinaries(String, String),
    /// `repos/{r}/packages/{name}/binaries/logs`
    BuildLog(String, String),
    /// `repos/{r}/packages/{name}/sysreqs`
    PackageSysreqs(String, String),
    /// `repos/{r}/sysreqs`
    Sysreqs(String),
    /// `repos/{r}/transaction-dates`
    TransactionDates(String),
    /// `repos/{r}/first-transaction`
    FirstTransaction(String),
    /// `sources`
    Sources,
    /// `sources/{s}`, by id or name, as all below.
    Source(String),
    /// `sources/{s}/transactions`
    SourceTransactions(String),
    /// `sources/{s}/packages`
    SourcePackages(String),
    /// `sources/{s}/packages/{name}/releases`
    SourceReleases(String, String),
    /// `alerts`
    Alerts,
    /// `verify-auth`
    VerifyAuth,
    /// `swagger/index.html`: the API description as a page.
    Swagger,
    /// `swagger/doc.json`: the API description as OpenAPI.
    OpenApi,
    /// `metrics/packages`
    MetricsPackages,
}

/// `/__api__/…` by POST: the body holds the query, and nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostRoute {
    /// `repos/{r}/sysreqs`: a DESCRIPTION.
    Sysreqs(String),
    /// `filter/packages`, or `repos/{r}/filter/packages`.
    Filter(Option<String>),
    /// `url`
    Url,
}

/// The file that lists the Bioconductor versions.
const CONFIG_FILE: &str = "config.yaml";
/// The directory of all Bioconductor versions.
const PACKAGES: &str = "packages";

const READ_METHODS: &str = "GET, HEAD";

/// Parses a request's method, its raw path without the prefix of `Server.Address`, and its raw query.
///
/// # Errors
/// 400 for a malformed path or query, 404 for an unknown address, 405 for a wrong method, 414 for too long a path or
/// query.
pub fn parse(
    method: &Method,
    path: &str,
    query: Option<&str>,
    limit: usize,
) -> Result<(Route, Query), Failure> {
    let decoded = segments(method, path, limit)?;
    let query = Query::parse(query, limit)?;
    let names: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    let route = match names.as_slice() {
        [""] => Route::Home,
        ["__ping__"] => Route::Ping,
        ["__api__", "admin", "v1", rest @ ..] => return Ok((Route::Admin(rest.join("/")), query)),
        ["__api__", rest @ ..] => return Ok((api(method, rest)?, query)),
        [first, ..] if first.starts_with("__") => return Err(not_found()),
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
        [repo, PACKAGES, ..] => repository(repo, None, "latest", &names[1..])?,
        [repo, snapshot, rest @ ..] => repository(repo, None, snapshot, rest)?,
        [] => return Err(not_found()),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Failure::method_not_allowed(READ_METHODS));
    }
    Ok((route, query))
}

fn repository(repo: &str, linux: Option<&str>, snapshot: &str, rest: &[&str]) -> Result<Route, Failure> {
    let snapshot = snapshot.parse().map_err(|e: BadSnapshot| Failure::not_found(e.to_string()))?;
    let (part, rest) = match rest {
        [PACKAGES, below @ ..] => {
            let (part, rest) = bioconductor::split_path(below).ok_or_else(unknown_part)?;
            (Some(part), rest)
        }
        rest => (None, rest),
    };
    let path = match rest {
        [] | [""] => None,
        rest => Some(layout::parse(&rest.join("/")).map_err(|e| Failure::not_found(e.to_string()))?),
    };
    Ok(Route::Repository { repo: repo.to_owned(), linux: linux.map(str::to_owned), snapshot, part, path })
}

fn versions(repo: &str, snapshot: &str) -> Result<Route, Failure> {
    let snapshot = snapshot.parse().map_err(|e: BadSnapshot| Failure::not_found(e.to_string()))?;
    Ok(Route::Versions { repo: repo.to_owned(), snapshot })
}

/// 404 for an unknown Bioconductor repository, such as `container-binaries`, which BiocManager requests in a container
/// and does without on a 404.
fn unknown_part() -> Failure {
    let components = Component::ALL.map(Component::path).join(", ");
    Failure::not_found(format!(
        "Bioconductor has the repositories {components} below packages/{{version}}/, where a version is two numbers, \
         release or devel"
    ))
}

fn api(method: &Method, names: &[&str]) -> Result<Route, Failure> {
    let names = names.strip_suffix(&[""]).unwrap_or(names);
    match (method.as_str(), public_route(names), post_route(names)) {
        (_, None, None) => Err(not_found()),
        ("GET" | "HEAD", Some(asked), _) => Ok(Route::Public(asked)),
        ("POST", _, Some(asked)) => Ok(Route::Post(asked)),
        (_, Some(_), Some(_)) => Err(Failure::method_not_allowed("GET, HEAD, POST")),
        (_, None, Some(_)) => Err(Failure::method_not_allowed("POST")),
        (_, Some(_), None) => Err(Failure::method_not_allowed(READ_METHODS)),
    }
}

fn public_route(names: &[&str]) -> Option<PublicRoute> {
    let own = |text: &&str| (*text).to_owned();
    Some(match names {
        ["status"] => PublicRoute::Status,
        ["repos"] => PublicRoute::Repos,
        ["repos", r] => PublicRoute::Repo(own(r)),
        ["repos", r, "sources"] => PublicRoute::RepoSources(own(r)),
        ["repos", r, "packages"] => PublicRoute::Packages(own(r)),
        ["repos", r, "packages", name] => PublicRoute::Package(own(r), own(name)),
        ["repos", r, "packages", name, "builds"] => PublicRoute::PackageBinaries(own(r), own(name)),
        ["repos", r, "packages", name, "binaries", "logs"] => PublicRoute::BuildLog(own(r), own(name)),
        ["repos", r, "packages", name, "sysreqs"] => PublicRoute::PackageSysreqs(own(r), own(name)),
        ["repos", r, "sysreqs"] => PublicRoute::Sysreqs(own(r)),
        ["repos", r, "transaction-dates"] => PublicRoute::TransactionDates(own(r)),
        ["repos", r, "first-transaction"] => PublicRoute::FirstTransaction(own(r)),
        ["sources"] => PublicRoute::Sources,
        ["sources", s] => PublicRoute::Source(own(s)),
        ["sources", s, "transactions"] => PublicRoute::SourceTransactions(own(s)),
        ["sources", s, "packages"] => PublicRoute::SourcePackages(own(s)),
        ["sources", s, "packages", name, "releases"] => PublicRoute::SourceReleases(own(s), own(name)),
        ["metrics", "packages"] => PublicRoute::MetricsPackages,
        ["alerts"] => PublicRoute::Alerts,
        ["verify-auth"] => PublicRoute::VerifyAuth,
        ["swagger"] | ["swagger", "index.html"] => PublicRoute::Swagger,
        ["swagger", "doc.json"] => PublicRoute::OpenApi,
        _ => return None,
    })
}

fn post_route(names: &[&str]) -> Option<PostRoute> {
    Some(match names {
        ["repos", r, "sysreqs"] => PostRoute::Sysreqs((*r).to_owned()),
        ["repos", r, "filter", "packages"] => PostRoute::Filter(Some((*r).to_owned())),
        ["filter", "packages"] => PostRoute::Filter(None),
        ["url"] => PostRoute::Url,
        _ => return None,
    })
}

fn not_found() -> Failure {
    Failure::not_found("there is nothing at this address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Result<Route, u16> {
        parse(&Method::GET, path, None, 4096).map(|(route, _)| route).map_err(|e| e.status.as_u16())
    }

    fn named(part: &str) -> Option<PartName> {
        let segments: Vec<&str> = part.split('/').collect();
        bioconductor::split_path(&segments).map(|(part, _)| part)
    }

    fn repository(repo: &str, snapshot: &str, path: &str) -> Route {
        let snapshot = snapshot.parse().expect("a snapshot");
        let path = (!path.is_empty()).then(|| layout::parse(path).expect("a path"));
        Route::Repository { repo: repo.to_owned(), linux: None, snapshot, part: None, path }
    }

    #[test]
    fn bioconductor_is_below_packages_with_and_without_a_snapshot() {
        let bioc = |snapshot: &str, part: &str, path: &str| {
            let (snapshot, part) = (snapshot.parse().expect("a snapshot"), named(part));
            let path = (!path.is_empty()).then(|| layout::parse(path).expect("a path"));
            Ok(Route::Repository { repo: "bioc".to_owned(), linux: None, snapshot, part, path })
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
        assert_eq!(route("/bioc/latest/packages/3.5/extra/"), bioc("latest", "3.5/extra", ""));
        assert_eq!(
            route("/bioc/packages/release/bioc/src/contrib/PACKAGES.rds"),
            bioc("latest", "release/bioc", index)
        );
        assert_eq!(
            route("/bioc/2024-11-01/packages/devel/data/experiment/src/contrib/PACKAGES.rds"),
            bioc("2024-11-01", "devel/data/experiment", index)
        );
        let file = route("/bioc/__linux__/noble/latest/packages/3.20/books/src/contrib/a_1.0.tar.gz");
        let Ok(Route::Repository { linux, part, .. }) = file else { panic!("not a file") };
        assert_eq!((linux.as_deref(), part), (Some("noble"), named("3.20/books")));
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
        let table = [
            ("/", Route::Home),
            ("/__ping__", Route::Ping),
            ("/cran", Route::Latest { repo: s("cran"), trailing_slash: false }),
            ("/cran/", Route::Latest { repo: s("cran"), trailing_slash: true }),
            ("/cran/latest", repository("cran", "latest", "")),
            ("/cran/latest/", repository("cran", "latest", "")),
            ("/cran/latest/src/contrib/PACKAGES", repository("cran", "latest", "src/contrib/PACKAGES")),
            (
                "/cran/2024-02-29/src/contrib/A_1.tar.gz",
                repository("cran", "2024-02-29", "src/contrib/A_1.tar.gz"),
            ),
            ("/cran/2022-08-01+Y3JhbiwyOjQ1/", repository("cran", "2022-08-01", "")),
            ("/cran/2022-08-01%2BY3JhbiwyOjQ1", repository("cran", "2022-08-01", "")),
            ("/cran/5", repository("cran", "5", "")),
            ("/__api__/status", Route::Public(PublicRoute::Status)),
            ("/__api__/repos", Route::Public(PublicRoute::Repos)),
            ("/__api__/repos/", Route::Public(PublicRoute::Repos)),
            ("/__api__/repos/1", Route::Public(PublicRoute::Repo(s("1")))),
            ("/__api__/repos/cran/sources", Route::Public(PublicRoute::RepoSources(s("cran")))),
            ("/__api__/repos/cran/packages", Route::Public(PublicRoute::Packages(s("cran")))),
            ("/__api__/repos/cran/packages/A3", Route::Public(PublicRoute::Package(s("cran"), s("A3")))),
            ("/__api__/repos/1/transaction-dates", Route::Public(PublicRoute::TransactionDates(s("1")))),
            ("/__api__/repos/1/first-transaction", Route::Public(PublicRoute::FirstTransaction(s("1")))),
            ("/__api__/sources", Route::Public(PublicRoute::Sources)),
            ("/__api__/sources/1", Route::Public(PublicRoute::Source(s("1")))),
            ("/__api__/sources/1/transactions", Route::Public(PublicRoute::SourceTransactions(s("1")))),
            ("/__api__/sources/1/packages", Route::Public(PublicRoute::SourcePackages(s("1")))),
            (
                "/__api__/repos/1/packages/A3/builds",
                Route::Public(PublicRoute::PackageBinaries(s("1"), s("A3"))),
            ),
            (
                "/__api__/repos/1/packages/A3/binaries/logs",
                Route::Public(PublicRoute::BuildLog(s("1"), s("A3"))),
            ),
            (
                "/__api__/repos/1/packages/A3/sysreqs",
                Route::Public(PublicRoute::PackageSysreqs(s("1"), s("A3"))),
            ),
            ("/__api__/repos/1/sysreqs", Route::Public(PublicRoute::Sysreqs(s("1")))),
            (
                "/__api__/sources/1/packages/A3/releases",
                Route::Public(PublicRoute::SourceReleases(s("1"), s("A3"))),
            ),
            ("/__api__/alerts", Route::Public(PublicRoute::Alerts)),
            ("/__api__/verify-auth", Route::Public(PublicRoute::VerifyAuth)),
            ("/__api__/swagger/", Route::Public(PublicRoute::Swagger)),
            ("/__api__/swagger/index.html", Route::Public(PublicRoute::Swagger)),
            ("/__api__/swagger/doc.json", Route::Public(PublicRoute::OpenApi)),
            ("/__api__/metrics/packages", Route::Public(PublicRoute::MetricsPackages)),
            ("/__api__/admin/v1/repos/x", Route::Admin(s("repos/x"))),
        ];
        for (path, expected) in table {
            assert_eq!(route(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn post_requests_have_a_route_too() {
        let parsed = |method: Method, path: &str| {
            parse(&method, path, None, 4096).map(|(route, _)| route).map_err(|e| (e.status.as_u16(), e.allow))
        };
        let table = [
            ("/__api__/repos/1/sysreqs", PostRoute::Sysreqs("1".to_owned()), "GET, HEAD, POST"),
            ("/__api__/repos/cran/filter/packages", PostRoute::Filter(Some("cran".to_owned())), "POST"),
            ("/__api__/filter/packages", PostRoute::Filter(None), "POST"),
            ("/__api__/url", PostRoute::Url, "POST"),
        ];
        for (path, expected, allowed) in table {
            assert_eq!(parsed(Method::POST, path), Ok(Route::Post(expected)), "{path}");
            assert_eq!(parsed(Method::PUT, path), Err((405, Some(allowed))), "{path}");
        }
        assert_eq!(parsed(Method::GET, "/__api__/filter/packages"), Err((405, Some("POST"))));
        assert_eq!(parsed(Method::POST, "/__api__/filter"), Err((404, None)));
    }

    #[test]
    fn a_distribution_precedes_the_snapshot() {
        let parsed = route("/cran/__linux__/noble/2024-02-29/src/contrib/A_1.tar.gz");
        let Route::Repository { repo, snapshot, path, .. } =
            repository("cran", "2024-02-29", "src/contrib/A_1.tar.gz")
        else {
            unreachable!("a repository route");
        };
        assert_eq!(
            parsed,
            Ok(Route::Repository { repo, linux: Some("noble".to_owned()), snapshot, part: None, path })
        );
    }

    #[test]
    fn an_address_outside_the_table_is_not_found() {
        for path in [
            "/cran/newest/x",
            "/cran/latest/src",
            "/cran/latest/src/contrib/",
            "/cran/2024-13-01/x",
            "/__api__",
            "/__api__/nothing",
            "/__api__/repos/a/b",
            "/__linux__/x/latest",
            "/cran/__linux__",
            "/cran/__linux__/noble",
            "/cran/__linux__/noble/newest/src/contrib/PACKAGES",
            "/cran/__other__/noble/latest/src/contrib/PACKAGES",
            "/__docs__/",
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
                let refused = parse(&method, path, None, 4096).expect_err("refused");
                assert_eq!(
                    (refused.status.as_u16(), refused.allow),
                    (405, Some("GET, HEAD")),
                    "{method} {path}"
                );
            }
        }
        assert!(parse(&Method::POST, "/__api__/admin/v1/repos", None, 4096).is_ok());
    }
}
