//! Guarded names in responses: why a repository has no package of a name.

use super::{GuardedName, RepoError, policies};
use crate::model::ids::SourceId;
use crate::model::language::Language;
use crate::state::State;

/// Returns the guard of a name that a repository does not have; `None` if the name is not guarded. A name of Python must be
/// in normal form.
pub(super) fn guarded(state: &State, language: Language, name: &str) -> Option<GuardedName> {
    let catalog = state.catalog.get();
    let guard = catalog.guards.in_force(policies::has_automatic_guards(state)).find(language, name)?;
    Some(GuardedName { package: name.to_owned(), reason: guard.label() })
}

/// Whether a guard hides the packages of a name in a source.
pub(super) fn hides(state: &State, language: Language, name: &str, source: SourceId) -> bool {
    let catalog = state.catalog.get();
    let guards = catalog.guards.in_force(policies::has_automatic_guards(state));
    let Some(guard) = guards.find(language, name) else { return false };
    guard.hides(source, catalog.source_by_id(source).is_some_and(|source| source.kind.is_own()))
}

/// Returns 403 for a guarded name that a repository does not have, else 404 with this text. SECURITY: installers continue
/// with the next repository after 404.
pub(super) fn missing(state: &State, language: Language, name: &str, text: String) -> RepoError {
    match guarded(state, language, name) {
        Some(guarded) => RepoError::Guarded(Box::new(guarded)),
        None => RepoError::NotFound(text),
    }
}
