//! Writes and publishes a step of a curated source of R packages, or of a snapshot of CRAN.

use std::collections::HashSet;

use super::definition::CurrentDefinition;
use crate::edit::apply;
use crate::edit::python::curated::claim_planned;
use base::model::change::{Change, LifeState};
use base::model::ids::{ReleaseId, TxId};
use content::serve::RepoError;
use content::serve::r::base::BaseRelease;
use runtime::catalog::Source;
use runtime::publish::edit::ClaimedTrees;
use runtime::state::State;
use store::db::curation::{self, Curation, RuleRow};
use store::db::import::{self, ImportTarget};
use store::db::tx::Publish;

/// Maximum number of changes that are written at once.
const CHUNK: usize = 2000;

/// The content of a step.
pub(super) struct NewStep {
    pub(super) curation: Curation,
    pub(super) rules: Vec<RuleRow>,
    /// All releases that the source lists from this step on.
    pub(super) releases: Vec<BaseRelease>,
}

/// Publishes a step. Returns `None` if it equals the current one.
pub(super) async fn commit(
    state: &State,
    source: &Source,
    current: &CurrentDefinition,
    step: NewStep,
    publish: Publish,
) -> Result<Option<TxId>, RepoError> {
    let changes = changes(current, &step.releases);
    let rules: Vec<RuleRow> =
        current.roots.iter().map(|(name, root)| (name.clone(), root.rule_text())).collect();
    let has_definition = |old: &Curation| {
        let facts = |curation: &Curation| {
            (curation.base_tree, curation.base_seq, curation.sha256, curation.include.clone())
        };
        facts(old) == facts(&step.curation) && old.snapshot == step.curation.snapshot
    };
    if changes.is_empty() && rules == step.rules && current.curation.as_ref().is_some_and(has_definition) {
        return Ok(None);
    }
    let publish = Publish { source: Some(source.id), ..publish };
    let (tree, seq, origin, name) = (current.tree, current.seq, source.id, source.name.to_string());
    let NewStep { curation, rules, .. } = step;
    apply(state, move |c| {
        let mut trees = ClaimedTrees::default();
        let pending = claim_planned(c, &mut trees, tree, seq, &name)?;
        curation::insert(c, tree, pending, &curation, &rules)?;
        let target = ImportTarget { tree, pending, origin };
        for chunk in changes.chunks(CHUNK) {
            import::apply(c, &target, chunk)?;
        }
        Ok(trees.publish(c, &publish)?)
    })
    .await
}

/// Returns the changes that end and begin lives. Packages that the definition no longer selects are not archived.
fn changes(current: &CurrentDefinition, releases: &[BaseRelease]) -> Vec<Change> {
    let selected: HashSet<(ReleaseId, i64)> =
        releases.iter().map(|release| (release.release, release.variant)).collect();
    let present: HashSet<(ReleaseId, i64)> =
        current.lives.iter().map(|(key, variant)| (key.release, *variant)).collect();
    let ended = current.lives.iter().filter(|(key, variant)| !selected.contains(&(key.release, *variant)));
    let begun = releases.iter().filter(|release| !present.contains(&(release.release, release.variant)));
    let begin = |release: &BaseRelease| Change::BeginLife {
        state: LifeState::Listed,
        package: release.package,
        release: release.release,
        variant: release.variant,
        path: String::new(),
    };
    ended.map(|(key, _)| Change::EndLife(key.clone())).chain(begun.map(begin)).collect()
}
