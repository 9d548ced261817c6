//! `POST /filter/packages`: details of many packages, one JSON object per line.
//!
//! Lines are produced as the client reads them, in chunks of packages: a long response is never entirely in memory.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::StatusCode;
use tokio::sync::Semaphore;

use super::lookup::{ReadableDownloads, repository};
use super::{Answer, PublicCall, Raw, project_filter, vulnerabilities};
use crate::http::error::Failure;
use crate::http::net::Client;
use crate::http::net::body::{Body, BodyError};
use crate::http::net::budget::{Reservation, ResponseBudget};
use crate::http::response;
use crate::http::route::access::read_repository;
use api::error::Code;
use api::public::filter::{Dependencies, Details, Filter, FilterError, FilterResult};
use api::public::package::KeyValue;
use base::model::kind::{Language, Layout};
use base::model::point::Point;
use base::model::snapshot::{BadSnapshot, Snapshot};
use content::serve::info::PackageDetail;
use content::serve::metadata::ServedVersion;
use content::serve::vulnerabilities::Vulnerabilities;
use content::serve::{self, Repositories};
use formats::language::{self, Rules};
use formats::r;
use formats::r::dependency::DependencyKind;
use formats::r::description::Description;
use runtime::state::State;

/// Maximum number of names in a request.
const MAX_NAMES: usize = 10_000;
/// Number of names looked up at a time, so that a long request holds neither a database connection nor much memory.
const CHUNK: usize = 100;
/// Limits the chunks produced concurrently for all requests, so that long requests leave processors to short ones.
static CHUNK_PERMITS: Semaphore = Semaphore::const_new(2);

/// A line of the response.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Line {
    Package(Box<FilterResult>),
    Error(FilterError),
}

/// The name of a package, and the requested version, if any.
type Specification = (String, Option<String>);

/// The part of a response that is not produced yet.
struct PendingRows {
    repositories: Arc<Repositories>,
    state: Arc<State>,
    downloads: ReadableDownloads,
    language: Language,
    point: Point,
    filter: Arc<Filter>,
    vulnerabilities: Option<Arc<Vulnerabilities>>,
    specifications: std::vec::IntoIter<Result<Specification, String>>,
    response_budget: ResponseBudget,
    client: Client,
}

/// Handles a request whose body names the repository.
pub(super) async fn of_named_repo(call: PublicCall<'_>, mut filter: Filter) -> Answer<Raw> {
    let repo = filter.repo.take();
    let repo =
        repo.ok_or_else(|| Failure::bad_request("the body names no repository: \"repo\": \"cran\""))?;
    of_repo(call, &repo, filter).await
}

/// Handles a request; `repo`, the repository of the address, has precedence over that of the body. A streamed response
/// holds the bytes of the body, so that they stay counted in the budget of request bodies.
pub(super) async fn of_repo(call: PublicCall<'_>, repo: &str, mut filter: Filter) -> Answer<Raw> {
    let downloads = ReadableDownloads::new(&call);
    let PublicCall { app, head, bytes, .. } = call;
    if filter.names.len() > MAX_NAMES {
        return Err(Failure::bad_request(format!(
            "more than {MAX_NAMES} names in one request; send them in parts"
        )));
    }
    let snapshot = filter.snapshot.as_deref().filter(|text| !text.is_empty()).unwrap_or("latest");
    let snapshot: Snapshot =
        snapshot.parse().map_err(|error: BadSnapshot| Failure::not_found(error.to_string()))?;
    head.principal.require_public(app, read_repository(repo), false)?;
    let catalog = app.state.catalog.get();
    let repo = repository(&catalog, repo)?;
    let (name, language) = (repo.name.clone(), repo.kind.language());
    let point = serve::point::resolve(&app.repositories, name.as_str(), snapshot).await?;
    let advisories =
        if filter.vulns { Some(Arc::new(serve::vulnerabilities::current(&app.state).await)) } else { None };
    let names = distinct(&std::mem::take(&mut filter.names), language);
    let mut rows = PendingRows {
        repositories: Arc::clone(&app.repositories),
        state: Arc::clone(&app.state),
        downloads,
        language,
        point,
        filter: Arc::new(filter),
        vulnerabilities: advisories,
        specifications: names.into_iter(),
        response_budget: app.response_budget.clone(),
        client: app.client(head.peer),
    };
    // The first chunk is produced before the head is sent, so that most errors still become an error response.
    if rows.specifications.len() <= CHUNK {
        return Ok(Raw(response::json_lines(Body::full(rows.next().await?.unwrap_or_default()))));
    }
    let reservation = rows.response_budget.reserve(rows.client)?;
    let first = rows.chunk(reservation).await?.unwrap_or_default();
    // The other chunks are produced once the client has read the previous ones.
    let mut response_body = Body::stream(rows.stream(first), None);
    response_body.attach(bytes);
    Ok(Raw(response::json_lines(response_body)))
}

