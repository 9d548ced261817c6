//! The block rules of a repository as of now.

use std::sync::Arc;

use crate::catalog::{Catalog, Repository};
use crate::model::ids::RepoId;
use crate::model::point::Point;
use crate::model::time::Timestamp;
use crate::policy::{NameGuards, Rule};
use crate::serve::BlockedRelease;
use crate::state::State;
use crate::state::policies::{PolicyInputs, RepoPolicy, has_policies};

fn inputs(state: &State, now: Timestamp) -> PolicyInputs {
    inputs_in(state, state.catalog.get(), now)
}

fn inputs_in(state: &State, catalog: Arc<Catalog>, now: Timestamp) -> PolicyInputs {
    let has_automatic_guards = has_automatic_guards(state);
    PolicyInputs { catalog, advisories: state.advisories.get(), has_automatic_guards, now }
}

/// Returns true if uploaded names are guarded automatically.
pub(super) fn has_automatic_guards(state: &State) -> bool {
    state.config.load().server.automatic_name_guard
}

/// Returns the rules of a repository; `None` if nothing is blocked there.
pub(super) fn of_repo(state: &State, repo: RepoId) -> Option<Arc<RepoPolicy>> {
    state.policies.of_repo(&inputs(state, (state.clock)()), repo)
}

/// Returns these rules and name guards, which need not be in force, prepared for a repository; `None` if they hide
/// nothing there. Waits while advisories are being loaded at the start.
pub(super) async fn of_rules(
    state: &State,
    repo: &Repository,
    (rules, guards): (&[Arc<Rule>], &NameGuards),
) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    state.policies.of_rules(&inputs(state, (state.clock)()), repo, (rules, guards))
}

/// Returns the block rules of all repositories, in unspecified order.
pub(super) fn rules(state: &State) -> Vec<Arc<Rule>> {
    state.catalog.get().rules.rules.clone()
}

/// Returns the name guards in force.
pub(super) fn guards(state: &State) -> NameGuards {
    state.catalog.get().guards.in_force(has_automatic_guards(state)).clone()
}

/// Returns numbers that change whenever a decision of a rule in this catalog may change; see
/// [`crate::state::policies::Policies::generation`].
#[must_use]
pub fn generation(state: &State, catalog: &Arc<Catalog>, now: Timestamp) -> (u64, i64) {
    if !has_policies(catalog) {
        return (0, 0);
    }
    state.policies.generation(&inputs_in(state, Arc::clone(catalog), now))
}

/// Logs a request that a rule about vulnerabilities refuses at a frozen point, once for each repository and release: the
/// address served the release until an advisory appeared.
pub(super) fn log_frozen(state: &State, point: &Point, blocked: &BlockedRelease) {
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
