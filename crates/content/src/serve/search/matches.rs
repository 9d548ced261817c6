//! Finds the packages whose texts have the words of a search.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::serve::{Repositories, error};
use base::model::ids::{PackageId, SourceId};
use base::model::point::{Point, PointTree};
use store::search::{Expression, Match, SearchError};

/// Maximum length of a search text, in characters.
const MAX_SEARCH: usize = 100;
/// Maximum number of packages that the texts of a source propose.
const MAX_MATCHES: usize = 1_000;

/// The packages whose texts match, whether or not a point lists them: no count or name of these may be shown.
#[derive(Clone, Debug, Default)]
pub struct TextMatches {
    /// The tier of each, by the source of its releases: the lower, the more relevant.
    tiers: HashMap<(SourceId, PackageId), usize>,
    is_complete: bool,
}

impl TextMatches {
    /// Returns whether the texts of all sources were searched: after a start, they are still being read.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Returns the tier of a package of a tree, the lower the more relevant; `None` if its texts do not match.
    pub(in crate::serve) fn tier(&self, tree: &PointTree, package: PackageId) -> Option<usize> {
        self.tiers.get(&(tree.origin(), package)).copied()
    }
}

/// The matches of these packages, each with its tier.
impl FromIterator<(SourceId, Match)> for TextMatches {
    fn from_iter<I: IntoIterator<Item = (SourceId, Match)>>(found: I) -> TextMatches {
        let tiers = found.into_iter().map(|(source, found)| ((source, found.package), found.tier));
        TextMatches { tiers: tiers.collect(), is_complete: true }
    }
}

/// Returns the part of a text that is searched for; empty without one.
pub fn searched(text: Option<&str>) -> String {
    text.unwrap_or_default().trim().chars().take(MAX_SEARCH).collect()
}

/// Returns the matches of a text in the sources of some points. Without words or texts there are none: names are found
/// without texts, so a failure is only logged.
pub async fn find(repositories: &Repositories, points: &[&Point], text: &str) -> Arc<TextMatches> {
    let search = &repositories.search;
    let is_complete = search.is_complete();
    let none = || Arc::new(TextMatches { tiers: HashMap::new(), is_complete });
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
        Ok(Ok(found)) => Arc::new(TextMatches { is_complete, ..found.into_iter().collect() }),
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
