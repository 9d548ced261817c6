//! Lists the packages of a point: filtered, sorted, paged. Names and sort keys are in memory; a page reads details.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quick_cache::Weighter;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::owned_names::{OwnedName, page};
use super::package_query::PackageQuery;
use crate::serve::project::names::{PreferredVersion, PreferredVersions, ProjectFile, ProjectNames};
use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, error, project};
use base::model::ids::{PackageId, ReleaseId, SourceId, TreeId};
use base::model::kind::{Language, Layout};
use base::model::point::{Point, PointTree};
use base::model::project_page::FileDescription;
use base::model::time::Timestamp;
use store::db::{self, Conn, DbError};
use store::storage::memory_cache;

#[derive(Clone, Debug, Default)]
pub struct PackagePage {
    /// Number of packages that match the query, on all pages.
    pub total: usize,
    pub packages: Vec<PackageRow>,
}

#[derive(Clone, Debug)]
pub struct PackageRow {
    /// The name; of a project the folded one.
    pub name: String,
    pub version: String,
    pub source: SourceId,
    pub tree: TreeId,
    /// Publication time of that version, if known.
    pub published_at: Option<Timestamp>,
    /// Its DESCRIPTION if known, else its index record; in DCF. Empty for a project.
    pub description: Vec<u8>,
    /// The description of the listed version of a project; `None` for a package of a list.
    pub project: Option<FileDescription>,
}

impl PackageRow {
    /// Returns the name as the owner writes it, if it is known.
    pub fn display_name(&self) -> &str {
        self.project.as_ref().and_then(|project| project.display_name.as_deref()).unwrap_or(&self.name)
    }
}

/// The names listed at a point, each from the first tree that lists it, sorted by lower-case name.
pub(in crate::serve) enum Names {
    /// Of lists.
    Packages(Vec<OwnedName>),
    /// Of indexes with one page per project.
    Projects(ProjectNames),
}

/// The trees of the most recently used points, with each index at the last change of its list of projects.
pub(in crate::serve) type ListChangeCache = quick_cache::sync::Cache<Vec<PointTree>, Vec<PointTree>>;

/// Maximum number of points in the [`ListChangeCache`].
pub(in crate::serve) const LIST_CHANGE_CACHE_ENTRIES: usize = 512;

/// The numbers of packages of the most recently used points.
pub(in crate::serve) type CountCache = quick_cache::sync::Cache<Vec<PointTree>, usize>;

/// Maximum number of points in the [`CountCache`]: the home page shows the count of each repository.
pub(in crate::serve) const COUNT_CACHE_ENTRIES: usize = 512;

/// Returns a page of the packages listed at a point.
pub async fn packages(
    repositories: &Repositories,
    point: &Point,
    query: PackageQuery,
) -> Result<PackagePage, RepoError> {
    let names = cached_names(repositories, point).await?;
    let views = View::of(&repositories.state, point);
    if let Names::Packages(names) = &*names {
        let (total, page_names) = page(names, &point.trees, &query);
        let packages = repositories.state.db.read(move |c| rows(c, &views, &page_names)).await?;
        return Ok(PackagePage { total, packages });
    }
    let preferred = Arc::clone(&repositories.views.preferred_versions);
    let (language, trees) = (point.language, point.trees.clone());
    // The threads of the database limit the number of searches at a time, and a search may take milliseconds.
    let search = repositories.state.db.read(move |c| {
        let Names::Projects(names) = &*names else { return Ok(PackagePage::default()) };
        let (total, positions) = project::search::page(names, &trees, language, &query);
        let project = |position: usize| {
            let listed = names.version(position);
            Some(ProjectName {
                name: names.name(position).to_owned(),
                tree: views.get(names.tree_position(position))?.tree(),
                package: listed.map(|listed| listed.package),
                published_at: listed.and_then(|listed| listed.published_at),
            })
        };
        let projects: Vec<ProjectName> = positions.into_iter().filter_map(project).collect();
        Ok(PackagePage { total, packages: project_rows(c, &preferred, &views, language, &projects)? })
    });
    Ok(search.await?)
}

