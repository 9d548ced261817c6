//! Details of Python packages in the public API: the files of all versions, in the form of PyPI's JSON API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::vulnerabilities::wire;
use crate::api::public::package::{Downloads, Package};
use crate::catalog::Catalog;
use crate::db::python_file::ListedFile;
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::target::Query;
use crate::model::point::Point;
use crate::model::repository::RepoKind;
use crate::python::facts::FileFacts;
use crate::python::file_name::{FileKind, FileName};
use crate::python::layout::{FileId, link as page_link};
use crate::python::wheel_name::WheelName;
use crate::serve;
use crate::serve::python::detail;

/// One project: the version that installers prefer, or that of the parameter `version`.
pub(super) async fn package(
    app: &App,
    catalog: &Catalog,
    point: &Point,
    name: &str,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Package, Failure> {
    let version = query.get("version").filter(|version| !version.is_empty());
    let detail = detail::project(&app.repositories, point, name, version).await?;
    let project = detail.project.as_str();
    let count = app.usage.totals(&[(detail.source, project)]).await.first().copied().unwrap_or(0);
    let vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let of_version: Vec<&ListedFile> =
        detail.files.iter().filter(|file| file.version == detail.version).collect();
    let facts: Vec<FileFacts> = of_version.iter().map(|file| FileFacts::read(&file.facts)).collect();
    let summary = facts.iter().find_map(|facts| facts.summary.clone());
    let mut releases: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let repo = catalog.repo_by_id(point.repo).map(|repo| repo.name.to_string()).unwrap_or_default();
    let base = format!("{}/{repo}/latest", base_url::base_url(&app.site.load(), head));
    for file in &detail.files {
        releases.entry(&file.version).or_default().push(release_file(file, &base));
    }
    let yanked = of_version.first().and_then(|file| file.yanked.as_deref());
    Ok(Package {
        source: catalog.source_by_id(detail.source).map(|source| source.name.to_string()).unwrap_or_default(),
        source_id: detail.source.0,
        repo_id: point.repo.0,
        repo_type: RepoKind::Python.label().to_owned(),
        repository: "RSPM".to_owned(),
        name: project.to_owned(),
        version: detail.version.clone(),
        title: summary.clone(),
        date_publication: facts.iter().filter_map(FileFacts::upload_time).min().map(|at| at.to_string()),
        downloads: Downloads { count },
        vulns: vulnerabilities.of(detail.source, project, &detail.version).iter().map(wire).collect(),
        releases: Some(json!(releases)),
        info: Some(json!({
            "name": project,
            "version": detail.version,
            "summary": summary,
            "requires_python": facts.iter().find_map(|facts| facts.requires_python.clone()),
            "yanked": yanked.is_some(),
            "yanked_reason": yanked.filter(|reason| !reason.is_empty()),
        })),
        ..Package::default()
    })
}

/// A file, with the keys of PyPI's JSON API; `base` is the URL of the repository's snapshot.
fn release_file(file: &ListedFile, base: &str) -> Value {
    let facts = FileFacts::read(&file.facts);
    let name = FileName::parse(&file.name).ok();
    let is_wheel = name.as_ref().is_some_and(|name| name.kind() == FileKind::Wheel);
    let python = if is_wheel { wheel_python(&file.name) } else { "source".to_owned() };
    json!({
        "filename": file.name,
        "packagetype": name.as_ref().map(|name| name.kind().package_type()),
        "python_version": python,
        "size": file.size,
        "digests": { "sha256": file.sha256.to_string() },
        "upload_time_iso_8601": facts.upload_time().map(|at| at.to_string()),
        "requires_python": facts.requires_python,
        "yanked": file.yanked.is_some(),
        "yanked_reason": file.yanked.as_deref().filter(|reason| !reason.is_empty()),
        "url": name.as_ref().map(|name| page_link(FileId::Sha256(file.sha256), name).replacen("../..", base, 1)),
    })
}

/// The interpreters of a wheel, as its file name says: `py3`, `py2.py3`.
fn wheel_python(name: &str) -> String {
    let tags = WheelName::parse(name).map(|_| name.trim_end_matches(".whl").rsplit('-').nth(2));
    tags.ok().flatten().unwrap_or_default().to_owned()
}
