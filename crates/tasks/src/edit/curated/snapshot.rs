//! Sets the state of CRAN that a source serves or selects from: of a snapshot of CRAN, or of a curated source that
//! has no definition yet.

use super::{RUpdate, definition, open_notice};
use crate::edit::curation::{NewDefinition, PlannedStep};
use crate::edit::{Actor, publish};
use ::base::model::change::Counts;
use ::base::model::kind::{Layout, SourceKind, Supply};
use ::base::model::snapshot::Snapshot;
use content::serve::r::base::{self, BaseState};
use content::serve::{RepoError, Repositories, find};
use formats::r::closure::Kinds;
use formats::r::curated::include_text;
use runtime::catalog::resolve::today;
use runtime::state::State;
use store::db::tx::{Publish, TxKind};

/// Checks that a snapshot names a state of CRAN, before a source is created with it.
pub async fn check(repositories: &Repositories, snapshot: Snapshot) -> Result<(), RepoError> {
    base::base_state(repositories, snapshot).await.map(drop)
}

/// A new state of CRAN for a source.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotChange<'a> {
    pub source: &'a str,
    pub snapshot: Snapshot,
    /// The kinds of dependencies that a curated source includes.
    pub include: Option<Kinds>,
}

/// Plans a new state of CRAN from which a source selects, and publishes it as a step if `commit` is true. A curated
/// source must not have a definition yet: with one, `rspm update` selects at another state.
///
/// # Errors
/// [`RepoError::Invalid`] for another kind of source; the errors of [`base::base_state`].
pub async fn set(
    repositories: &Repositories,
    state: &State,
    change: SnapshotChange<'_>,
    commit: bool,
    comment: &str,
    actor: &Actor,
) -> Result<RUpdate, RepoError> {
    let SnapshotChange { source: name, snapshot, include } = change;
    let source = find::source(&state.catalog.get(), name)?.clone();
    let kind = source.kind;
    let current = definition::current(state, source).await?;
    let include = match (kind.layout(), kind.supply()) {
        (Layout::Lists, Supply::Snapshot) => None,
        (Layout::Lists, Supply::Curated) if current.roots.is_empty() => {
            Some(include_text(include.unwrap_or(Kinds::STRONG)))
        }
        (Layout::Lists, Supply::Curated) => {
            return Err(RepoError::Invalid(format!(
                "the source '{name}' has a definition: plan its packages at another snapshot with: rspm update \
                 --source={name} --snapshot={snapshot}"
            )));
        }
        (Layout::Projects, _) | (Layout::Lists, Supply::Mirror | Supply::Uploads | Supply::Builds) => {
            let kinds = SourceKind::phrase("and", SourceKind::selects_from_lists);
            return Err(RepoError::Invalid(format!(
                "the source '{name}' is of type {kind}; only sources of type {kinds} have a snapshot"
            )));
        }
    };
    let base: BaseState = base::base_state(repositories, snapshot).await?;
    let label = match snapshot {
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => snapshot.to_string(),
        Snapshot::Latest => base.at.day().to_string(),
    };
    let new = NewDefinition::new((), Vec::new());
    let mut update = RUpdate {
        rows: Vec::new(),
        problems: Vec::new(),
        notices: Vec::new(),
        snapshot: label.clone(),
        base_at: base.at,
        sha256: new.sha256,
        transaction: None,
    };
    if !commit {
        let is_today = label == today(&state.catalog.get(), (state.clock)()).to_string();
        if base.is_open && is_today {
            update.notices.push(open_notice(state, &base, &label));
        }
        return Ok(update);
    }
    let step = PlannedStep {
        current: &current.step,
        curation: new.at(base.base, label.clone(), include).0,
        rules: Vec::new(),
        changes: current.changes(&[]),
        counts: Counts::default(),
    };
    let publish = Publish {
        comment: comment.to_owned(),
        subject: format!("snapshot {label}"),
        ..publish(TxKind::Add, (state.clock)(), actor)
    };
    update.transaction = step.commit(state, publish).await?;
    Ok(update)
}
