//! The days on which a repository listed the versions of an R package.

use super::{RepoError, Repositories, python};
use crate::catalog::Tree;
use crate::db;
use crate::model::ids::{Seq, SourceId};
use crate::model::point::Point;
use crate::model::time::Timestamp;

/// A time during which a source listed a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version.
    pub version: String,
    /// The source.
    pub source: SourceId,
    /// When it was listed first.
    pub from: Timestamp,
    /// When it was no longer listed; `None` if the point lists it.
    pub until: Option<Timestamp>,
}

/// Returns the listed versions of a package up to a point, in each of its sources, the newest first. Empty for an
/// unknown package.
///
/// # Errors
/// Database errors; [`RepoError::Invalid`] for a point of a Python repository.
pub async fn of_package(
    repositories: &Repositories,
    point: &Point,
    package: &str,
) -> Result<Vec<ListedVersion>, RepoError> {
    python::require_r(&repositories.state, point)?;
    let catalog = repositories.state.catalog.get();
    let (trees, name) = (point.trees.clone(), package.to_owned());
    let spans = repositories.state.db.read(move |c| {
        let mut spans = Vec::new();
        for tree in &trees {
            let of_tree = db::life::listed_spans(c, tree.tree, tree.seq, &name)?;
            spans.extend(of_tree.into_iter().map(|span| (*tree, span)));
        }
        Ok(spans)
    });
    let spans = spans.await?;
    let listed = spans.into_iter().filter_map(|(at, span)| {
        let tree = catalog.tree(at.tree)?;
        Some(ListedVersion {
            version: span.version,
            source: at.source,
            from: instant(tree, span.from)?,
            until: if span.to <= at.seq { instant(tree, span.to) } else { None },
        })
    });
    let mut listed: Vec<ListedVersion> = listed.collect();
    listed.sort_by_key(|version| std::cmp::Reverse(version.from));
    Ok(listed)
}

/// When a step was published; that of the next one if it is not in memory.
fn instant(tree: &Tree, seq: Seq) -> Option<Timestamp> {
    tree.steps.get(tree.steps.partition_point(|step| step.seq < seq)).map(|step| step.at)
}
