//! Projects in the public API: rows of lists and searches, and details in the form of PyPI's JSON API.

use serde_json::json;

use super::PublicCall;
use super::lookup::ReadableDownloads;
use super::vulnerabilities::wire;
use crate::http::error::Failure;
use crate::http::repo::python::project::{self, Base};
use api::public::package::{Downloads, KeyValue, Package, Release};
use base::model::kind::RepoKind;
use base::model::point::Point;
use base::model::project_page::FileDescription;
use content::serve;
use content::serve::block_rules;
use content::serve::metadata::ServedVersion;
use content::serve::project::detail::{self, ProjectRelease};
use content::serve::python::metadata;
use formats::language;

/// Completes a row of a list: `name` is the folded name of the project, and the description that of the listed version.
pub(super) fn row(name: String, version: String, description: FileDescription, package: Package) -> Package {
    let name = description.display_name.unwrap_or(name);
    let summary = description.summary;
    Package {
        title: summary.clone(),
        info: Some(json!({ "name": name, "summary": summary })),
        name,
        version,
        ..package
    }
}

/// Returns one project of a repository of a kind: the version that installers prefer, or another one.
pub(super) async fn package(
    call: &PublicCall<'_>,
    kind: RepoKind,
    base: &Base,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<Package, Failure> {
    let (app, catalog) = (call.app, &call.catalog);
    let detail = detail::project(&app.repositories, point, name, version).await?;
    let metadata = metadata::of_release(&app.repositories, point, &detail.release).await;
    let described = metadata.as_ref().map(|metadata| metadata.describe()).unwrap_or_default();
    let project = detail.project.as_str();
    let count =
        ReadableDownloads::new(call).totals(&[(detail.source, project)]).await.first().copied().unwrap_or(0);
    let vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let release = &detail.release;
    let info = project::info(&detail, metadata.as_deref(), base);
    let text = |key: &str| info[key].as_str().map(str::to_owned);
    let size = release.files.first().map_or(0, |file| file.size.max(0));
    let sha256 = release.files.first().map(|file| file.sha256.to_string());
    let served =
        ServedVersion { source: detail.source, name: project.to_owned(), version: release.version.clone() };
    let custom = serve::metadata::of_one(&app.repositories, kind.language(), point.repo, served).await?;
    Ok(Package {
        metadata: Some(KeyValue::list(custom)),
        source: call.head.principal.source_name(catalog, detail.source),
        source_id: detail.source.0,
        repo_id: point.repo.0,
        repo_type: kind.label().to_owned(),
        repository: "RSPM".to_owned(),
        name: detail.display_name.clone(),
        version: release.version.clone(),
        checksum: sha256.unwrap_or_default(),
        package_size: size,
        title: text("summary"),
        description: described.readme,
        author: described.author,
        maintainer: described.maintainer,
        license: described.license,
        license_expression: described.licenses.expression().map(str::to_owned),
        license_types: described.licenses.types().to_vec(),
        url: text("home_page"),
        date_publication: release.uploaded_at().map(|at| at.to_string()),
        downloads: Downloads { count },
        vulns: vulnerabilities.of(detail.source, project, &release.version).iter().map(wire).collect(),
        releases: Some(project::releases(&detail.releases, base)),
        info: Some(info),
        ..Package::default()
    })
}

/// Returns all versions of a project of a source, the highest first. Size and digest are those of the first file.
pub(super) async fn releases(
    call: &PublicCall<'_>,
    point: &Point,
    name: &str,
) -> Result<Vec<Release>, Failure> {
    let repositories = &call.app.repositories;
    let detail = detail::project(repositories, point, name, None).await?;
    let files = detail.releases.iter().flat_map(|release| release.files.iter().cloned()).collect();
    let blocked = block_rules::blocked_versions(repositories, point, detail.source, files).await?;
    let rules = language::of(point.language);
    let reason = |release: &ProjectRelease| blocked.get(&rules.version(&release.version)).cloned();
    let wire = |release: &ProjectRelease| Release {
        source_id: detail.source.0,
        name: detail.display_name.clone(),
        version: release.version.clone(),
        is_archived: false,
        date_publication: release.uploaded_at().map(|at| at.to_string()),
        package_size: release.files.first().map_or(0, |file| file.size.max(0)),
        checksum: release.files.first().map(|file| file.sha256.to_string()).unwrap_or_default(),
        blocked: reason(release).is_some(),
        blocking_rule: reason(release),
    };
    Ok(detail.releases.iter().map(wire).collect())
}
