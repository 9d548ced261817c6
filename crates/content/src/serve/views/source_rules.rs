//! The decisions of block rules about the packages of a source: of the rules that name no repository, and so apply to the
//! source in every repository.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::serve::selection::allowed::{self, Decision, View};
use crate::serve::selection::policies;
use crate::serve::{RepoError, Repositories};
use base::model::ids::{ReleaseId, SourceId};
use base::model::point::Point;
use formats::python::version::Version;
use runtime::state::State;
use store::db::python_file::ListedFile;

/// Returns the blocked releases of an R package of a source, with the reasons. `point` is a state of the source.
pub async fn blocked_releases(
    repositories: &Repositories,
    point: &Point,
    source: SourceId,
    package: &str,
) -> Result<HashMap<ReleaseId, String>, RepoError> {
    let (views, name) = (views(&repositories.state, point, source).await, package.to_owned());
    let query = repositories.state.db.read(move |c| {
        let mut blocked = HashMap::new();
        for view in &views {
            for decided in view.decided(c, &name)? {
                if let Decision::Blocked(_, reason) = decided.decision {
                    blocked.insert(decided.release.release, reason);
                }
            }
        }
        Ok(blocked)
    });
    Ok(query.await?)
}

/// Returns the versions of a Python project of a source of which all files are blocked, with the reason for one of them.
/// `point` is a state of the source, `files` are all its files of the project.
pub async fn blocked_versions(
    repositories: &Repositories,
    point: &Point,
    source: SourceId,
    files: Vec<ListedFile>,
) -> Result<BTreeMap<Version, String>, RepoError> {
    let view = views(&repositories.state, point, source).await.into_iter().next();
    let Some(view) = view else { return Ok(BTreeMap::new()) };
    let query = repositories.state.db.read(move |c| {
        let mut files = files.clone();
        let decided = allowed::python::take_decided(c, &view, &mut files)?;
        let available: BTreeSet<Version> = files.iter().map(|file| Version::lenient(&file.version)).collect();
        let reasons = decided.blocked.into_iter().map(|file| (Version::lenient(&file.version), file.reason));
        Ok(reasons.filter(|(version, _)| !available.contains(version)).collect())
    });
    Ok(query.await?)
}

/// Returns the trees of a state of a source under these rules; empty if they block nothing there.
async fn views(state: &State, point: &Point, source: SourceId) -> Vec<View> {
    let Some(policy) = policies::of_source(state, source).await else { return Vec::new() };
    View::under(state, point, Some(&policy))
}