pub async fn package_count(repositories: &Repositories, point: &Point) -> Result<usize, RepoError> {
    if let Some(count) = repositories.views.package_counts.get(&point.trees) {
        return Ok(count);
    }
    let count = match single_tree_count(repositories, point).await? {
        Some(count) => count,
        None => match &*cached_names(repositories, point).await? {
            Names::Packages(names) => names.len(),
            Names::Projects(names) => names.len(),
        },
    };
    repositories.views.package_counts.insert(point.trees.clone(), count);
    Ok(count)
}

/// Returns the number of R packages of a point with one tree, reading no names; `None` if rules or guards hide some.
async fn single_tree_count(repositories: &Repositories, point: &Point) -> Result<Option<usize>, RepoError> {
    if point.language.layout() == Layout::Projects || point.trees.len() != 1 {
        return Ok(None);
    }
    let views = View::of(&repositories.state, point);
    let query = repositories.state.db.read(move |c| match views.as_slice() {
        [view] => view.name_count(c),
        _ => Ok(None),
    });
    Ok(query.await?)
}

/// Returns the listed names of a point that `is_requested` accepts, each with the tree that owns it.
pub(in crate::serve) async fn owned_names(
    repositories: &Repositories,
    point: &Point,
    is_requested: impl Fn(&str, SourceId) -> bool,
) -> Result<Vec<(String, PointTree)>, RepoError> {
    Ok(match &*cached_names(repositories, point).await? {
        Names::Packages(names) => {
            let owned = |entry: &OwnedName| {
                let tree = point.trees.get(entry.tree as usize)?;
                is_requested(&entry.name, tree.source).then(|| (entry.name.to_string(), *tree))
            };
            names.iter().filter_map(owned).collect()
        }
        Names::Projects(names) => {
            let owned = |position| {
                let tree = point.trees.get(names.tree_position(position))?;
                let name = names.name(position);
                is_requested(name, tree.source).then(|| (name.to_owned(), *tree))
            };
            (0..names.len()).filter_map(owned).collect()
        }
    })
}

/// Maximum difference of the lengths of a name and one that may be meant, in characters.
const MAX_LENGTH_DIFFERENCE: usize = 2;

/// Returns the names of listed projects that `choose` selects from those near a normalized name: same first
/// character, about its length. Of an index only while its million names are in memory: reading them takes seconds.
pub async fn names_near(
    repositories: &Repositories,
    point: &Point,
    name: String,
    choose: impl FnOnce(&mut dyn Iterator<Item = &str>) -> Vec<String> + Send + 'static,
) -> Result<Vec<String>, RepoError> {
    let names = if point.trees.iter().any(project::owner::is_whole_index) {
        let trees = repositories.views.list_changes.get(&point.trees);
        trees.and_then(|trees| repositories.views.name_lists.get(&trees))
    } else {
        Some(cached_names(repositories, point).await?)
    };
    let Some(names) = names else { return Ok(Vec::new()) };
    let chosen = error::run_blocking(move || match &*names {
        Names::Packages(_) => Vec::new(),
        Names::Projects(names) => choose(&mut names.near(&name, MAX_LENGTH_DIFFERENCE)),
    });
    Ok(chosen.await?)
}

#[derive(Clone, Debug)]
pub struct ListedVersion {
    pub name: String,
    pub version: String,
    pub source: SourceId,
    /// The release; `None` for a project.
    pub release: Option<ReleaseId>,
    /// Publication time of the version, if known.
    pub published_at: Option<Timestamp>,
    /// The files of all listed versions of a project; only in a [`ListedState`].
    pub(in crate::serve) files: Vec<ProjectFile>,
}

/// Returns the listed versions of a point, by lower-case name, except of projects of an index.
pub async fn listed_versions(
    repositories: &Repositories,
    point: &Point,
) -> Result<Vec<ListedVersion>, RepoError> {
    Ok(cached_names(repositories, point).await?.versions(&point.trees))
}

/// Returns the names that a query finds, on all pages.
pub async fn found_names(
    repositories: &Repositories,
    point: &Point,
    query: PackageQuery,
) -> Result<HashSet<String>, RepoError> {
    let query = PackageQuery { limit: usize::MAX, offset: 0, omits_total: false, ..query };
    Ok(match &*cached_names(repositories, point).await? {
        Names::Packages(names) => {
            let (_, found) = page(names, &point.trees, &query);
            found.into_iter().map(|entry| entry.name.into()).collect()
        }
        Names::Projects(names) => {
            let (_, found) = project::search::page(names, &point.trees, point.language, &query);
            found.into_iter().map(|position| names.name(position).to_owned()).collect()
        }
    })
}

