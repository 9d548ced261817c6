//! Finds the repository, source, point, Bioconductor version or page that a request names.

use std::ops::Range;
use std::sync::Arc;

use super::PublicCall;
use crate::http::error::{Failure, truncate};
use crate::http::login::permission::Principal;
use base::model::ids::SourceId;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve;
use formats::r::bioconductor::{BadBioconductorVersion, BioconductorVersion, Part};
use runtime::catalog::{self, Catalog, Repository};
use runtime::state::State;
use tasks::usage::Usage;

/// Maximum number of rows in a response.
const MAX_ROWS: usize = 1000;
/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;

/// The downloads of packages that a client may read.
pub(super) struct ReadableDownloads {
    usage: Usage,
    state: Arc<State>,
    principal: Principal,
}

impl ReadableDownloads {
    pub(super) fn new(call: &PublicCall<'_>) -> ReadableDownloads {
        let (app, principal) = (call.app, call.head.principal.clone());
        ReadableDownloads { usage: app.usage.clone(), state: Arc::clone(&app.state), principal }
    }

    /// As [`Usage::totals`]; 0 for sources that the client may not read. SECURITY: downloads are counted over all
    /// repositories of a source.
    pub(super) async fn totals(&self, packages: &[(SourceId, &str)]) -> Vec<i64> {
        let catalog = self.state.catalog.get();
        let is_readable = |id| {
            let source = catalog.source_by_id(id);
            source.is_some_and(|source| self.principal.may_read_source(&catalog, source))
        };
        let counts = self.usage.totals(packages).await.into_iter().zip(packages);
        counts.map(|(count, (source, _))| if is_readable(*source) { count } else { 0 }).collect()
    }
}

/// Returns the positions of the rows of a page: `_limit` and `_page` of a query.
pub(super) fn positions(limit: Option<usize>, page: Option<usize>) -> Range<usize> {
    let limit = limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let start = limit * (page.unwrap_or(1).clamp(1, MAX_PAGE) - 1);
    start..start + limit
}

/// Returns the point of a repository at a snapshot, by default the newest one, or that of a Bioconductor version in it:
/// `bioc_version` and `snapshot` of a query.
pub(super) async fn requested_point(
    call: &PublicCall<'_>,
    requested: &str,
    version: Option<&str>,
    snapshot: Option<Snapshot>,
) -> Result<Point, Failure> {
    let repo = repository(&call.catalog, requested)?;
    // Other repositories have no versions: the parameter has no effect there.
    let version = bioconductor_version(version)?.filter(|_| repo.kind.has_parts());
    let part = version.map(Part::whole);
    let snapshot = snapshot.unwrap_or(Snapshot::Latest);
    Ok(serve::point::resolve_part(&call.app.repositories, repo.name.as_str(), part, snapshot).await?)
}

/// Parses `bioc_version`, the Bioconductor version; an invalid one is an error for every repository.
pub(super) fn bioconductor_version(requested: Option<&str>) -> Result<Option<BioconductorVersion>, Failure> {
    let version = requested.filter(|text| !text.is_empty()).map(str::parse).transpose();
    version.map_err(|error: BadBioconductorVersion| {
        Failure::bad_request(format!("the parameter bioc_version: {error}"))
    })
}

/// Finds a repository by number or name; hidden ones too.
pub(super) fn repository<'a>(catalog: &'a Catalog, requested: &str) -> Result<&'a Repository, Failure> {
    let repo = catalog.repo_by_name_or_id(requested);
    repo.ok_or_else(|| Failure::not_found(format!("there is no repository '{}'", truncate(requested))))
}

/// Like [`repository`], but finds a hidden repository only by its name, because the response contains the name.
pub(super) fn named_repository<'a>(
    catalog: &'a Catalog,
    requested: &str,
    principal: &Principal,
) -> Result<&'a Repository, Failure> {
    let repo = repository(catalog, requested).ok().filter(|repo| principal.may_name(repo, requested));
    repo.ok_or_else(|| Failure::not_found(format!("there is no repository '{}'", truncate(requested))))
}

/// Finds a source by number or name.
pub(super) fn source<'a>(catalog: &'a Catalog, requested: &str) -> Result<&'a catalog::Source, Failure> {
    let source = catalog.source_by_name_or_id(requested);
    source.ok_or_else(|| Failure::not_found(format!("there is no source '{}'", truncate(requested))))
}
