//! What the documents of a repository list.

use std::collections::BTreeMap;

use rstudio_pm::model::kind::Language;
use rstudio_pm::model::point::Point;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve;
use rstudio_pm::serve::document::{DocumentRequest, RenderedDocument};
use rstudio_pm::serve::project::document::{ProjectContent, ProjectDocument};
use rstudio_pm::serve::r::document::RDocument;

use crate::support::backend::Backend;

/// Returns the packages that a snapshot lists, with their versions.
pub(crate) async fn package_versions(
    backend: &Backend,
    repo: &str,
    snapshot: &str,
) -> BTreeMap<String, String> {
    let document = index(backend, repo, snapshot, RDocument::Packages(IndexFormat::Text)).await;
    let text = String::from_utf8(document.bytes.to_vec()).expect("text");
    let field = |record: &str, tag: &str| {
        let line = record.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default();
        line.trim_start_matches(": ").to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.is_empty());
    records.map(|record| (field(record, "Package"), field(record, "Version"))).collect()
}

/// Returns the packages of [`package_versions`] as one line: `name version, …`.
pub(crate) async fn listing(backend: &Backend, repo: &str, snapshot: &str) -> String {
    let versions = package_versions(backend, repo, snapshot).await;
    versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn point(backend: &Backend, repo: &str, snapshot: &str) -> Point {
    let snapshot: Snapshot = snapshot.parse().expect("a snapshot");
    serve::point::resolve(&backend.repositories, repo, snapshot).await.expect("a point")
}

pub(crate) async fn index(
    backend: &Backend,
    repo: &str,
    snapshot: &str,
    document: RDocument,
) -> RenderedDocument {
    let point = point(backend, repo, snapshot).await;
    serve::index::document(&backend.repositories, &DocumentRequest::new(point, document))
        .await
        .expect("a document")
}

/// Returns the names in `Meta/archive.rds`, as `package/file`, sorted.
pub(crate) async fn archive_names(backend: &Backend, repo: &str, snapshot: &str) -> Vec<String> {
    use rstudio_pm::r::rds::{RdsLimits, archive_meta::read_archive_meta};
    let document = index(backend, repo, snapshot, RDocument::ArchiveRds).await;
    let rows = read_archive_meta(document.bytes.as_ref(), RdsLimits::META).expect("a table");
    let mut names: Vec<String> =
        rows.into_iter().map(|row| format!("{}/{}", row.package, row.file)).collect();
    names.sort();
    names
}

/// Returns a document of a Python repository.
pub(crate) fn project_document(format: SimpleFormat, content: ProjectContent) -> ProjectDocument {
    ProjectDocument { language: Language::Python, format: format.page_format(), content }
}
