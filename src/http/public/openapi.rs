//! The OpenAPI document of the public API, made from the wire types: `/__api__/swagger/doc.json`; `docs/api/public.json`
//! is a copy.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{InfoBuilder, OpenApi, Server};

use crate::api::binary::Binary;
use crate::api::error::Error;
use crate::api::public::{alert, filter, package, repo, source, status, sysreqs, url, usage};
use crate::http::openapi::{self, JSON, Row, Schemas};

const LIST: &[(&str, &str)] = &[
    ("_limit", "rows of the answer, at most 1000"),
    ("_page", "which page of that many, from 1"),
    ("_sort", "name, version, date_publication or source"),
    ("_order", "asc or desc"),
    ("name", "exactly this package"),
    ("name_like", "a part of the name, in any case of letters"),
    ("name_search", "as name_like"),
    ("exact_first", "true: the package of exactly that name goes first"),
    ("bioc_version", "the version of a Bioconductor repository"),
];
const SYSTEM: &[(&str, &str)] =
    &[("distribution", "as in the rows of /status with sysReqs"), ("release", "as in the same row")];
const PACKAGES_SYSTEM: &[(&str, &str)] = &[
    ("distribution", "as in the rows of /status with sysReqs"),
    ("release", "as in the same row"),
    ("all", "true: every package of the repository"),
    ("pkgname", "a package; may be repeated, or hold several between commas"),
];
const POSTED_SYSTEM: &[(&str, &str)] = &[
    ("distribution", "as in the rows of /status with sysReqs"),
    ("release", "as in the same row"),
    ("suggests", "true: also what the package suggests"),
];
const VERSION: &[(&str, &str)] = &[
    ("version", "another than the listed one"),
    ("bioc_version", "the version of a Bioconductor repository"),
];
const BUILD: &[(&str, &str)] = &[
    ("distribution", "as rspm list distributions has it"),
    ("r_version", "a minor version of R: 4.5"),
    ("arch", "x86_64, unless it is said, or arm64"),
    ("version", "another than the listed one"),
    ("bioc_version", "the version of a Bioconductor repository"),
];
const PAGES: &[(&str, &str)] =
    &[("_limit", "rows of the answer"), ("_page", "which page of that many, from 1")];
const DOWNLOADS: &[(&str, &str)] = &[
    ("_sourceType", "r or python; both unless it is said"),
    ("_days", "so many days up to today, at most 366; 7 unless it is said"),
    ("_limit", "rows of the answer, at most 1000"),
    ("_page", "which page of that many, from 1"),
];
const KIND: &[(&str, &str)] = &[("type", "R or Bioconductor")];
const DATES: &[(&str, &str)] = &[("_sort", "date"), ("_order", "asc or desc; desc unless it is said")];

fn get(
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    schema: &'static str,
) -> Row {
    Row { method: HttpMethod::Get, path, summary, query, body: None, answer: Some((JSON, schema)) }
}

fn post(
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: (&'static str, &'static str),
    answer: (&'static str, &'static str),
) -> Row {
    Row { method: HttpMethod::Post, path, summary, query, body: Some(body), answer: Some(answer) }
}

