//! Packages in the form of the public API: converts index records and DESCRIPTIONs to rows.

use super::lookup::{
    ReadableDownloads, bioconductor_version, positions, repository, requested_point, source,
};
use super::vulnerabilities::{self, wire};
use super::{Answer, PublicCall, project_packages};
use crate::http::api::platforms::wire_binary;
use crate::http::error::Failure;
use crate::http::repo::python::project::Base;
use api::binary::Binary;
use api::public::package::{
    ArchivedRelease, Downloads, KeyValue, Link, ListBinaries, ListPackages, ListReleases, Package,
    Release as WireRelease, ShowPackage,
};
use api::query::Order;
use base::model::ids::{SourceId, TreeId};
use base::model::kind::{Layout, RepoKind};
use base::model::license::Licenses;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve;
use content::serve::block_rules;
use content::serve::dependency_graph::DependencyGraph;
use content::serve::info::Release;
use content::serve::metadata::{self, ServedVersion};
use content::serve::name_guards::HiddenNames;
use content::serve::package_query::{PackageQuery, SortBy, UnknownSort};
use content::serve::search::matches;
use content::serve::vulnerabilities::Vulnerabilities;
use formats::r::dependency::{DependencyKind, Operator};
use formats::r::description::Description;
use formats::r::license::licenses;
use runtime::catalog::{self, Tree};

pub(super) async fn of_repo(call: PublicCall<'_>, repo: &str, query: ListPackages) -> Answer<Vec<Package>> {
    let point = requested_point(&call, repo, query.bioc_version.as_deref(), query.snapshot).await?;
    list(&call, &point, query, None).await
}

pub(super) async fn of_source(call: PublicCall<'_>, name: &str, query: ListPackages) -> Answer<Vec<Package>> {
    let (source, point) = source_point(&call, name, query.bioc_version.as_deref())?;
    let hidden = HiddenNames::of(&call.app.state, source.kind.language(), source.id);
    list(&call, &point, query, Some(hidden)).await
}

pub(super) async fn show(
    call: PublicCall<'_>,
    repo: &str,
    name: &str,
    query: ShowPackage,
) -> Answer<Package> {
    let point = requested_point(&call, repo, query.bioc_version.as_deref(), query.snapshot).await?;
    let version = query.version.as_deref().filter(|version| !version.is_empty());
    let repository = repository(&call.catalog, repo)?;
    match repository.kind.layout() {
        Layout::Projects => {
            let snapshot = query.snapshot.unwrap_or(Snapshot::Latest);
            let address = format!("{}/{snapshot}", repository.response_name(repo).0);
            let base = Base { server: call.base(), repository: address };
            project_packages::package(&call, repository.kind, &base, &point, name, version).await
        }
        Layout::Lists => detail(&call, repository.kind, &point, name, version).await,
    }
}

pub(super) async fn binaries(
    call: PublicCall<'_>,
    repo: &str,
    name: &str,
    query: ListBinaries,
) -> Answer<Vec<Binary>> {
    let point = requested_point(&call, repo, query.bioc_version.as_deref(), query.snapshot).await?;
    let rows = serve::binary_rows::at_point(&call.app.state, &point, name).await?;
    Ok(rows.into_iter().map(wire_binary).collect())
}

pub(super) async fn releases_of_source(
    call: PublicCall<'_>,
    source: &str,
    name: &str,
    query: ListReleases,
) -> Answer<Vec<WireRelease>> {
    let (source, point) = source_point(&call, source, query.bioc_version.as_deref())?;
    let language = source.kind.language();
    let releases = match language.layout() {
        Layout::Lists => releases(&call, &point, name).await,
        Layout::Projects => project_packages::releases(&call, &point, name).await,
    };
    let hidden = HiddenNames::of(&call.app.state, language, source.id);
    hidden.require_visible(name, releases.is_ok())?;
    releases
}

/// Returns a source, and its newest point or that of a Bioconductor version in it.
fn source_point<'a>(
    call: &'a PublicCall<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<(&'a catalog::Source, Point), Failure> {
    let version = bioconductor_version(version)?;
    let source = source(&call.catalog, name)?;
    Ok((source, serve::point::of_source(&call.app.state, source.name.as_str(), version)?))
}

