//! Finds the repository, source, point or Bioconductor version that a request names.

use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::permission::Principal;
use crate::http::target::Query;
use base::model::point::Point;
use base::model::repository::RepoKind;
use base::model::snapshot::Snapshot;
use content::serve;
use formats::r::bioconductor::{BadVersion, Part, Version};
use runtime::catalog::{self, Catalog, Repository};

/// Returns the point of a repository, or of a Bioconductor version in it: the newest one, or that of the parameter
/// `snapshot`.
pub(super) async fn requested_point(
    app: &App,
    catalog: &Catalog,
    requested: &str,
    query: &Query,
) -> Result<Point, Failure> {
    let repo = repository(catalog, requested)?;
    // Other repositories have no versions: the parameter has no effect there.
    let version = bioconductor_version(query)?.filter(|_| repo.kind == RepoKind::Bioconductor);
    let snapshot = query.snapshot("snapshot")?.unwrap_or(Snapshot::Latest);
    point_at(app, repo, version, snapshot).await
}

/// Returns the two points that the parameters `from` and `to` name; `to` is the newest one if it is absent.
pub(super) async fn requested_points(
    app: &App,
    catalog: &Catalog,
    requested: &str,
    query: &Query,
) -> Result<(Point, Point), Failure> {
    let repo = repository(catalog, requested)?;
    let version = bioconductor_version(query)?.filter(|_| repo.kind == RepoKind::Bioconductor);
    let from = query.snapshot("from")?;
    let from = from.ok_or_else(|| Failure::bad_request("the parameter from must name a snapshot"))?;
    let to = query.snapshot("to")?.unwrap_or(Snapshot::Latest);
    Ok((point_at(app, repo, version, from).await?, point_at(app, repo, version, to).await?))
}

async fn point_at(
    app: &App,
    repo: &Repository,
    version: Option<Version>,
    snapshot: Snapshot,
) -> Result<Point, Failure> {
    let part = version.map(Part::whole);
    Ok(serve::point::resolve_part(&app.repositories, repo.name.as_str(), part, snapshot).await?)
}

/// Parses `bioc_version`, the Bioconductor version; an invalid one is an error for every repository.
pub(super) fn bioconductor_version(query: &Query) -> Result<Option<Version>, Failure> {
    let requested = query.get("bioc_version").filter(|text| !text.is_empty());
    requested
        .map(|text| {
            text.parse().map_err(|error: BadVersion| {
                Failure::bad_request(format!("the parameter bioc_version: {error}"))
            })
        })
        .transpose()
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
    let is_disclosed =
        |repo: &&Repository| !repo.hidden || repo.name.as_str() == requested || principal.is_administrator();
    let repo = repository(catalog, requested).ok().filter(is_disclosed);
    repo.ok_or_else(|| Failure::not_found(format!("there is no repository '{}'", truncate(requested))))
}

/// Finds a source by number or name.
pub(super) fn source<'a>(catalog: &'a Catalog, requested: &str) -> Result<&'a catalog::Source, Failure> {
    let source = catalog.source_by_name_or_id(requested);
    source.ok_or_else(|| Failure::not_found(format!("there is no source '{}'", truncate(requested))))
}