fn rows() -> Vec<Row> {
    let lines = ("application/x-ndjson", "Filtered");
    vec![
        get("/status", "What kind of server this is, and for which platforms it has binaries", &[], "Status"),
        get("/verify-auth", "Whether the token of the request is valid; 200 without one", &[], ""),
        get("/alerts", "What an administrator should look at", &[], "[Alert]"),
        get("/repos", "Repositories that are not hidden", KIND, "[Repo]"),
        get("/repos/{repo}", "One repository, by its number or name, as below", &[], "Repo"),
        get("/repos/{repo}/sources", "Its sources in their order", &[], "[Source]"),
        get("/repos/{repo}/packages", "Its listed packages", LIST, "[Package]"),
        get(
            "/repos/{repo}/packages/{name}",
            "One package with links and archived versions",
            VERSION,
            "Package",
        ),
        get(
            "/repos/{repo}/packages/{name}/builds",
            "Its builds: newest version first, then by platform, newest first",
            &[],
            "[Binary]",
        ),
        get(
            "/repos/{repo}/packages/{name}/binaries/logs",
            "The log of a build: always 404, which says where the build came from; this server makes none",
            BUILD,
            "",
        ),
        get(
            "/repos/{repo}/packages/{name}/sysreqs",
            "What one package, and what it depends on, needs of the operating system",
            SYSTEM,
            "OfPackage",
        ),
        get(
            "/repos/{repo}/sysreqs",
            "What packages, and what they depend on, need of the operating system",
            PACKAGES_SYSTEM,
            "Requirements",
        ),
        post(
            "/repos/{repo}/sysreqs",
            "The same for the package of a DESCRIPTION",
            POSTED_SYSTEM,
            ("text/plain", ""),
            (JSON, "Posted"),
        ),
        post(
            "/repos/{repo}/filter/packages",
            "Many packages in one question; an object in each line",
            &[],
            (JSON, "Filter"),
            lines,
        ),
        get(
            "/repos/{repo}/transaction-dates",
            "The days it changed on, latest first",
            DATES,
            "[TransactionDate]",
        ),
        get("/repos/{repo}/first-transaction", "The first of them", &[], "TransactionDate"),
        post(
            "/filter/packages",
            "As /repos/{repo}/filter/packages; the body names it",
            &[],
            (JSON, "Filter"),
            lines,
        ),
        get("/sources", "Sources", &[], "[Source]"),
        get("/sources/{source}", "One source, by its number or name, as below", &[], "Source"),
        get("/sources/{source}/transactions", "What was published, newest first", PAGES, "[Transaction]"),
        get("/sources/{source}/packages", "Its listed packages", LIST, "[Package]"),
        get(
            "/sources/{source}/packages/{name}/releases",
            "The listed and the archived ones",
            &[],
            "[Release]",
        ),
        get(
            "/metrics/packages",
            "Packages by their downloads, most first; 404 where they are not counted",
            DOWNLOADS,
            "[PackageDownloads]",
        ),
        post("/url", "The snapshot of a time", &[], (JSON, "Moment"), (JSON, "Snapshot")),
    ]
}

/// The document: OpenAPI 3.1.
#[must_use]
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm public API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What clients read: repositories, packages, snapshots, system requirements."))
        .build();
    let schemas = Schemas::default()
        .with::<Error>()
        .with::<Binary>()
        .with::<alert::Alert>()
        .with::<filter::Filter>()
        .with::<filter::Filtered>()
        .with::<package::Package>()
        .with::<package::Release>()
        .with::<repo::Repo>()
        .with::<repo::TransactionDate>()
        .with::<source::Source>()
        .with::<source::Transaction>()
        .with::<status::Status>()
        .with::<sysreqs::OfPackage>()
        .with::<sysreqs::Posted>()
        .with::<sysreqs::Requirements>()
        .with::<url::Moment>()
        .with::<url::Snapshot>()
        .with::<usage::PackageDownloads>();
    openapi::document(info, "/__api__", rows().into_iter(), schemas.build())
}

/// The document as a server gives it, whose addresses begin with `base`.
#[must_use]
pub fn document_of(base: String) -> OpenApi {
    let mut document = document();
    document.servers = Some(vec![Server::new(base)]);
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::{self, Route};

    #[test]
    fn every_schema_that_is_referred_to_is_there() {
        assert_eq!(openapi::missing(&document()), [""; 0]);
    }

    #[test]
    fn every_address_that_is_described_is_answered() {
        for row in rows() {
            let method = match row.method {
                HttpMethod::Post => http::Method::POST,
                _ => http::Method::GET,
            };
            let path = format!("/__api__{}", row.path.replace(['{', '}'], ""));
            let answered = route::parse(&method, &path, None, 4096).map(|(route, _)| route);
            assert!(matches!(answered, Ok(Route::Public(_) | Route::Posted(_))), "{path}: {answered:?}");
        }
    }
}
