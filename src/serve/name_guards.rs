//! Guarded names in responses: why a repository has no package of a name.

use super::allowed::View;
use super::{GuardedName, RepoError, policies};
use crate::model::ids::SourceId;
use crate::model::language::Language;
use crate::model::point::Point;
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

/// Returns 403 if a guard hides packages of a name at a point that has no other, else 404 with this text.
#[must_use]
pub fn missing_at(state: &State, point: &Point, language: Language, name: &str, text: String) -> RepoError {
    if View::of(state, point).iter().any(|view| view.hides(name)) {
        missing(state, language, name, text)
    } else {
        RepoError::NotFound(text)
    }
}