/// The listed packages of trees, with the files of projects.
pub(in crate::serve) struct ListedState {
    names: Names,
    trees: Vec<PointTree>,
}

/// Reads the listed packages of trees under rules that need not be in force. The result is not cached.
pub(in crate::serve) async fn listed_state(
    repositories: &Repositories,
    views: Vec<View>,
    language: Language,
) -> Result<ListedState, RepoError> {
    let trees: Vec<PointTree> = views.iter().map(View::tree).collect();
    Ok(ListedState { names: read_names(repositories, views, language, true).await?, trees })
}

impl ListedState {
    pub(in crate::serve) fn versions(&self) -> Vec<ListedVersion> {
        self.names.versions(&self.trees)
    }

    /// Returns the source that owns a project of an index, which has no listed version.
    pub(in crate::serve) fn index_owner(&self, name: &str) -> Option<SourceId> {
        let Names::Projects(names) = &self.names else { return None };
        let position = names.position_of(name).filter(|position| names.version(*position).is_none())?;
        self.trees.get(names.tree_position(position)).map(|tree| tree.source)
    }
}

impl Names {
    pub(in crate::serve) fn memory(&self) -> usize {
        match self {
            Names::Packages(names) => names.iter().map(OwnedName::memory).sum(),
            Names::Projects(names) => names.memory(),
        }
    }

    /// Returns the listed versions; `trees` are those of the point.
    fn versions(&self, trees: &[PointTree]) -> Vec<ListedVersion> {
        match self {
            Names::Packages(names) => {
                let listed = |name: &OwnedName| {
                    Some(ListedVersion {
                        name: name.name.to_string(),
                        version: name.version.to_string(),
                        source: trees.get(name.tree as usize)?.source,
                        release: Some(name.release),
                        published_at: name.published_at,
                        files: Vec::new(),
                    })
                };
                names.iter().filter_map(listed).collect()
            }
            Names::Projects(names) => {
                let listed = |(position, version): (usize, &project::names::ProjectListing)| {
                    Some(ListedVersion {
                        name: names.name(position).to_owned(),
                        version: version.version.clone(),
                        source: trees.get(names.tree_position(position))?.source,
                        release: None,
                        published_at: version.published_at,
                        files: version.files.clone(),
                    })
                };
                names.versions().filter_map(listed).collect()
            }
        }
    }
}

async fn cached_names(repositories: &Repositories, point: &Point) -> Result<Arc<Names>, RepoError> {
    let point = list_point(repositories, point).await?;
    let read = async {
        let names = read_names(repositories, View::of(&repositories.state, &point), point.language, false);
        Ok::<_, RepoError>(Arc::new(names.await?))
    };
    repositories.views.name_lists.get_or_insert_async(&point.trees, read).await
}

/// Returns the point with each index at the last change of its list, so that all days between have one list.
async fn list_point(repositories: &Repositories, point: &Point) -> Result<Point, RepoError> {
    if !point.trees.iter().any(project::owner::is_whole_index) {
        return Ok(point.clone());
    }
    let find = async {
        let _turn = repositories.views.index_names_queue.wait().await?;
        let trees = point.trees.clone();
        let query = repositories.state.db.read(move |c| project::owner::at_list_changes(c, &trees));
        Ok::<_, RepoError>(query.await?)
    };
    let trees = repositories.views.list_changes.get_or_insert_async(&point.trees, find).await?;
    Ok(Point { trees, ..point.clone() })
}

async fn read_names(
    repositories: &Repositories,
    views: Vec<View>,
    language: Language,
    with_files: bool,
) -> Result<Names, RepoError> {
    let _turn = if views.iter().any(|view| project::owner::is_whole_index(&view.tree())) {
        Some(repositories.views.index_names_queue.wait().await?)
    } else {
        None
    };
    let names = repositories.state.db.read(move |c| match (language.layout(), with_files) {
        (Layout::Lists, _) => names(c, &views).map(Names::Packages),
        (Layout::Projects, false) => project::names::names(c, &views, language).map(Names::Projects),
        (Layout::Projects, true) => {
            project::names::names_with_files(c, &views, language).map(Names::Projects)
        }
    });
    Ok(names.await?)
}