/// Returns each specification once, in the order of the request, and an error for each invalid name.
fn distinct(names: &[String], language: Language) -> Vec<Result<Specification, String>> {
    let mut unique = HashSet::with_capacity(names.len());
    let specifications = names.iter().map(|text| match language.layout() {
        Layout::Lists => specification(text, language::of(language)),
        Layout::Projects => project_filter::specification(text, language::of(language)),
    });
    specifications.filter(|result| unique.insert(result.clone())).collect()
}

impl PendingRows {
    /// Produces the lines of the next packages; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk: Vec<_> = self.specifications.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return Ok(None);
        }
        // The semaphore is never closed.
        let _permit = CHUNK_PERMITS.acquire().await.ok();
        let (mut requests, mut lines) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
        for result in chunk {
            match result {
                Ok(specification) => requests.push(specification),
                Err(error) => lines.push(Line::Error(FilterError { error, code: Code::Invalid as u16 })),
            }
        }
        match self.language.layout() {
            Layout::Projects => self.rows_of_projects(&requests, lines).await.map(Some),
            Layout::Lists => self.rows_of_packages(requests, lines).await.map(Some),
        }
    }

    /// Adds the rows of projects to the lines of a chunk.
    async fn rows_of_projects(
        &self,
        requests: &[Specification],
        mut lines: Vec<Line>,
    ) -> Result<Bytes, Failure> {
        let rows = project_filter::rows(
            &self.repositories,
            &self.downloads,
            self.language,
            &self.point,
            requests,
            &self.filter,
            self.vulnerabilities.as_deref(),
        )
        .await?;
        lines.extend(rows.into_iter().map(|row| Line::Package(Box::new(row))));
        encode(&lines).map_err(|error| not_serialized(&error))
    }

    /// Adds the rows of R packages to the lines of a chunk.
    async fn rows_of_packages(
        &self,
        requests: Vec<Specification>,
        mut lines: Vec<Line>,
    ) -> Result<Bytes, Failure> {
        let packages = serve::info::packages(&self.state, &self.point, requests).await?;
        let packages: Vec<PackageDetail> = packages.into_iter().flatten().collect();
        let counts = if self.filter.omit_downloads || self.filter.omit_package_details {
            vec![None; packages.len()]
        } else {
            let names: Vec<_> =
                packages.iter().map(|detail| (detail.source, detail.release.package.as_str())).collect();
            self.downloads.totals(&names).await.into_iter().map(Some).collect()
        };
        let metadata = match self.filter.metadata {
            true => metadata_of(&self.repositories, self.language, &self.point, &packages).await?,
            false => vec![Vec::new(); packages.len()],
        };
        let (filter, advisories) = (Arc::clone(&self.filter), self.vulnerabilities.clone());
        let encoded = tokio::task::spawn_blocking(move || {
            let rows = packages.iter().zip(counts).zip(metadata);
            lines.extend(rows.map(|((detail, downloads), metadata)| {
                let row = filter_package(detail, &filter, downloads, advisories.as_deref());
                Line::Package(Box::new(FilterResult { metadata, ..row }))
            }));
            encode(&lines)
        });
        let encoded = encoded.await.map_err(|_| Failure::unavailable("the server is stopping", 5))?;
        encoded.map_err(|error| not_serialized(&error))
    }

    /// Produces the next chunk in the budget of responses; `None` at the end.
    async fn chunk(&mut self, reservation: Reservation) -> Result<Option<Bytes>, Failure> {
        self.next().await?.map(|bytes| reservation.charge_bytes(bytes)).transpose()
    }

    /// Produces the next chunk when the budget permits: an exhausted budget must not truncate a begun response.
    async fn later_chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let reservation = self.response_budget.reserve_later(self.client).await?;
        self.chunk(reservation).await
    }

    /// Streams `first`, then the rest. An error aborts the connection, so that no truncated response seems complete.
    fn stream(self, first: Bytes) -> BoxStream<'static, Result<Bytes, BodyError>> {
        let rest = stream::unfold(Some(self), |rows| async move {
            let mut rows = rows?;
            match rows.later_chunk().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(rows))),
                Ok(None) => None,
                Err(failure) => Some((Err(failure.phrase.into()), None)),
            }
        });
        stream::iter([Ok(first)]).chain(rest).boxed()
    }
}

/// Returns for each package the metadata that administrators set.
async fn metadata_of(
    repositories: &Repositories,
    language: Language,
    point: &Point,
    packages: &[PackageDetail],
) -> Result<Vec<Vec<KeyValue>>, Failure> {
    let served = |detail: &PackageDetail| ServedVersion {
        source: detail.source,
        name: detail.release.package.clone(),
        version: detail.release.version.clone(),
    };
    let served = packages.iter().map(served).collect();
    let metadata = serve::metadata::of(repositories, language, point.repo, served).await?;
    Ok(metadata.into_iter().map(KeyValue::list).collect())
}

fn encode(lines: &[Line]) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::with_capacity(lines.len() * 512);
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    Ok(text.into())
}

