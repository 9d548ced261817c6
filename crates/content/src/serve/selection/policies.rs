//! The block rules of a repository as of now.

use std::sync::Arc;

use crate::serve::BlockedRelease;
use base::model::ids::{RepoId, SourceId};
use base::model::kind::Language;
use base::model::point::Point;
use base::model::time::Timestamp;
use formats::policy::{NameGuards, RuleIndexes};
use runtime::catalog::{Catalog, Repository};
use runtime::state::State;
use runtime::state::policies::{PolicyInputs, RepoPolicy, has_policies};

fn with_inputs<T>(
    state: &State,
    catalog: &Catalog,
    now: Timestamp,
    f: impl FnOnce(&PolicyInputs<'_>) -> T,
) -> T {
    let advisories = state.advisories.load();
    let has_automatic_guards = has_automatic_guards(state);
    f(&PolicyInputs { catalog, advisories: (*advisories).as_ref(), has_automatic_guards, now })
}

/// Returns whether uploaded names are guarded automatically.
pub(in crate::serve) fn has_automatic_guards(state: &State) -> bool {
    state.config.load().server.automatic_name_guard
}

/// Returns the rules of a repository; `None` if nothing is blocked there.
pub(in crate::serve) fn of_repo(state: &State, repo: RepoId) -> Option<Arc<RepoPolicy>> {
    let catalog = state.catalog.load();
    with_inputs(state, &catalog, (state.clock)(), |inputs| state.policies.of_repo(inputs, repo))
}

/// Returns rules and guards, in force or not, for a repository, if they hide anything. Waits for advisories.
pub(in crate::serve) async fn of_indexes(
    state: &State,
    repo: &Repository,
    indexes: &RuleIndexes,
    guards: &NameGuards,
) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    let catalog = state.catalog.load();
    with_inputs(state, &catalog, (state.clock)(), |inputs| {
        state.policies.of_indexes(inputs, repo, indexes, guards)
    })
}

/// Returns the rules without a repository, for a source; `None` if they block nothing. Waits for advisories to load.
pub(in crate::serve) async fn of_source(state: &State, source: SourceId) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    let catalog = state.catalog.load();
    let source = catalog.source_by_id(source)?;
    with_inputs(state, &catalog, (state.clock)(), |inputs| state.policies.of_source(inputs, source))
}

/// Returns indexes of the rules for a language, in which rules can be changed without an effect on those in force.
pub(in crate::serve) fn indexes(state: &State, catalog: &Catalog, language: Language) -> RuleIndexes {
    with_inputs(state, catalog, (state.clock)(), |inputs| state.policies.indexes(inputs, language))
}

/// Returns the name guards of a catalog that are in force.
pub(in crate::serve) fn guards(state: &State, catalog: &Catalog) -> NameGuards {
    catalog.guards.in_force(has_automatic_guards(state)).clone()
}

/// Returns numbers that change with the decisions; see [`runtime::state::policies::Policies::generation`].
pub fn generation(state: &State, catalog: &Catalog, now: Timestamp) -> (u64, i64) {
    if !has_policies(catalog) {
        return (0, 0);
    }
    with_inputs(state, catalog, now, |inputs| state.policies.generation(inputs))
}

/// Logs a request that a rule about vulnerabilities refuses at a frozen point, once for each release: the
/// address served it until an advisory appeared.
pub(in crate::serve) fn log_frozen(state: &State, point: &Point, blocked: &BlockedRelease) {
    let BlockedRelease { package, version, reason, .. } = blocked;
    if !point.frozen || !blocked.needs_advisories {
        return;
    }
    if state.policies.logs_frozen(point.repo, format!("{package} {version}")) {
        let catalog = state.catalog.get();
        let repository = catalog.repo_by_id(point.repo).map(|repo| repo.name.as_str()).unwrap_or_default();
        tracing::info!(repository, package, version, "dated snapshots do not serve a package: {reason}");
    }
}
