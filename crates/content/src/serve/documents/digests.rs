//! Digests of a sample of the generated documents: equal for two databases that serve clients the same content.

use super::document::Document;
use crate::serve::project;
use crate::serve::project::document::{ProjectContent, ProjectDocument};
use crate::serve::r::document::RDocument;
use crate::serve::r::render;
use crate::serve::selection::allowed::View;
use base::model::digest::Sha256;
use base::model::ids::RepoId;
use base::model::kind::Layout;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::language;
use formats::r::layout::IndexFormat;
use runtime::catalog::{self, Catalog, Repository};
use store::db::{Conn, DbError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentDigest {
    /// Repository, snapshot and document, for messages.
    pub name: String,
    /// SHA-256 of the decoded content.
    pub content: Sha256,
}

/// Renders at most `count` documents of repositories, of now and of transactions spread over the history;
/// without repositories, of the sources.
pub fn sample(c: &mut dyn Conn, count: usize) -> Result<Vec<DocumentDigest>, DbError> {
    let catalog = catalog::read(c)?;
    let points = points(&catalog, count);
    let layout = |point: &Point| point.language.layout();
    let point_of_lists = points.iter().find(|(_, point)| layout(point) == Layout::Lists);
    let tables = point_of_lists.into_iter().flat_map(|point| {
        [RDocument::ArchiveRds, RDocument::CurrentRds].map(|document| (point, Document::Lists(document)))
    });
    let documents = tables.chain(points.iter().map(|point| {
        let language = point.1.language;
        let document = match language::of(language).projects() {
            None => Document::Lists(RDocument::Packages(IndexFormat::Text)),
            Some(projects) => Document::Projects(ProjectDocument {
                language,
                format: projects.main_format(),
                content: ProjectContent::List,
            }),
        };
        (point, document)
    }));
    documents
        .take(count)
        .map(|((label, point), document)| {
            let (name, encoded) = match &document {
                Document::Lists(document) => {
                    // A backup compares stored rows: no block rules apply.
                    let views: Vec<View> = point.trees.iter().copied().map(View::without_rules).collect();
                    let rows = render::rows(c, &views, document)?;
                    (document.name().to_owned(), render::encode(document, &rows))
                }
                Document::Projects(document) => {
                    let views: Vec<View> = point.trees.iter().copied().map(View::without_rules).collect();
                    let rows = project::render::rows(c, &catalog, &views, document)?;
                    (document.name(), project::render::encode(document, rows))
                }
            };
            let content = encoded.map_err(DbError::refuse)?.content;
            Ok(DocumentDigest { name: format!("{label} {name}"), content })
        })
        .collect()
}

/// Returns up to `count` points with different trees, each with a label.
fn points(catalog: &Catalog, count: usize) -> Vec<(String, Point)> {
    let transactions = &catalog.transactions;
    let step = transactions.len().div_ceil(count.max(1)).max(1);
    let past_snapshots = transactions.iter().rev().step_by(step).map(|(id, _)| Snapshot::Transaction(*id));
    let mut points: Vec<(String, Point)> = Vec::new();
    for snapshot in std::iter::once(Snapshot::Latest).chain(past_snapshots) {
        for repo in catalog.repos.iter() {
            let Some(point) = resolve(catalog, repo, snapshot) else { continue };
            if points.len() < count && points.iter().all(|(_, other)| other.trees != point.trees) {
                points.push((format!("{}/{}", repo.name, label(snapshot)), point));
            }
        }
    }
    if points.is_empty() {
        points.extend(catalog.trees.iter().take(count).filter_map(|tree| {
            let seq = tree.steps.last()?.seq;
            let trees = vec![Catalog::point_tree(tree.source, tree, seq)];
            let language = catalog.source_language(tree.source);
            Some((format!("tree {}", tree.label), Point::of_trees(RepoId(0), language, trees)))
        }));
    }
    points
}

fn resolve(catalog: &Catalog, repo: &Repository, snapshot: Snapshot) -> Option<Point> {
    let part = catalog.default_part(repo.kind);
    let now = catalog.clock_at.unwrap_or(Timestamp(0));
    catalog::resolve::resolve(catalog, repo, part, snapshot, now).ok().filter(|point| !point.trees.is_empty())
}

fn label(snapshot: Snapshot) -> String {
    match snapshot {
        Snapshot::Transaction(id) => id.to_string(),
        Snapshot::Latest | Snapshot::Date(_) | Snapshot::Alias(_) => snapshot.to_string(),
    }
}
