//! Sets the state of CRAN that a source serves or selects from: of a snapshot of CRAN, or of a curated source that
//! has no definition yet.

use super::commit::{self, NewStep};
use super::{Update, definition, open_notice};
use crate::edit::python::definition::digest;
use crate::edit::{Actor, publish};
use ::base::model::digest::Sha256;
use ::base::model::ids::SourceId;
use ::base::model::snapshot::Snapshot;
use ::base::model::source::SourceKind;
use content::serve::r::base::{self, BaseState};
use content::serve::{RepoError, Repositories, find};
use formats::r::closure::Kinds;
use formats::r::curated::include_text;
use runtime::catalog::resolve::today;
use runtime::state::State;
use store::db::curation::Curation;
use store::db::tx::{Publish, TxKind};

/// Returns true if CRAN was synced.
pub fn is_synced(state: &State) -> bool {
    state.catalog.get().source_package_trees(SourceId::CRAN).any(|tree| !tree.steps.is_empty())
}

/// Checks that a snapshot names a state of CRAN, before a source is created with it.
///
/// # Errors
/// The errors of [`base::base_state`].
pub async fn check(repositories: &Repositories, snapshot: Snapshot) -> Result<(), RepoError> {
    base::base_state(repositories, snapshot).await.map(drop)
}

/// Plans a new state of CRAN from which a source selects, and publishes it as a step if `commit` is true. A curated
/// source must not have a definition yet: with one, `rspm update` selects at another state.
///
/// # Errors
/// [`RepoError::Invalid`] for another kind of source; the errors of [`base::base_state`].
pub async fn set(
    repositories: &Repositories,
    state: &State,
    (name, snapshot, include): (&str, Snapshot, Option<Kinds>),
    (commit, comment, actor): (bool, &str, &Actor),
) -> Result<Update, RepoError> {
    let source = find::source(&state.catalog.get(), name)?.clone();
    let current = definition::current(state, &source).await?;
    let include = match source.kind {
        SourceKind::CranSnapshot => None,
        SourceKind::CuratedCran if current.roots.is_empty() => {
            Some(include_text(include.unwrap_or(Kinds::STRONG)))
        }
        SourceKind::CuratedCran => {
            return Err(RepoError::Invalid(format!(
                "the source '{name}' has a definition: plan its packages at another snapshot with: rspm update \
                 --source={name} --snapshot={snapshot}"
            )));
        }
        kind => {
            return Err(RepoError::Invalid(format!(
                "the source '{name}' is of type {kind}; only sources of type {} and {} have a snapshot",
                SourceKind::CranSnapshot,
                SourceKind::CuratedCran
            )));
        }
    };
    let base: BaseState = base::base_state(repositories, snapshot).await?;
    let label = match snapshot {
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => snapshot.to_string(),
        Snapshot::Latest => base.at.day().to_string(),
    };
    let sha256: Sha256 = digest(&[]);
    let mut update = Update {
        rows: Vec::new(),
        problems: Vec::new(),
        notices: Vec::new(),
        snapshot: label.clone(),
        base_at: base.at,
        sha256,
        transaction: None,
    };
    if !commit {
        let is_today = label == today(&state.catalog.get(), (state.clock)()).to_string();
        if base.is_open && is_today {
            update.notices.push(open_notice(state, &base, &label));
        }
        return Ok(update);
    }
    let curation = Curation {
        base_tree: base.base.tree,
        base_seq: base.base.seq,
        snapshot: label.clone(),
        sha256,
        include,
        files: Vec::new(),
        dependencies: Vec::new(),
    };
    let step = NewStep { curation, rules: Vec::new(), releases: Vec::new() };
    let publish = Publish {
        comment: comment.to_owned(),
        subject: format!("snapshot {label}"),
        ..publish(TxKind::Add, (state.clock)(), actor)
    };
    update.transaction = commit::commit(state, &source, &current, step, publish).await?;
    Ok(update)
}