struct ProjectName {
    name: String,
    tree: PointTree,
    /// `None` for a project of an index, which may have no row.
    package: Option<PackageId>,
    published_at: Option<Timestamp>,
}

fn names(c: &mut dyn Conn, trees: &[View]) -> Result<Vec<OwnedName>, DbError> {
    let mut names_so_far: HashSet<String> = HashSet::new();
    let mut entries = Vec::new();
    for (position, tree) in (0..).zip(trees) {
        let names = tree.names(c)?;
        let new_names =
            names.into_iter().filter(|name| trees.len() == 1 || names_so_far.insert(name.name.clone()));
        entries.extend(new_names.map(|name| OwnedName::new(name, position)));
        names_so_far.extend(tree.hidden_names(c)?);
    }
    entries.sort_by(|a, b| (&a.normalized_name, &a.name).cmp(&(&b.normalized_name, &b.name)));
    entries.shrink_to_fit();
    Ok(entries)
}

fn rows(c: &mut dyn Conn, trees: &[View], names: &[OwnedName]) -> Result<Vec<PackageRow>, DbError> {
    let mut texts: HashMap<(u32, PackageId), Vec<u8>> = HashMap::with_capacity(names.len());
    for (position, tree) in (0..).zip(trees) {
        let packages = names.iter().filter(|entry| entry.tree == position).map(|entry| entry.package);
        let packages: Vec<PackageId> = packages.collect();
        if packages.is_empty() {
            continue;
        }
        let records = tree.listed_of(c, &packages)?;
        let releases: Vec<_> = records.iter().map(|record| record.release).collect();
        for (record, detail) in records.into_iter().zip(db::detail::descriptions(c, &releases)?) {
            // If there are records with and without a path, the one without comes first.
            texts.entry((position, record.package)).or_insert_with(|| detail.unwrap_or(record.stanza));
        }
    }
    let row = |listed: &OwnedName| {
        let tree = trees.get(listed.tree as usize)?.tree();
        Some(PackageRow {
            description: texts.remove(&(listed.tree, listed.package)).unwrap_or_default(),
            project: None,
            name: listed.name.to_string(),
            version: listed.version.to_string(),
            source: tree.source,
            tree: tree.tree,
            published_at: listed.published_at,
        })
    };
    Ok(names.iter().filter_map(row).collect())
}

fn project_rows(
    c: &mut dyn Conn,
    cache: &PreferredVersions,
    trees: &[View],
    language: Language,
    names: &[ProjectName],
) -> Result<Vec<PackageRow>, DbError> {
    let mut preferred: HashMap<(TreeId, &str), Arc<PreferredVersion>> = HashMap::with_capacity(names.len());
    let mut display_names: HashMap<(TreeId, &str), String> = HashMap::new();
    for tree in trees {
        let (mut of_tree, mut packages) = (Vec::new(), Vec::new());
        for project in names.iter().filter(|project| project.tree == tree.tree()) {
            let package = match project.package {
                Some(package) => Some(package),
                None => db::package::by_name(c, tree.source, &project.name)?,
            };
            if let Some(package) = package {
                of_tree.push((tree.tree, project.name.as_str()));
                packages.push(package);
            }
        }
        if project::owner::is_index(&tree.tree()) {
            let projects = names.iter().filter(|project| project.tree == tree.tree());
            let projects: Vec<&str> = projects.map(|project| project.name.as_str()).collect();
            let listing = tree.listing();
            let found = db::project::display_names(c, listing.source, &projects, listing.seq)?;
            let found = projects.into_iter().zip(found);
            display_names.extend(found.filter_map(|(project, name)| Some(((tree.tree, project), name?))));
        }
        let versions = project::names::preferred_versions(c, cache, tree, language, &packages)?;
        preferred.extend(of_tree.into_iter().zip(versions));
    }
    let mut rows = Vec::with_capacity(names.len());
    for project in names {
        let key = (project.tree.tree, project.name.as_str());
        let listed = preferred.remove(&key).unwrap_or_default();
        let mut description = listed.description.clone();
        // The pages of an index do not state the name.
        description.display_name = description.display_name.or_else(|| display_names.remove(&key));
        rows.push(PackageRow {
            name: project.name.clone(),
            version: listed.version.clone(),
            source: project.tree.source,
            tree: project.tree.tree,
            published_at: project.published_at.or(description.uploaded_at),
            description: Vec::new(),
            project: Some(description),
        });
    }
    Ok(rows)
}

