//! The OpenAPI document of the public API, generated from the wire types: `/__api__/swagger/doc.json`;
//! `docs/api/public.json` is a copy.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{InfoBuilder, OpenApi, Server};

use crate::http::openapi::{self, JSON, Row, Schemas};
use api::binary::Binary;
use api::error::Error;
use api::public::{
    alert, bootstrap, difference, filter, package, repo, source, status, sysreqs, url, usage, vulnerability,
};

const LIST_PARAMETERS: &[(&str, &str)] = &[
    ("_limit", "rows per page, at most 1000"),
    ("_page", "page number, from 1"),
    ("_sort", "name, version, date_publication or source"),
    ("_order", "asc or desc"),
    ("name", "exact package name"),
    ("name_like", "part of the name, case-insensitive; with % only at the end, a prefix"),
    ("name_search", "as name_like"),
    ("exact_first", "true: sort the exact match first"),
    ("bioc_version", "the version of a Bioconductor repository"),
    ("snapshot", "the snapshot of a repository: latest (default), a day or a transaction"),
];
const SYSTEM: &[(&str, &str)] = &[
    ("distribution", "the distribution of a row of /status whose sysReqs is true"),
    ("release", "the release of the same row of /status"),
];
const PACKAGES_SYSTEM: &[(&str, &str)] = &[
    ("distribution", "the distribution of a row of /status whose sysReqs is true"),
    ("release", "the release of the same row of /status"),
    ("all", "true: all packages of the repository"),
    ("pkgname", "a package; may be repeated, or a comma-separated list"),
];
const DESCRIPTION_SYSTEM: &[(&str, &str)] = &[
    ("distribution", "the distribution of a row of /status whose sysReqs is true"),
    ("release", "the release of the same row of /status"),
    ("suggests", "true: include suggested packages"),
];
const VERSION: &[(&str, &str)] = &[
    ("version", "a version other than the listed one"),
    ("bioc_version", "the version of a Bioconductor repository"),
    ("snapshot", "the snapshot of a repository: latest (default), a day or a transaction"),
];
const BUILD_LOG_PARAMETERS: &[(&str, &str)] = &[
    ("distribution", "as in rspm list distributions"),
    ("r_version", "a minor version of R: 4.5"),
    ("arch", "x86_64 (default) or arm64"),
    ("version", "a version other than the listed one"),
    ("bioc_version", "the version of a Bioconductor repository"),
    ("snapshot", "the snapshot of a repository: latest (default), a day or a transaction"),
];
const PAGES: &[(&str, &str)] = &[("_limit", "rows per page"), ("_page", "page number, from 1")];
const DOWNLOADS: &[(&str, &str)] = &[
    ("_sourceType", "r or python; default both"),
    ("_days", "number of days up to today, at most 366; default 7"),
    ("_limit", "rows per page, at most 1000"),
    ("_page", "page number, from 1"),
];
const DOWNLOAD: &[(&str, &str)] = &[("os", "linux (the default), darwin or windows")];
const VULNERABILITIES: &[(&str, &str)] = &[
    ("_limit", "rows per page, at most 1000"),
    ("_page", "page number, from 1"),
    ("bioc_version", "the version of a Bioconductor repository"),
    ("snapshot", "the snapshot of a repository: latest (default), a day or a transaction"),
];
const SNAPSHOT: &[(&str, &str)] = &[
    ("snapshot", "latest (default), a day or a transaction"),
    ("bioc_version", "the version of a Bioconductor repository"),
];
const DIFFERENCE: &[(&str, &str)] = &[
    ("from", "a day or a transaction"),
    ("to", "latest (default), a day or a transaction"),
    ("kind", "added, removed, updated, downgraded, replaced or moved; default all"),
    ("format", "csv, or json (default)"),
    ("bioc_version", "the version of a Bioconductor repository"),
];
const KIND: &[(&str, &str)] = &[("type", "R, Bioconductor or Python")];
const DATES: &[(&str, &str)] = &[("_sort", "date"), ("_order", "asc or desc; default desc")];

fn get(
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    schema: &'static str,
) -> Row {
    Row { method: HttpMethod::Get, path, summary, query, body: None, response: Some((JSON, schema)) }
}

fn post(
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: (&'static str, &'static str),
    response: (&'static str, &'static str),
) -> Row {
    Row { method: HttpMethod::Post, path, summary, query, body: Some(body), response: Some(response) }
}

