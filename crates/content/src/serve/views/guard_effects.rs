//! The packages that repositories provide from another source, or in another version, after a change of a name guard.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rule_matches;
use crate::serve::selection::allowed::View;
use crate::serve::selection::{allowed, point, policies};
use crate::serve::{RepoError, Repositories, project};
use base::model::ids::SourceId;
use base::model::kind::{Language, Layout};
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use formats::policy::{NameGuards, RuleIndexes};
use formats::r::bioconductor::{BioconductorVersion, Part};
use runtime::catalog::{Repository, guards_in_force};
use runtime::state::policies::RepoPolicy;
use store::db::name_guard::{self, NameGuardRow};
use store::db::{self, Conn, DbError};

const NAMES_PER_READ: usize = 500;

/// A name that a repository provides in another way after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    pub repo: String,
    /// The version of Bioconductor, each of which has packages of its own; `None` for other repositories.
    pub bioconductor: Option<BioconductorVersion>,
    pub name: String,
    pub before: Option<ProvidedPackage>,
    pub after: Option<ProvidedPackage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvidedPackage {
    /// The version; `None` for a project of an index whose page was not read yet.
    pub version: Option<String>,
    pub source: SourceId,
}

/// Returns what changes, by repository, version of Bioconductor and name, if `new` replaces the guard `old`;
/// `None` deletes it. Other guards and rules are those in force.
pub async fn of_change(
    repositories: &Repositories,
    old: &NameGuardRow,
    new: Option<&NameGuardRow>,
) -> Result<Vec<NameChange>, RepoError> {
    let state = &repositories.state;
    let Some(language) = Language::parse(&old.language) else { return Ok(Vec::new()) };
    // Changes by other servers are not changes by this one.
    state.catalog.refresh(&state.db).await?;
    let rows: Vec<NameGuardRow> = std::iter::once(old).chain(new).cloned().collect();
    let query = state.db.read(move |c| {
        // Only names that sources without permission, curated sources and snapshots have, or had, can be hidden.
        let mut names = BTreeSet::new();
        for row in &rows {
            names.extend(name_guard::hidden(c, row)?.into_iter().map(|(name, _)| name));
        }
        Ok((names, name_guard::list(c)?, name_guard::overlaps(c)?))
    });
    let (names, mut guards, overlaps) = query.await?;
    guards.retain(|row| row.id != old.id);
    guards.extend(new.cloned());
    let mut guards = guards_in_force(guards, overlaps);
    if !policies::has_automatic_guards(state) {
        guards = guards.without_automatic();
    }
    let names: Vec<String> = names.into_iter().collect();
    let mut changes = Vec::new();
    let catalog = state.catalog.get();
    let indexes = policies::indexes(state, &catalog, language);
    for repo in catalog.repos.iter().filter(|repo| repo.kind.language() == language) {
        changes.extend(in_repository(repositories, repo, &indexes, &guards, &names).await?);
    }
    Ok(changes)
}

/// Returns which of these names a repository provides in another way under other guards.
async fn in_repository(
    repositories: &Repositories,
    repo: &Repository,
    indexes: &RuleIndexes,
    guards: &NameGuards,
    names: &[String],
) -> Result<Vec<NameChange>, RepoError> {
    let state = &repositories.state;
    let policy = policies::of_indexes(state, repo, indexes, guards).await;
    let in_force = policies::of_repo(state, repo.id);
    if guards_of(in_force.as_ref()) == guards_of(policy.as_ref()) {
        return Ok(Vec::new());
    }
    let language = repo.kind.language();
    let mut changes = Vec::new();
    for (repo, bioconductor) in rule_matches::versions(&state.catalog.get(), repo) {
        let part = bioconductor.map(Part::whole);
        let resolved = point::resolve_part(repositories, repo.name.as_str(), part, Snapshot::Latest).await;
        let Ok(point) = resolved else { continue };
        let (before, after) = (View::of(state, &point), View::under(state, &point, policy.as_ref()));
        for names in names.chunks(NAMES_PER_READ) {
            let (repo, names) = (repo.name.to_string(), names.to_vec());
            let (before, after) = (before.clone(), after.clone());
            let query = state.db.read(move |c| {
                let mut changes = Vec::new();
                for name in &names {
                    let before = provided(c, &before, language, name)?;
                    let after = provided(c, &after, language, name)?;
                    if before != after {
                        let (repo, name) = (repo.clone(), name.clone());
                        changes.push(NameChange { repo, bioconductor, name, before, after });
                    }
                }
                Ok(changes)
            });
            changes.extend(query.await?);
        }
    }
    Ok(changes)
}

/// Returns the name guards of a repository; `None` without any.
fn guards_of(policy: Option<&Arc<RepoPolicy>>) -> Option<&NameGuards> {
    policy.map(|policy| &*policy.guards).filter(|guards| !guards.is_empty())
}

/// Returns the package of a name that these trees list.
fn provided(
    c: &mut dyn Conn,
    views: &[View],
    language: Language,
    name: &str,
) -> Result<Option<ProvidedPackage>, DbError> {
    match language.layout() {
        Layout::Lists => {
            let Some(view) = allowed::owner(c, views, name)? else { return Ok(None) };
            let version = view.listed_version(c, name)?;
            Ok(version.map(|version| ProvidedPackage { version: Some(version), source: view.source }))
        }
        Layout::Projects => {
            let project = ProjectName::folded(name);
            let Some(owned) = project::owner::owner(c, views, &project)? else { return Ok(None) };
            let is_owner =
                |view: &&View| (view.source, view.tree().tree) == (owned.tree.source, owned.tree.tree);
            let Some(view) = views.iter().find(is_owner) else { return Ok(None) };
            let source = view.source;
            let package = db::package::by_name(c, source, name)?;
            let listed =
                package.map(|package| project::curated::with_blocked(c, view, package)).transpose()?;
            if listed.unwrap_or_default().is_empty() {
                // The page of the project was not read yet.
                let is_index = project::owner::is_index(&owned.tree);
                return Ok(is_index.then_some(ProvidedPackage { version: None, source }));
            }
            let files = package.map(|package| project::curated::of_project(c, view, package)).transpose()?;
            let newest = files.as_deref().and_then(|files| project::names::newest(files, language));
            Ok(newest.map(|file| ProvidedPackage { version: Some(file.version.clone()), source }))
        }
    }
}