fn not_serialized(error: &serde_json::Error) -> Failure {
    tracing::error!("could not serialize an API response as JSON: {error}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "internal error")
}

/// Parses `ggplot2`, `ggplot2==3.5.2` or `ggplot2@3.5.2`.
fn specification(text: &str, rules: &dyn Rules) -> Result<Specification, String> {
    let (package, version) = match text.split_once("==").or_else(|| text.split_once('@')) {
        Some((package, version)) => (package.trim(), Some(version.trim())),
        None => (text.trim(), None),
    };
    if !rules.is_name(package, false) || version.is_some_and(str::is_empty) {
        let excerpt: String = text.chars().take(80).collect();
        return Err(format!("'{excerpt}' is not a package specification: write name or name==version"));
    }
    Ok((package.to_owned(), version.map(str::to_owned)))
}

fn filter_package(
    detail: &PackageDetail,
    filter: &Filter,
    downloads: Option<i64>,
    advisories: Option<&Vulnerabilities>,
) -> FilterResult {
    let description = Description::from_bytes(&detail.description).ok();
    let release = &detail.release;
    FilterResult {
        name: release.package.clone(),
        version: release.version.clone(),
        blocked: release.blocked.is_some(),
        blocking_rule: release.blocked.clone(),
        details: (!filter.omit_package_details).then(|| details(detail, description.as_ref())),
        dependencies: (!filter.omit_dependencies && !filter.omit_package_details)
            .then(|| description.as_ref().map(dependencies).unwrap_or_default()),
        downloads,
        metadata: Vec::new(),
        vulns: advisories
            .map(|advisories| advisories.of(detail.source, &release.package, &release.version))
            .unwrap_or_default()
            .iter()
            .map(vulnerabilities::wire)
            .collect(),
    }
}

fn details(detail: &PackageDetail, description: Option<&Description>) -> Details {
    let field = |tag: &str| description.and_then(|description| description.non_empty(tag)).map(str::to_owned);
    let license = field("License");
    let licenses = license.as_deref().map(alternatives).unwrap_or_default();
    let releases = std::iter::once(&detail.release).chain(&detail.others);
    // If the requested version is archived, the listed one is among the others.
    let mut versions: Vec<_> = releases.filter(|release| release.blocked.is_none()).collect();
    versions.sort_by_key(|release| (release.archived, std::cmp::Reverse(release.published_at)));
    Details {
        summary: field("Title"),
        license_types: r::license::licenses(license.as_deref().unwrap_or_default()).types().to_vec(),
        licenses,
        license,
        package_date: field("Date").or_else(|| detail.release.published_at.map(|at| at.day().to_string())),
        package_size: detail.release.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        available_versions: versions.into_iter().map(|release| release.version.clone()).collect(),
    }
}

/// Returns the alternative licenses of a `License` field of R ("Writing R Extensions", 1.1.2), separated by `|`;
/// `+ file LICENSE` belongs to the license before it.
fn alternatives(license: &str) -> Vec<String> {
    let parts = license.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    parts.filter(|part| !part.is_empty()).collect()
}

fn dependencies(description: &Description) -> Dependencies {
    let list = |kind: DependencyKind| {
        let text = |dependency: formats::r::dependency::Dependency<'_>| dependency.to_string();
        description.dependencies(kind).map(text).collect()
    };
    Dependencies {
        depends: list(DependencyKind::Depends),
        imports: list(DependencyKind::Imports),
        linking_to: list(DependencyKind::LinkingTo),
        suggests: list(DependencyKind::Suggests),
        enhances: list(DependencyKind::Enhances),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_listed_individually() {
        assert_eq!(alternatives("GPL-2 | GPL-3"), ["GPL-2", "GPL-3"]);
        assert_eq!(
            alternatives("Apache License (== 2.0)|BSD_3_clause +  file LICENSE"),
            ["Apache License (== 2.0)", "BSD_3_clause + file LICENSE"]
        );
        assert_eq!(alternatives(" | "), [""; 0]);
    }

    #[test]
    fn a_name_may_have_a_version() {
        let assert_parsed = |text, name: &str, version: Option<&str>| {
            assert_eq!(
                specification(text, language::of(Language::R)),
                Ok((name.to_owned(), version.map(str::to_owned))),
                "{text}"
            );
        };
        assert_parsed("ggplot2", "ggplot2", None);
        assert_parsed("ggplot2==3.5.2", "ggplot2", Some("3.5.2"));
        assert_parsed(" A3 == 1.0 ", "A3", Some("1.0"));
        assert_parsed("A3@1.0-2", "A3", Some("1.0-2"));
        for bad in ["", "==1", "a b==1", "../x", "a==", "9a", "a/b"] {
            assert!(
                specification(bad, language::of(Language::R)).expect_err(bad).contains("name==version"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_repeated_name_is_answered_once() {
        let names = ["a1==1", "b1", "a1 == 1", "a1", "b1", "../x", "../x"].map(str::to_owned);
        let specifications = distinct(&names, Language::R);
        let good: Vec<_> = specifications
            .iter()
            .flatten()
            .map(|(name, version)| (name.as_str(), version.as_deref()))
            .collect();
        assert_eq!(good, [("a1", Some("1")), ("b1", None), ("a1", None)]);
        assert_eq!(specifications.len(), 4, "one error");
    }
}