fn rows() -> Vec<Row> {
    let lines = ("application/x-ndjson", "FilterResult");
    vec![
        get("/status", "Features of the server, and the platforms it has binaries for", &[], "Status"),
        get("/verify-auth", "Whether the token of the request is valid; 200 without one", &[], ""),
        Row {
            method: HttpMethod::Get,
            path: "/download",
            summary: "The command-line program rspm; requires a token",
            query: DOWNLOAD,
            body: None,
            response: Some(("application/octet-stream", "")),
        },
        get("/alerts", "Current problems that need an administrator", &[], "[Alert]"),
        get("/repos", "Repositories that are not hidden", KIND, "[Repo]"),
        get(
            "/repos/{repo}",
            "One repository; {repo} is its number or its name, also in the addresses below",
            &[],
            "Repo",
        ),
        get("/repos/{repo}/sources", "The sources of a repository, in order of precedence", &[], "[Source]"),
        get("/repos/{repo}/packages", "The listed packages of a repository", LIST_PARAMETERS, "[Package]"),
        get(
            "/repos/{repo}/packages/{name}",
            "One package with links and archived versions",
            VERSION,
            "Package",
        ),
        get(
            "/repos/{repo}/packages/{name}/builds",
            "The binaries of a package: newest version first, then by platform, newest first",
            SNAPSHOT,
            "[Binary]",
        ),
        get(
            "/repos/{repo}/packages/{name}/binaries/logs",
            "The last build of a package from git and the end of its log; for others 404 with the origin of the binary",
            BUILD_LOG_PARAMETERS,
            "",
        ),
        get(
            "/repos/{repo}/packages/{name}/sysreqs",
            "System requirements of one package and its dependencies",
            SYSTEM,
            "PackageRequirements",
        ),
        get(
            "/repos/{repo}/sysreqs",
            "System requirements of packages and their dependencies",
            PACKAGES_SYSTEM,
            "Requirements",
        ),
        post(
            "/repos/{repo}/sysreqs",
            "System requirements of the package that a DESCRIPTION describes, and of its dependencies",
            DESCRIPTION_SYSTEM,
            ("text/plain", ""),
            (JSON, "DescriptionRequirements"),
        ),
        post(
            "/repos/{repo}/filter/packages",
            "Details of many packages; one JSON object per line",
            &[],
            (JSON, "Filter"),
            lines,
        ),
        get(
            "/repos/{repo}/vulns",
            "Known vulnerabilities of the packages of a repository, by package",
            VULNERABILITIES,
            "[AffectedPackage]",
        ),
        get(
            "/repos/{repo}/diff",
            "The packages that differ between two snapshots, by name; as CSV with format=csv",
            DIFFERENCE,
            "[PackageDifference]",
        ),
        get(
            "/repos/{repo}/transaction-dates",
            "The days on which a repository changed, newest first",
            DATES,
            "[TransactionDate]",
        ),
        get(
            "/repos/{repo}/first-transaction",
            "The first day on which a repository changed",
            &[],
            "TransactionDate",
        ),
        post(
            "/filter/packages",
            "As /repos/{repo}/filter/packages; the body names the repository",
            &[],
            (JSON, "Filter"),
            lines,
        ),
        get("/sources", "Sources", &[], "[Source]"),
        get(
            "/sources/{source}",
            "One source; {source} is its number or its name, also in the addresses below",
            &[],
            "Source",
        ),
        get(
            "/sources/{source}/transactions",
            "The transactions of a source, newest first",
            PAGES,
            "[Transaction]",
        ),
        get("/sources/{source}/packages", "The listed packages of a source", LIST_PARAMETERS, "[Package]"),
        get(
            "/sources/{source}/packages/{name}/releases",
            "The listed and the archived versions of a package; all versions of a Python package",
            &[],
            "[Release]",
        ),
        get(
            "/metrics/packages",
            "Packages by number of downloads, highest first; 404 if downloads are not counted",
            DOWNLOADS,
            "[PackageDownloads]",
        ),
        Row {
            method: HttpMethod::Post,
            path: "/git-builders/{id}/poll",
            summary: "Poll the repository of a builder: a webhook of a git server, signed with the builder's secret",
            query: &[],
            body: Some((JSON, "")),
            response: None,
        },
        post(
            "/bootstrap",
            "A token with the scope global:admin for the owner of the key in Bootstrap.PublicKey",
            &[],
            (JSON, "BootstrapRequest"),
            (JSON, "BootstrapToken"),
        ),
        post("/url", "The snapshot at a given time", &[], (JSON, "SnapshotQuery"), (JSON, "Snapshot")),
    ]
}

/// Returns the OpenAPI 3.1 document of the public API.
#[must_use]
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm public API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The API for clients: repositories, packages, snapshots, system requirements."))
        .build();
    let schemas = Schemas::default()
        .with::<Error>()
        .with::<Binary>()
        .with::<alert::Alert>()
        .with::<bootstrap::BootstrapRequest>()
        .with::<bootstrap::BootstrapToken>()
        .with::<difference::PackageDifference>()
        .with::<filter::Filter>()
        .with::<filter::FilterResult>()
        .with::<package::Package>()
        .with::<package::Release>()
        .with::<repo::Repo>()
        .with::<repo::TransactionDate>()
        .with::<source::Source>()
        .with::<source::Transaction>()
        .with::<status::Status>()
        .with::<sysreqs::PackageRequirements>()
        .with::<sysreqs::DescriptionRequirements>()
        .with::<sysreqs::Requirements>()
        .with::<url::SnapshotQuery>()
        .with::<url::Snapshot>()
        .with::<usage::PackageDownloads>()
        .with::<vulnerability::AffectedPackage>();
    openapi::document(info, "/__api__", rows().into_iter(), schemas.build())
}

/// Returns the document with the base URL of a server.
#[must_use]
pub fn document_with_base(base: String) -> OpenApi {
    let mut document = document();
    document.servers = Some(vec![Server::new(base)]);
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::public::PublicRoute;

    #[test]
    fn every_referenced_schema_exists() {
        assert_eq!(openapi::undefined_schemas(&document()), [""; 0]);
    }

    #[test]
    fn every_address_is_documented() {
        let mut documented: Vec<_> = rows().iter().map(openapi::method_and_path).collect();
        let mut rows: Vec<_> = PublicRoute::ROWS.to_vec();
        rows.retain(|(_, path)| !path.starts_with("/swagger"));
        documented.sort_unstable();
        rows.sort_unstable();
        assert_eq!(documented, rows);
    }
}
