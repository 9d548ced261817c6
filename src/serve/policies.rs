//! The block rules of a repository as of now.

use std::sync::Arc;

use crate::catalog::{Catalog, Repository};
use crate::model::ids::{RepoId, SourceId};
use crate::model::language::Language;
use crate::model::point::Point;
use crate::model::time::Timestamp;
use crate::policy::{NameGuards, Rule};
use crate::python::name::normalize;
use crate::serve::BlockedRelease;
use crate::state::State;
use crate::state::policies::{PolicyInputs, RepoPolicy, has_policies};

/// Calls a function with the inputs of policies for a catalog.
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

/// Returns true if uploaded names are guarded automatically.
pub(super) fn has_automatic_guards(state: &State) -> bool {
    state.config.load().server.automatic_name_guard
}

/// Returns the rules of a repository; `None` if nothing is blocked there.
pub(super) fn of_repo(state: &State, repo: RepoId) -> Option<Arc<RepoPolicy>> {
    let catalog = state.catalog.load();
    with_inputs(state, &catalog, (state.clock)(), |inputs| state.policies.of_repo(inputs, repo))
}

/// Returns these rules and name guards, which need not be in force, prepared for a repository; `None` if they hide
/// nothing there. Waits while advisories are being loaded at the start.
pub(super) async fn of_rules(
    state: &State,
    repo: &Repository,
    (rules, guards): (&[Arc<Rule>], &NameGuards),
) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    let catalog = state.catalog.load();
    with_inputs(state, &catalog, (state.clock)(), |inputs| {
        state.policies.of_rules(inputs, repo, (rules, guards))
    })
}

/// Returns the rules that name no repository and may match a package, prepared for a source; `None` if they block
/// nothing there. A name of Python must be in normal form. Waits while advisories are being loaded at the start.
pub(super) async fn of_source(state: &State, source: SourceId, package: &str) -> Option<Arc<RepoPolicy>> {
    state.advisories.wait().await;
    let catalog = state.catalog.load();
    let source = catalog.source_by_id(source)?;
    let language = source.kind.language();
    let is_named = |name: &String| match language {
        Language::R => name == package,
        Language::Python => normalize(name) == package,
    };
    let may_match = |rule: &&Arc<Rule>| {
        rule.criteria.repo.is_none() && rule.criteria.package.as_ref().is_none_or(is_named)
    };
    let rules: Vec<Arc<Rule>> =
        catalog.rules.rules.iter().map(|stored| &stored.rule).filter(may_match).cloned().collect();
    with_inputs(state, &catalog, (state.clock)(), |inputs| state.policies.of_source(inputs, source, &rules))
}

/// Returns the block rules of all repositories, in the order of evaluation.
pub(super) fn rules(state: &State) -> Vec<Arc<Rule>> {
    state.catalog.load().rules.rules.iter().map(|stored| Arc::clone(&stored.rule)).collect()
}

/// Returns the name guards in force.
pub(super) fn guards(state: &State) -> NameGuards {
    state.catalog.load().guards.in_force(has_automatic_guards(state)).clone()
}

/// Returns numbers that change whenever a decision of a rule in this catalog may change; see
/// [`crate::state::policies::Policies::generation`].
#[must_use]
pub fn generation(state: &State, catalog: &Catalog, now: Timestamp) -> (u64, i64) {
    if !has_policies(catalog) {
        return (0, 0);
    }
    with_inputs(state, catalog, now, |inputs| state.policies.generation(inputs))
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
