//! The entries of states that repositories had: on a day that is over, and after a promotion.

use super::{History, entry};
use base::model::ids::TxId;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve::{RepoError, point, proofs};
use formats::r::bioconductor::{Component, Part};
use formats::tlog::record_proof::records_of;
use formats::tlog::tree::Root;
use runtime::catalog::resolve::Unresolved;
use runtime::catalog::{Catalog, Repository};
use store::db::tlog::NewEntry;

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
    for repo in catalog.repos.iter() {
        entries.extend(of_snapshot(history, catalog, repo, Snapshot::Date(day), newest).await?);
    }
    Ok(entries)
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
    let parts: Vec<Option<Part>> = match repo.kind.has_parts() {
        false => vec![None],
        true => {
            let versions = catalog.bioconductor_versions().into_iter();
            let of_version = versions.flat_map(|version| {
                let components = Component::ALL.into_iter().filter(move |component| component.is_in(version));
                components.map(move |component| Some(Part::single(version, component)))
            });
            of_version.collect()
        }
    };
    let mut entries = Vec::new();
    for part in parts {
        entries.extend(view(history, catalog, repo, part, snapshot, newest).await?);
    }
    Ok(entries)
}

/// Returns the entry of a state; `None` if the repository has none, and for one whose files an index lists.
async fn view(
    history: &History,
    catalog: &Catalog,
    repo: &Repository,
    part: Option<Part>,
    snapshot: Snapshot,
    newest: TxId,
) -> Result<Option<NewEntry>, RepoError> {
    let name = repo.name.to_string();
    let Some(point) = point_of(history, &name, part, snapshot).await? else { return Ok(None) };
    let state = proofs::records(&history.repositories, point).await?;
    let root = Root::of(records_of(&state));
    let document = proofs::document(repo.kind.language(), part);
    let lines = vec![
        ("repository", name.clone()),
        ("snapshot", snapshot.to_string()),
        ("document", document.clone()),
        ("records", root.count.to_string()),
        ("root", hex::encode(root.hash)),
        ("rules", history.rules.of_repository(catalog, repo)),
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
