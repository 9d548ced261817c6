//! The versions that rules withhold in a state of a repository, and what a change of rules or advisories changes.

use std::sync::Arc;

use super::allowed::blocked::{withheld, withheld_versions};
use super::allowed::{RuleDecision, View};
use super::policies;
use crate::serve::RepoError;
use base::model::kind::{Language, Layout};
use base::model::snapshot::Snapshot;
use formats::policy::{RuleIndexes, encode_withheld};
use runtime::catalog::resolve::{self, Selection};
use runtime::catalog::{Repository, RuleChanges};
use runtime::state::State;
use runtime::state::policies::RepoPolicy;
use store::db::{Conn, DbError};

const MAX_REASONS: usize = 50;

/// Returns the current rules of a language, with changes that are not made yet, for [`current`].
pub fn indexes(state: &State, language: Language, changes: &RuleChanges) -> RuleIndexes {
    let mut indexes = policies::indexes(state, &state.catalog.get(), language);
    indexes.update(&changes.removed, &changes.added);
    indexes
}

/// Returns these rules for the subscriptions of a repository, perhaps unpublished; `None` if they hide nothing.
pub async fn current(state: &State, repo: &Repository, indexes: &RuleIndexes) -> Option<Arc<RepoPolicy>> {
    let guards = policies::guards(state, &state.catalog.get());
    policies::of_indexes(state, repo, indexes, &guards).await
}

/// Returns the versions that rules and advisories withhold in a promoted state, as [`store::db::repo::withheld`] does.
/// Files of an index, known only for requested projects, are not among them.
pub async fn of_selection(
    state: &State,
    policy: Option<&Arc<RepoPolicy>>,
    repo: &Repository,
    selection: &Selection,
) -> Result<Vec<u8>, RepoError> {
    if policy.is_none() {
        return Ok(Vec::new());
    }
    let point = resolve::selected_point(&state.catalog.get(), repo, selection, None);
    let views = View::under(state, &point, policy);
    let query = state.db.read(move |c| {
        let mut items = Vec::new();
        for view in &views {
            items.extend(withheld(view, c)?);
        }
        Ok(encode_withheld(items))
    });
    Ok(query.await?)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithheldChange {
    pub package: String,
    pub version: String,
    /// The rule that withholds it now, with the facts; empty beyond [`MAX_REASONS`] versions, `None` if none does.
    pub reason: Option<String>,
}

/// Returns the rules of a repository that are in force; `None` if nothing is withheld there.
pub async fn in_force(state: &State, repo: &Repository) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    policies::of_repo(state, repo.id)
}

/// Returns the versions of the newest state of a repository that only one of two sets of rules withholds, by
/// package. Both are applied at the same instant.
pub async fn changes(
    state: &State,
    repo: &Repository,
    before: Option<&Arc<RepoPolicy>>,
    after: Option<&Arc<RepoPolicy>>,
) -> Result<Vec<WithheldChange>, RepoError> {
    let catalog = state.catalog.get();
    let Ok(selection) = resolve::selection(&catalog, repo, Snapshot::Latest, (state.clock)()) else {
        return Ok(Vec::new());
    };
    let point = resolve::selected_point(&catalog, repo, &selection, None);
    let views = |policy: Option<&Arc<RepoPolicy>>| View::under(state, &point, policy);
    let (before, after) = (views(before), views(after));
    let layout = repo.kind.layout();
    let query = state.db.read(move |c| {
        let mut changes = Vec::new();
        for (before, after) in before.iter().zip(&after) {
            changes.extend(changes_of_tree(c, before, after, layout)?);
        }
        Ok(changes)
    });
    let mut changes = query.await?;
    changes.sort_by(|a, b| (&a.package, &a.version).cmp(&(&b.package, &b.version)));
    Ok(changes)
}

fn changes_of_tree(
    c: &mut dyn Conn,
    before: &View,
    after: &View,
    layout: Layout,
) -> Result<Vec<WithheldChange>, DbError> {
    let (old, new) = (withheld_versions(before, c)?, withheld_versions(after, c)?);
    let mut changes = Vec::new();
    for (key, reason) in &new {
        if old.contains_key(key) {
            continue;
        }
        let (package, version) = key.clone();
        let reason = match layout {
            Layout::Lists if changes.len() < MAX_REASONS => reason_of(c, after, key)?,
            Layout::Lists | Layout::Projects => reason.clone(),
        };
        changes.push(WithheldChange { package, version, reason: Some(reason) });
    }
    let ended = old.into_keys().filter(|key| !new.contains_key(key));
    changes.extend(ended.map(|(package, version)| WithheldChange { package, version, reason: None }));
    Ok(changes)
}

fn reason_of(
    c: &mut dyn Conn,
    view: &View,
    (package, version): &(String, String),
) -> Result<String, DbError> {
    let decided = view.decided(c, package)?;
    let reason = decided.into_iter().find_map(|decided| match decided.decision {
        RuleDecision::Blocked(_, reason) if decided.release.version == *version => Some(reason),
        _ => None,
    });
    Ok(reason.unwrap_or_default())
}
