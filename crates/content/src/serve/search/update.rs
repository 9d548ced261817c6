//! Reads the texts of packages in the background: after a start those of all sources, then those that changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::contents::{self, ListedPackage};
use crate::serve::{Repositories, error};
use base::model::ids::{PackageId, Seq, SourceId, TreeId};
use base::model::kind::Language;
use base::model::point::PointTree;
use runtime::catalog::Catalog;
use store::db::DbError;
use store::search::{SearchError, Texts, Version};
use store::storage::StorageError;

/// Number of packages that one transaction writes: searches wait for it.
const CHUNK: usize = 100;
/// Interval after which the details of packages that lack them are looked up again, and a failure is repeated.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);
/// Time after a change until the texts are updated: many publishes that follow each other are one update.
const DELAY: Duration = Duration::from_millis(500);
/// Number of intervals between two such look-ups if this server has read no details: another server may have.
const INTERVALS_OF_OTHERS: u64 = 30;

/// The state of a source whose texts were read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SourceState {
    trees: Vec<(TreeId, Seq)>,
    /// Whether details of some packages were not known yet.
    lacks_details: bool,
}

/// What was read, by source, and the counters at that time.
#[derive(Default)]
struct Progress {
    sources: HashMap<SourceId, SourceState>,
    detail_updates: u64,
    /// Number of intervals since details were looked up again.
    intervals: u64,
    losses: u64,
}

#[derive(Debug, thiserror::Error)]
enum UpdateError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The server stops.
    #[error(transparent)]
    Stopped(#[from] StorageError),
}

/// Updates the texts after each change of a source, until the future is dropped.
pub async fn follow(repositories: &Repositories) {
    let mut changes = repositories.state.catalog.changes();
    let mut progress = Progress::default();
    loop {
        changes.borrow_and_update();
        if let Err(error) = update(repositories, &mut progress).await {
            tracing::warn!(%error, "could not read the texts of packages for searches; it is tried again");
            tokio::time::sleep(CHECK_INTERVAL).await;
            continue;
        }
        repositories.search.is_complete.store(true, Ordering::Relaxed);
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(DELAY).await;
            }
            () = tokio::time::sleep(CHECK_INTERVAL) => progress.intervals += 1,
        }
    }
}

async fn update(repositories: &Repositories, progress: &mut Progress) -> Result<(), UpdateError> {
    let catalog = repositories.state.catalog.get();
    let detail_updates = repositories.state.detail_updates.load(Ordering::Acquire);
    let losses = repositories.search.texts.losses();
    if losses != progress.losses {
        *progress = Progress { losses, ..Progress::default() };
        repositories.search.is_complete.store(false, Ordering::Relaxed);
    }
    let looks_up_details =
        detail_updates != progress.detail_updates || progress.intervals >= INTERVALS_OF_OTHERS;
    let sources: Vec<(SourceId, Language)> = catalog
        .sources
        .iter()
        .filter(|source| source.kind.origin().is_none() && !source.kind.is_project_index())
        .map(|source| (source.id, source.kind.language()))
        .collect();
    for (source, language) in &sources {
        let trees = newest_trees(&catalog, *source);
        let states: Vec<(TreeId, Seq)> = trees.iter().map(|tree| (tree.tree, tree.seq)).collect();
        let is_current = progress
            .sources
            .get(source)
            .is_some_and(|state| state.trees == states && !(state.lacks_details && looks_up_details));
        if !is_current {
            let lacks_details = update_source(repositories, *source, *language, trees).await?;
            progress.sources.insert(*source, SourceState { trees: states, lacks_details });
        }
    }
    remove_deleted(repositories, progress, &sources).await?;
    progress.detail_updates = detail_updates;
    if looks_up_details {
        progress.intervals = 0;
    }
    Ok(())
}

/// Removes the texts of sources that are not present any more.
async fn remove_deleted(
    repositories: &Repositories,
    progress: &mut Progress,
    present: &[(SourceId, Language)],
) -> Result<(), UpdateError> {
    let present: HashSet<SourceId> = present.iter().map(|(source, _)| *source).collect();
    let deleted = progress.sources.keys().filter(|source| !present.contains(source)).copied();
    for source in deleted.collect::<Vec<SourceId>>() {
        write(repositories, source, HashMap::new()).await?;
        progress.sources.remove(&source);
    }
    Ok(())
}

/// Returns the newest published states of the lists of a source; those of the newest version of Bioconductor first.
fn newest_trees(catalog: &Catalog, source: SourceId) -> Vec<PointTree> {
    let mut trees: Vec<_> = catalog.source_package_trees(source).collect();
    trees.sort_by_key(|tree| std::cmp::Reverse(tree.part().map(|part| part.version)));
    let newest = |tree: &&runtime::catalog::Tree| Some(Catalog::point_tree(source, tree, tree.newest()?));
    trees.iter().filter_map(newest).collect()
}

/// Updates the texts of a source; returns whether details of some of its packages are not known yet.
async fn update_source(
    repositories: &Repositories,
    source: SourceId,
    language: Language,
    trees: Vec<PointTree>,
) -> Result<bool, UpdateError> {
    let listed = repositories.state.db.read(move |c| contents::listed(c, &trees, language)).await?;
    let lacks_details = listed.values().any(|listed| !listed.version.is_complete);
    write(repositories, source, listed).await?;
    Ok(lacks_details)
}

/// Makes the texts of a source those of the listed packages, a chunk at a time.
async fn write(
    repositories: &Repositories,
    source: SourceId,
    mut listed: HashMap<PackageId, ListedPackage>,
) -> Result<(), UpdateError> {
    let texts = Arc::clone(&repositories.search.texts);
    let known = blocking(move || texts.versions(source)).await?;
    let removed: Vec<PackageId> =
        known.keys().filter(|package| !listed.contains_key(package)).copied().collect();
    for chunk in removed.chunks(CHUNK) {
        write_chunk(repositories, source, chunk.to_vec(), Vec::new()).await?;
    }
    listed.retain(|package, listed| known.get(package) != Some(&listed.version));
    drop(known);
    let changed: Vec<ListedPackage> = listed.into_values().collect();
    for chunk in changed.chunks(CHUNK) {
        let chunk = chunk.to_vec();
        let replaced = repositories.state.db.read(move |c| contents::read(c, &chunk)).await?;
        write_chunk(repositories, source, Vec::new(), replaced).await?;
    }
    Ok(())
}

async fn write_chunk(
    repositories: &Repositories,
    source: SourceId,
    removed: Vec<PackageId>,
    replaced: Vec<(PackageId, Version, Texts)>,
) -> Result<(), UpdateError> {
    let texts = Arc::clone(&repositories.search.texts);
    blocking(move || texts.update(source, &removed, &replaced)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, UpdateError> {
    Ok(error::run_blocking(work).await??)
}
