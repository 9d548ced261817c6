//! The entries of states that repositories had: on a day that is over, and after a promotion.

use std::collections::HashMap;

use super::{History, entry};
use base::model::ids::TxId;
use base::model::point::{Point, PointTree};
use base::model::snapshot::Snapshot;
use base::model::time::{Day, SECOND};
use content::serve::{RepoError, point, proofs};
use formats::r::bioconductor::{Component, Part};
use formats::tlog::record_proof::records_of;
use formats::tlog::tree::Root;
use runtime::catalog::resolve::Unresolved;
use runtime::catalog::{Catalog, Repository};
use store::db::tlog::NewEntry;

/// An entry that is written later than this after what it states is marked.
pub(super) const LATE: i64 = 3_600 * SECOND;

/// Roots of states, by their trees: those of the last day that was logged. Repositories with the same trees have the same
/// state, and that of a list that has ended is the same each day.
pub(super) type Roots = HashMap<Vec<PointTree>, Root>;

/// Returns an entry for the state of each repository, and of each part of Bioconductor in it, on a day that is over.
pub(super) async fn of_day(
    history: &History,
    catalog: &Catalog,
    day: Day,
    tx: TxId,
) -> Result<Vec<NewEntry>, RepoError> {
    let of_day = catalog.transactions.iter().rev().find(|(id, at)| *id <= tx && *at < day.end());
    let newest = of_day.map_or(TxId(0), |(id, _)| *id);
    let mut entries = Vec::new();
    let yesterday = std::mem::take(&mut *history.roots.lock());
    let is_late = (history.state.clock)().0.saturating_sub(day.end().0) > LATE;
    for repo in catalog.repos.iter() {
        for part in parts(catalog, repo) {
            let view = view(history, catalog, repo, part, Snapshot::Date(day), newest, &yesterday).await?;
            entries.extend(view.map(|view| if is_late { late(view) } else { view }));
        }
    }
    Ok(entries)
}

/// Marks the entry of a state as written long after its day.
pub(super) fn late(view: NewEntry) -> NewEntry {
    NewEntry { text: view.text + "late yes\n", ..view }
}

/// Returns the entries for the state of a repository, and of each part of Bioconductor in it, in a snapshot. `newest` is the
/// newest transaction in it.
pub(super) async fn of_snapshot(
    history: &History,
    catalog: &Catalog,
    repo: &Repository,
    snapshot: Snapshot,
    newest: TxId,
) -> Result<Vec<NewEntry>, RepoError> {
    let mut entries = Vec::new();
    for part in parts(catalog, repo) {
        entries.extend(view(history, catalog, repo, part, snapshot, newest, &Roots::new()).await?);
    }
    Ok(entries)
}

/// Returns the parts of a repository with an index each.
fn parts(catalog: &Catalog, repo: &Repository) -> Vec<Option<Part>> {
    if !repo.kind.has_parts() {
        return vec![None];
    }
    let versions = catalog.bioconductor_versions().into_iter();
    let of_version = versions.flat_map(|version| {
        let components = Component::ALL.into_iter().filter(move |component| component.is_in(version));
        components.map(move |component| Some(Part::single(version, component)))
    });
    of_version.collect()
}

/// Returns the entry of a state; `None` if the repository has none, and for one whose files an index lists.
async fn view(
    history: &History,
    catalog: &Catalog,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
    newest: TxId,
    yesterday: &Roots,
) -> Result<Option<NewEntry>, RepoError> {
    let name = repo.name.to_string();
    let Some(point) = point_of(history, &name, part, snapshot).await? else { return Ok(None) };
    let trees = point.trees.clone();
    let known = history.roots.lock().get(&trees).or_else(|| yesterday.get(&trees)).copied();
    let root = match known {
        Some(root) => root,
        None => Root::of(records_of(&proofs::records(&history.repositories, point).await?)),
    };
    history.roots.lock().insert(trees, root);
    let document = proofs::document(repo.kind.language(), part);
    let lines = vec![
        ("repository", name.clone()),
        ("id", repo.id.0.to_string()),
        ("snapshot", snapshot.to_string()),
        ("document", document.clone()),
        ("records", root.count.to_string()),
        ("root", hex::encode(root.hash)),
        ("rules", history.rules.of_repository(catalog, history.has_automatic_guards(), repo)),
        ("transaction", newest.0.to_string()),
    ];
    entry("view", lines, None).map(Some)
}

/// Returns the point of a state; `None` if the repository has none, and for one whose files an index lists.
pub(super) async fn point_of(
    history: &History,
    repo: &str,
    part: Option<Part>,
    snapshot: Snapshot,
) -> Result<Option<Point>, RepoError> {
    let point = match point::resolve_part(&history.repositories, repo, part, snapshot).await {
        Ok(point) => point,
        // It is new, or was deleted meanwhile.
        Err(
            RepoError::NotFound(_)
            | RepoError::Unresolved(
                Unresolved::Empty | Unresolved::BeforeHistory { .. } | Unresolved::NoPart(_),
            ),
        ) => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_of_index = point.trees.iter().any(|tree| tree.listing().source.is_project_index());
    Ok((!is_of_index).then_some(point))
}
