//! Resolves a repository's name and a snapshot to a point; closes past days when needed.
//!
//! Each tree of a point has a number of the block rules of the repository, on which all caches keyed by trees, and the
//! keys of documents, depend. A change of a rule leaves the numbers of repositories outside its scope unchanged.

use std::time::Duration;

use super::allowed;
use crate::serve::{RepoError, Repositories, find};
use base::model::ids::RepoId;
use base::model::kind::Layout;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::language;
use formats::r::bioconductor::{BioconductorVersion, Part};
use runtime::catalog::resolve::{self, Unresolved};
use runtime::catalog::{Catalog, Repository, Subscription};
use runtime::state::State;
use store::db;

/// Resolves a snapshot of a repository to its current point. Runs no SQL, except for the first request for a
/// past day: closing the day is a write, after which no server with a slow clock can publish into it.
pub async fn resolve(
    repositories: &Repositories,
    repo: &str,
    snapshot: Snapshot,
) -> Result<Point, RepoError> {
    resolve_part(repositories, repo, None, snapshot).await
}

/// Like [`resolve`], for a part of a Bioconductor repository: the release version of Bioconductor if `part`
/// is `None`. Fails for a part of a repository of another type.
pub async fn resolve_part(
    repositories: &Repositories,
    repo: &str,
    part: Option<Part>,
    snapshot: Snapshot,
) -> Result<Point, RepoError> {
    let now = (repositories.state.clock)();
    let catalog = repositories.state.catalog.get();
    let point = resolve_in(&catalog, repo, part, snapshot, now)?;
    let point = match unclosed_end(&catalog, find::repo(&catalog, repo)?, &point, snapshot, now) {
        None => point,
        Some(end) => {
            close_day(repositories, end).await;
            resolve_in(&repositories.state.catalog.get(), repo, part, snapshot, now)?
        }
    };
    Ok(allowed::with_rules(&repositories.state, point, snapshot).await)
}

/// Returns the newest state of a source as a point of no repository; without trees if nothing was published.
/// For the source of Bioconductor, the state of `version`, else the release version.
pub fn of_source(
    state: &State,
    source: &str,
    version: Option<BioconductorVersion>,
) -> Result<Point, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, source)?;
    let part = match source.kind.has_parts() {
        true => version.or_else(|| catalog.default_bioconductor_version()).map(Part::whole),
        false => None,
    };
    if let Some(part) = part.filter(|part| !catalog.bioconductor_versions().contains(&part.version)) {
        return Err(Unresolved::NoPart(part).into());
    }
    let trees = catalog.subscribed_trees(Subscription::to(source.id), part);
    let heads = trees.filter_map(|tree| {
        let seq = tree.newest()?;
        let point_tree = Catalog::point_tree(source.id, tree, seq);
        Some((point_tree, tree.steps.last().map(|step| step.at)))
    });
    let heads: Vec<_> = heads.collect();
    Ok(Point {
        repo: RepoId(0),
        language: source.kind.language(),
        open: true,
        frozen: false,
        promotion: None,
        modified: heads.iter().filter_map(|(_, at)| *at).max(),
        trees: heads.iter().map(|(tree, _)| *tree).collect(),
    })
}

/// Returns an error for operations that only packages of lists support. Without trees, there are no packages.
pub(in crate::serve) fn require_lists(point: &Point) -> Result<(), RepoError> {
    match point.language.layout() {
        Layout::Projects if !point.trees.is_empty() => {
            let nouns = language::of(point.language).nouns();
            Err(RepoError::Invalid(format!(
                "only R packages have this information; the files of {} and their metadata are on its page, \
                 /{{repository}}/{{snapshot}}/{}/{{project}}/",
                nouns.a_package, nouns.directory
            )))
        }
        Layout::Projects | Layout::Lists => Ok(()),
    }
}

/// Closes all past days. Called by the scheduled job at 00:00:05 UTC.
pub async fn close_past_days(repositories: &Repositories) {
    close_day(repositories, (repositories.state.clock)().day().start()).await;
}

/// Closes all days before `end`; concurrent callers wait. After an error days stay open: correct, but slower; also while
/// the clock is too far ahead for a publish, because it may be wrong.
pub(in crate::serve) async fn close_day(repositories: &Repositories, end: Timestamp) {
    let mut last_failure = repositories.day_closing.lock().await;
    let now = (repositories.state.clock)();
    let is_too_soon = last_failure.is_some_and(|at| now.since(at) < RETRY_INTERVAL);
    let catalog = repositories.state.catalog.get();
    if is_too_soon || catalog.is_closed(end) || catalog.skew(now).is_some() {
        return;
    }
    let result = repositories.state.db.write(move |c| db::clock::close_day(c, end)).await;
    let result = match result {
        Ok(_) => repositories.state.catalog.refresh(&repositories.state.db).await,
        Err(error) => Err(error),
    };
    *last_failure = result.is_err().then_some(now);
    if let Err(error) = result {
        tracing::warn!(%error, "could not close the days before {end}; their snapshots stay open");
    }
}

const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Returns the instant up to which days must be closed before the point is final, if that time has passed.
fn unclosed_end(
    catalog: &Catalog,
    repo: &Repository,
    point: &Point,
    snapshot: Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    if !point.open {
        return None;
    }
    let end_of_snapshot = match snapshot {
        // The days of a fixed URL were closed when it was created.
        Snapshot::Latest | Snapshot::Alias(_) => return None,
        Snapshot::Date(day) => day.end(),
        Snapshot::Transaction(id) => catalog.instant(id)?,
    };
    // A point before the first subscription also needs the end of that day.
    let first_subscription = repo.steps.iter().find(|step| !step.list.is_empty())?.at;
    let end =
        if first_subscription < end_of_snapshot { end_of_snapshot } else { first_subscription.day().end() };
    (end <= now && !catalog.is_closed(end)).then_some(end)
}

fn resolve_in(
    catalog: &Catalog,
    requested_name: &str,
    part: Option<Part>,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Point, RepoError> {
    let repo = find::repo(catalog, requested_name)?;
    let part = match (repo.kind.has_parts(), part) {
        (true, None) => catalog.default_bioconductor_version().map(Part::whole),
        (false, Some(_)) => {
            return Err(RepoError::NotFound(format!(
                "the repository '{}' is of type {}; packages/{{version}}/ is in those of type Bioconductor",
                // SECURITY: the text repeats the request: a number must not disclose the name of a hidden repository.
                requested_name.chars().take(80).collect::<String>(),
                repo.kind.label()
            )));
        }
        (true, Some(_)) | (false, None) => part,
    };
    Ok(resolve::resolve(catalog, repo, part, snapshot, now)?)
}
