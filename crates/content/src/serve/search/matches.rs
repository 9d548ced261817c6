//! Finds the packages whose texts have the words of a search.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::serve::{Repositories, error};
use base::model::ids::{PackageId, SourceId};
use base::model::point::{Point, PointTree};
use store::search::{Expression, Match, SearchError};

/// Maximum number of packages that the texts of a source propose.
const MAX_MATCHES: usize = 1_000;

/// The packages whose texts match, whether or not a point lists them: no count or name of these may be shown.
#[derive(Clone, Debug, Default)]
pub struct TextMatches {
    /// The position of each in the order of relevance, by the source of its releases.
    positions: HashMap<(SourceId, PackageId), usize>,
    is_complete: bool,
}

impl TextMatches {
    /// Returns whether the texts of all sources were searched: after a start, they are still being read.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Creates matches in the order of relevance.
    pub(in crate::serve) fn of(packages: &[(SourceId, PackageId)]) -> TextMatches {
        let positions = packages.iter().enumerate().map(|(position, package)| (*package, position));
        TextMatches { positions: positions.collect(), is_complete: true }
    }

    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Returns the position of a package of a tree in the order of relevance; `None` if its texts do not match.
    pub(in crate::serve) fn position(&self, tree: &PointTree, package: PackageId) -> Option<usize> {
        self.positions.get(&(tree.origin(), package)).copied()
    }
}

/// Returns the matches of a text in the sources of some points. Without words or texts there are none: names are found
/// without texts, so a failure is only logged.
pub async fn find(repositories: &Repositories, points: &[&Point], text: &str) -> Arc<TextMatches> {
    let search = &repositories.search;
    let is_complete = search.is_complete();
    let none = || Arc::new(TextMatches { positions: HashMap::new(), is_complete });
    let Some(expression) = Expression::of(text) else { return none() };
    let trees = points.iter().flat_map(|point| &point.trees);
    let sources: BTreeSet<SourceId> = trees.map(PointTree::origin).collect();
    let texts = Arc::clone(&search.texts);
    let turn = search.turn.lock().await;
    let found = error::run_blocking(move || {
        let mut all = Vec::new();
        for source in sources {
            let found = texts.find(source, &expression, MAX_MATCHES)?;
            all.extend(found.into_iter().map(|found| (source, found)));
        }
        Ok::<Vec<(SourceId, Match)>, SearchError>(all)
    });
    let found = found.await;
    drop(turn);
    match found {
        Ok(Ok(mut found)) => {
            found.sort_by(|(_, a), (_, b)| a.rank.total_cmp(&b.rank));
            let packages: Vec<_> = found.into_iter().map(|(source, found)| (source, found.package)).collect();
            Arc::new(TextMatches { is_complete, ..TextMatches::of(&packages) })
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not search the texts of packages; they are read again");
            none()
        }
        Err(error) => {
            tracing::debug!(%error, "the search of the texts of packages was interrupted");
            none()
        }
    }
}
