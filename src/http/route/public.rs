//! The addresses of the public API, `/__api__/…`; `docs/api/public.json` (OpenAPI) describes them.

use http::Method;

use super::table::{self, routes};
use crate::http::error::Failure;

routes! {
    /// Routes of the public API. Repositories and sources are named by their number or name. A POST has the query in
    /// its body and changes nothing, except for signed requests.
    PublicRoute {
        GET ["status"] => Status,
        GET ["repos"] => Repos,
        GET ["repos", repo] => Repo(repo),
        GET ["repos", repo, "sources"] => RepoSources(repo),
        GET ["repos", repo, "packages"] => Packages(repo),
        GET ["repos", repo, "packages", name] => Package(repo, name),
        GET ["repos", repo, "packages", name, "builds"] => PackageBinaries(repo, name),
        GET ["repos", repo, "packages", name, "binaries", "logs"] => BuildLog(repo, name),
        GET ["repos", repo, "packages", name, "sysreqs"] => PackageSysreqs(repo, name),
        GET ["repos", repo, "sysreqs"] => Sysreqs(repo),
        POST ["repos", repo, "sysreqs"] => DescriptionSysreqs(repo),
        POST ["repos", repo, "filter", "packages"] => FilterRepo(repo),
        POST ["filter", "packages"] => Filter,
        GET ["repos", repo, "vulns"] => RepoVulnerabilities(repo),
        GET ["repos", repo, "diff"] => RepoDifference(repo),
        GET ["repos", repo, "transaction-dates"] => TransactionDates(repo),
        GET ["repos", repo, "first-transaction"] => FirstTransaction(repo),
        GET ["sources"] => Sources,
        GET ["sources", source] => Source(source),
        GET ["sources", source, "transactions"] => SourceTransactions(source),
        GET ["sources", source, "packages"] => SourcePackages(source),
        GET ["sources", source, "packages", name, "releases"] => SourceReleases(source, name),
        GET ["metrics", "packages"] => MetricsPackages,
        POST ["url"] => Url,
        POST ["bootstrap"] => Bootstrap,
        POST ["git-builders", id, "poll"] => GitWebhook(id),
        GET ["alerts"] => Alerts,
        GET ["verify-auth"] => VerifyAuth,
        GET ["download"] => Download,
        GET ["swagger"] | ["swagger", "index.html"] => Swagger,
        GET ["swagger", "doc.json"] => OpenApi,
    }
}

/// Parses the decoded segments after `/__api__/`.
///
/// # Errors
/// 404 for an unknown address, 405 for another method.
pub(super) fn parse(method: &Method, segments: &[&str]) -> Result<PublicRoute, Failure> {
    let segments = segments.strip_suffix(&[""]).unwrap_or(segments);
    let find = |method: &Method| match method {
        &Method::HEAD => PublicRoute::find(&Method::GET, segments),
        method => PublicRoute::find(method, segments),
    };
    table::route(method, find, Failure::no_such_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_one_route() {
        let s = str::to_owned;
        let table = [
            ("GET", "status", PublicRoute::Status),
            ("GET", "repos", PublicRoute::Repos),
            ("GET", "repos/", PublicRoute::Repos),
            ("GET", "repos/1", PublicRoute::Repo(s("1"))),
            ("GET", "repos/cran/sources", PublicRoute::RepoSources(s("cran"))),
            ("GET", "repos/cran/packages", PublicRoute::Packages(s("cran"))),
            ("GET", "repos/cran/packages/A3", PublicRoute::Package(s("cran"), s("A3"))),
            ("GET", "repos/1/packages/A3/builds", PublicRoute::PackageBinaries(s("1"), s("A3"))),
            ("GET", "repos/1/packages/A3/binaries/logs", PublicRoute::BuildLog(s("1"), s("A3"))),
            ("GET", "repos/1/packages/A3/sysreqs", PublicRoute::PackageSysreqs(s("1"), s("A3"))),
            ("GET", "repos/1/sysreqs", PublicRoute::Sysreqs(s("1"))),
            ("HEAD", "repos/1/sysreqs", PublicRoute::Sysreqs(s("1"))),
            ("POST", "repos/1/sysreqs", PublicRoute::DescriptionSysreqs(s("1"))),
            ("POST", "repos/cran/filter/packages", PublicRoute::FilterRepo(s("cran"))),
            ("POST", "filter/packages", PublicRoute::Filter),
            ("GET", "repos/py/vulns", PublicRoute::RepoVulnerabilities(s("py"))),
            ("GET", "repos/1/transaction-dates", PublicRoute::TransactionDates(s("1"))),
            ("GET", "repos/1/first-transaction", PublicRoute::FirstTransaction(s("1"))),
            ("GET", "sources", PublicRoute::Sources),
            ("GET", "sources/1", PublicRoute::Source(s("1"))),
            ("GET", "sources/1/transactions", PublicRoute::SourceTransactions(s("1"))),
            ("GET", "sources/1/packages", PublicRoute::SourcePackages(s("1"))),
            ("GET", "sources/1/packages/A3/releases", PublicRoute::SourceReleases(s("1"), s("A3"))),
            ("GET", "metrics/packages", PublicRoute::MetricsPackages),
            ("POST", "git-builders/7/poll", PublicRoute::GitWebhook(s("7"))),
            ("POST", "url", PublicRoute::Url),
            ("POST", "bootstrap", PublicRoute::Bootstrap),
            ("GET", "alerts", PublicRoute::Alerts),
            ("GET", "verify-auth", PublicRoute::VerifyAuth),
            ("GET", "download", PublicRoute::Download),
            ("GET", "swagger/", PublicRoute::Swagger),
            ("GET", "swagger/index.html", PublicRoute::Swagger),
            ("GET", "swagger/doc.json", PublicRoute::OpenApi),
        ];
        for (method, path, expected) in table {
            assert_eq!(parsed(method, path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for (method, path, status, allowed) in [
            ("PUT", "repos", 405, Some("GET, HEAD")),
            ("PUT", "repos/1/sysreqs", 405, Some("GET, HEAD, POST")),
            ("GET", "filter/packages", 405, Some("POST")),
            ("PUT", "repos/cran/filter/packages", 405, Some("POST")),
            ("DELETE", "url", 405, Some("POST")),
            ("POST", "filter", 404, None),
            ("GET", "repos/a/b", 404, None),
            ("GET", "", 404, None),
        ] {
            let expected = Err((status, allowed.map(Box::from)));
            assert_eq!(parsed(method, path), expected, "{method} {path}");
        }
    }

    fn parsed(method: &str, path: &str) -> Result<PublicRoute, (u16, Option<Box<str>>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let method = method.parse().expect("a method");
        parse(&method, &segments).map_err(|failure| (failure.status.as_u16(), failure.allow))
    }
}