/// Maximum memory of the lists in the cache, in bytes.
const MAX_BYTES: u64 = 96 << 20;
const ESTIMATED_ENTRIES: usize = 64;
/// Memory of an entry besides its names, in bytes.
const ENTRY_OVERHEAD: usize = 256;

/// The names of the most recently used points. Limited in bytes: all of CRAN takes several megabytes, PyPI
/// twenty, most local sources little.
pub(in crate::serve) type NameLists = quick_cache::sync::Cache<Vec<PointTree>, Arc<Names>, NamesWeighter>;

#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct NamesWeighter;

impl Weighter<Vec<PointTree>, Arc<Names>> for NamesWeighter {
    fn weight(&self, trees: &Vec<PointTree>, names: &Arc<Names>) -> u64 {
        (ENTRY_OVERHEAD + size_of_val(trees.as_slice()) + names.memory()) as u64
    }
}

pub(in crate::serve) fn new_name_lists() -> NameLists {
    name_lists_with_capacity(MAX_BYTES)
}

fn name_lists_with_capacity(bytes: u64) -> NameLists {
    // One shard: a list of PyPI must not exceed its capacity.
    memory_cache::with_shards(1, bytes, ESTIMATED_ENTRIES, NamesWeighter)
}

/// The queue of reads of the list of an index, one at a time: the names of PyPI take a second and a hundred
/// megabytes. Clients choose the days, so the length is limited.
pub(in crate::serve) struct IndexNamesQueue {
    turn: Mutex<()>,
    places: Semaphore,
}

/// Maximum number of reads that wait for their turn.
const QUEUE_PLACES: usize = 16;
/// `Retry-After` when the queue is full, in seconds.
const QUEUE_RETRY_AFTER: u64 = 10;

impl Default for IndexNamesQueue {
    fn default() -> IndexNamesQueue {
        IndexNamesQueue { turn: Mutex::default(), places: Semaphore::new(QUEUE_PLACES) }
    }
}

impl IndexNamesQueue {
    /// Waits until no other read is running; [`RepoError::Busy`] if too many wait.
    pub(in crate::serve) async fn wait(&self) -> Result<MutexGuard<'_, ()>, RepoError> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| RepoError::Busy { retry_after: QUEUE_RETRY_AFTER })?;
        Ok(self.turn.lock().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{Seq, SourceId, TreeId};
    use futures_util::FutureExt;

    #[test]
    fn small_lists_stay_beside_each_other_and_their_bytes_are_limited() {
        let cache = name_lists_with_capacity(100 * ENTRY_OVERHEAD as u64);
        let point = |tree| {
            vec![PointTree { source: SourceId(1), tree: TreeId(tree), seq: Seq(1), base: None, rules: None }]
        };
        let weight = NamesWeighter.weight(&point(1), &Arc::new(Names::Packages(Vec::new())));
        let insert = |tree| cache.insert(point(tree), Arc::new(Names::Packages(Vec::new())));
        (0..30).for_each(insert);
        assert!((0..30).all(|tree| cache.get(&point(tree)).is_some()));
        (30..1000).for_each(insert);
        assert!(cache.weight() <= 100 * ENTRY_OVERHEAD as u64 && cache.len() as u64 >= 50, "{}", cache.len());
        assert!(weight > ENTRY_OVERHEAD as u64, "{weight}");
    }

    #[tokio::test]
    async fn too_many_waiting_reads_of_names_are_refused() {
        let queue = IndexNamesQueue::default();
        let turn = queue.wait().await.expect("nothing is running");
        let mut waiting: Vec<_> = (0..QUEUE_PLACES).map(|_| Box::pin(queue.wait())).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        assert!(matches!(queue.wait().await, Err(RepoError::Busy { retry_after: QUEUE_RETRY_AFTER })));
        drop((turn, waiting));
        drop(queue.wait().await.expect("nothing is running any more"));
    }
}