async fn list(
    call: &PublicCall<'_>,
    point: &Point,
    query: ListPackages,
    hidden: Option<HiddenNames>,
) -> Result<Vec<Package>, Failure> {
    let positions = positions(query.limit, query.page);
    let sort = query.sort.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose();
    let sort = sort.map_err(|error: UnknownSort| Failure::bad_request(error.to_string()))?;
    let search = Some(matches::searched(query.search.as_deref())).filter(|text| !text.is_empty());
    let texts = match &search {
        Some(text) => Some(matches::find(&call.app.repositories, &[point], text).await),
        None => None,
    };
    let default_sort = if texts.is_some() { SortBy::Relevance } else { SortBy::Name };
    let name_like = query.name_search.or(query.name_like).filter(|_| search.is_none()).unwrap_or_default();
    let package_query = PackageQuery {
        // Old clients send SQL wildcards: `%text%` for names that contain a text, `text%` for a prefix.
        name_part: search.unwrap_or_else(|| name_like.trim_matches('%').to_owned()),
        is_prefix: name_like.ends_with('%') && !name_like.starts_with('%'),
        texts,
        name: query.name,
        sort: sort.unwrap_or(default_sort),
        descending: query.order == Some(Order::Descending),
        exact_first: query.exact_first,
        limit: positions.len(),
        offset: positions.start,
        hidden,
        omits_total: true,
    };
    let listing = serve::listing::packages(&call.app.repositories, point, package_query).await?;
    let vulnerabilities = serve::vulnerabilities::current(&call.app.state).await;
    let rows = listing.packages.into_iter().map(|row| {
        let package = package(call, point, row.source, row.tree, &row.description, row.published_at);
        let vulns = vulnerabilities.of(row.source, &row.name, &row.version).iter().map(wire).collect();
        match row.project {
            Some(description) => {
                project_packages::row(row.name, row.version, description, Package { vulns, ..package })
            }
            None => Package { name: row.name, version: row.version, vulns, ..package },
        }
    });
    Ok(rows.collect())
}

/// Returns one package of R: its listed version, or another one.
async fn detail(
    call: &PublicCall<'_>,
    kind: RepoKind,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<Package, Failure> {
    let app = call.app;
    let detail = serve::info::package(&app.repositories, point, name, version).await?;
    let description = Description::from_bytes(&detail.description).ok();
    let graph = serve::dependency_graph::of_point(&app.repositories, point).await?;
    let forward_links =
        description.as_ref().map(|description| forward_links(description, &graph)).unwrap_or_default();
    let release = &detail.release;
    let count = ReadableDownloads::new(call)
        .totals(&[(detail.source, &release.package)])
        .await
        .first()
        .copied()
        .unwrap_or(0);
    let vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let summary = package(call, point, detail.source, detail.tree, &detail.description, release.published_at);
    let served = ServedVersion {
        source: detail.source,
        name: release.package.clone(),
        version: release.version.clone(),
    };
    let metadata = metadata::of_one(&app.repositories, kind.language(), point.repo, served).await?;
    Ok(Package {
        metadata: Some(KeyValue::list(metadata)),
        name: release.package.clone(),
        version: release.version.clone(),
        checksum: release.sha256.map(|digest| digest.to_string()).unwrap_or_default(),
        package_size: release.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        is_archived: release.archived,
        blocked: release.blocked.is_some(),
        blocking_rule: release.blocked.clone(),
        warning: release.warning.clone(),
        downloads: Downloads { count },
        readme: detail.readme.as_ref().map(|_| "md".to_owned()),
        readme_data: detail.readme.map(|text| String::from_utf8_lossy(&text).into_owned()),
        vulns: vulnerabilities.of(detail.source, name, &release.version).iter().map(wire).collect(),
        archived: Some(
            detail
                .others
                .iter()
                .map(|other| archived_release(detail.source, other, &vulnerabilities))
                .collect(),
        ),
        links: Some(forward_links.into_iter().chain(reverse_links(name, &graph)).collect()),
        ..summary
    })
}

/// Converts the fields of an index record or a DESCRIPTION to a row.
fn package(
    call: &PublicCall<'_>,
    point: &Point,
    source: SourceId,
    tree: TreeId,
    text: &[u8],
    published: Option<Timestamp>,
) -> Package {
    let description = Description::from_bytes(text).ok();
    let field = |tag: &str| description.as_ref().and_then(|d| d.non_empty(tag)).map(ToOwned::to_owned);
    let catalog = &call.catalog;
    let part = catalog.tree(tree).and_then(Tree::part);
    // The point of a source has no repository.
    let repo_kind = catalog.repo_by_id(point.repo).map(|repo| repo.kind).unwrap_or_default();
    // The text of a project is empty.
    let licenses = (!text.is_empty()).then(|| licenses(&field("License").unwrap_or_default()));
    Package {
        source: call.head.principal.source_name(catalog, source),
        source_id: source.0,
        repo_id: point.repo.0,
        repo_type: repo_kind.label().to_owned(),
        repository: "RSPM".to_owned(),
        title: field("Title"),
        description: field("Description"),
        package_date: field("Date"),
        date_publication: published.map(|at| at.to_string()).or_else(|| field("Date/Publication")),
        authors_r: field("Authors@R"),
        author: field("Author"),
        maintainer: field("Maintainer"),
        license: field("License"),
        license_expression: licenses.as_ref().and_then(Licenses::expression).map(str::to_owned),
        license_types: licenses.map(|licenses| licenses.types().to_vec()).unwrap_or_default(),
        url: field("URL"),
        bug_reports: field("BugReports"),
        depends: field("Depends"),
        imports: field("Imports"),
        suggests: field("Suggests"),
        linking_to: field("LinkingTo"),
        enhances: field("Enhances"),
        needs_compilation: field("NeedsCompilation"),
        system_requirements: field("SystemRequirements"),
        os_type: field("OS_type"),
        path: field("Path"),
        remote_sha: field("RemoteSha"),
        collate: field("Collate"),
        bioc_views: field("biocViews"),
        bioc_version: part.map(|part| part.version.to_string()),
        bioc_repo: part.and_then(|part| part.component).map(|component| component.path().to_owned()),
        ..Package::default()
    }
}

/// Returns the links to the dependencies of a package.
fn forward_links(description: &Description, graph: &DependencyGraph) -> Vec<Link> {
    let links = DependencyKind::ALL.into_iter().flat_map(|kind| {
        description.dependencies(kind).map(move |dependency| {
            let requirement = dependency.requirement.map(|r| (r.operator, r.version));
            let is_listed = graph.lists(dependency.name);
            Link { reverse: false, ..link(kind, dependency.name, requirement, is_listed) }
        })
    });
    links.collect()
}

/// Returns the links to the listed packages that depend on the package `name`.
fn reverse_links(name: &str, graph: &DependencyGraph) -> impl Iterator<Item = Link> {
    graph.reverse_dependencies(name).map(|dependent| {
        let link = link(dependent.kind, dependent.name, dependent.requirement, true);
        Link { reverse: true, ..link }
    })
}

fn link(kind: DependencyKind, name: &str, requirement: Option<(Operator, &str)>, is_listed: bool) -> Link {
    Link {
        package_id: 0,
        kind: i64::from(kind.code()),
        name: name.to_owned(),
        operator: requirement.map(|(operator, _)| i64::from(operator.code())),
        version: requirement.map(|(_, version)| version.to_owned()),
        linked_to: is_listed.then(|| name.to_owned()),
        reverse: false,
    }
}

fn archived_release(
    source: SourceId,
    release: &Release,
    vulnerabilities: &Vulnerabilities,
) -> ArchivedRelease {
    let description = release.description.as_deref().and_then(|text| Description::from_bytes(text).ok());
    let field = |tag: &str| description.as_ref().and_then(|d| d.non_empty(tag)).map(ToOwned::to_owned);
    ArchivedRelease {
        source_id: source.0,
        name: release.package.clone(),
        version: release.version.clone(),
        package_date: field("Date"),
        date_publication: release.published_at.map(|at| at.to_string()),
        license: field("License"),
        blocked: release.blocked.is_some(),
        blocking_rule: release.blocked.clone(),
        warning: release.warning.clone(),
        vulns: vulnerabilities
            .of(source, &release.package, &release.version)
            .iter()
            .map(vulnerabilities::wire_archived)
            .collect(),
        ..ArchivedRelease::default()
    }
}

/// Returns all releases of a package of a source: the listed one first, then the archive, newest first.
async fn releases(call: &PublicCall<'_>, point: &Point, name: &str) -> Result<Vec<WireRelease>, Failure> {
    let repositories = &call.app.repositories;
    let detail = serve::info::package(repositories, point, name, None).await?;
    let releases = std::iter::once(&detail.release).chain(&detail.others);
    let blocked = block_rules::blocked_releases(repositories, point, detail.source, name).await?;
    let wire = |release: &Release| WireRelease {
        source_id: detail.source.0,
        name: release.package.clone(),
        version: release.version.clone(),
        is_archived: release.archived,
        date_publication: release.published_at.map(|at| at.to_string()),
        package_size: release.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        checksum: release.sha256.map(|digest| digest.to_string()).unwrap_or_default(),
        blocked: blocked.contains_key(&release.id),
        blocking_rule: blocked.get(&release.id).cloned(),
    };
    Ok(releases.map(wire).collect())
}
