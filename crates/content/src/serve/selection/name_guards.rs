//! Guarded names in responses: why a repository has no package of a name.

use std::sync::Arc;

use super::allowed::View;
use super::policies;
use crate::serve::{GuardedName, RepoError};
use base::model::ids::SourceId;
use base::model::kind::{Language, Layout};
use base::model::point::Point;
use formats::language;
use formats::policy::NameGuard;
use runtime::catalog::Guards;
use runtime::state::State;

/// What an administrator can do about a curated source that selects a package of a guarded name.
pub(in crate::serve) const REMEDY: &str =
    "remove it from the definition, or change the guard (rspm list name-guards shows all)";

/// Returns the guard of a name, folded by its language; `None` if the name is not guarded.
pub(in crate::serve) fn guard_of(state: &State, language: Language, name: &str) -> Option<Arc<NameGuard>> {
    let catalog = state.catalog.get();
    catalog.guards.in_force(policies::has_automatic_guards(state)).find(language, name).cloned()
}

/// Returns the error for clients that states a name and its guard.
pub(in crate::serve) fn guarded_name(guard: &NameGuard, name: &str) -> GuardedName {
    GuardedName { package: name.to_owned(), reason: guard.label() }
}

/// Returns the guard that explains why a point has no package of a name: one of an administrator, or one that
/// hides it in a source of the point. SECURITY: other automatic guards reveal the names of packages in
/// sources that the client may not read.
pub fn guarded(state: &State, point: &Point, name: &str) -> Option<GuardedName> {
    let guard = guard_of(state, point.language, name)?;
    let is_refused = !guard.is_automatic || View::of(state, point).iter().any(|tree| tree.hides(name));
    is_refused.then(|| guarded_name(&guard, name))
}

/// Returns whether a guard hides the packages of a name in a source.
pub(in crate::serve) fn hides(state: &State, name: &str, source: SourceId) -> bool {
    HiddenNames::of_source(state, source).contains(name)
}

/// Returns why a guard hides a name in a source: `hidden by name guard 7: …`; `None` if no guard does.
pub fn hiding_reason(state: &State, name: &str, source: SourceId) -> Option<String> {
    let hidden = HiddenNames::of_source(state, source);
    let guard = hidden.guard_of(name)?;
    Some(format!("hidden by {}: only another source may provide the name", guard.label()))
}

/// Returns why packages of a name do not come from the index `source`: a guard hides it there, or the index
/// lacks it and a source of this server has it, perhaps unguarded.
pub(in crate::serve) fn other_provider(
    state: &State,
    name: &str,
    source: SourceId,
    is_listed: bool,
) -> Option<String> {
    let catalog = state.catalog.get();
    let is_own = || catalog.guards.in_force(true).find(catalog.source_language(source), name).is_some();
    hiding_reason(state, name, source)
        .or_else(|| (!is_listed && is_own()).then(|| "another source of this server has the name".to_owned()))
}

#[derive(Clone, Debug)]
pub struct HiddenNames {
    guards: Arc<Guards>,
    has_automatic_guards: bool,
    language: Language,
    source: SourceId,
    is_own: bool,
}

impl HiddenNames {
    /// Returns the hidden names of a source, which may be deleted.
    pub fn of(state: &State, language: Language, source: SourceId) -> HiddenNames {
        let catalog = state.catalog.get();
        HiddenNames {
            guards: Arc::clone(&catalog.guards),
            has_automatic_guards: policies::has_automatic_guards(state),
            language,
            source,
            is_own: catalog.is_own(source),
        }
    }

    fn of_source(state: &State, source: SourceId) -> HiddenNames {
        HiddenNames::of(state, state.catalog.get().source_language(source), source)
    }

    /// Returns whether a name, folded by its language, is hidden.
    pub fn contains(&self, name: &str) -> bool {
        self.guard_of(name).is_some()
    }

    fn guard_of(&self, name: &str) -> Option<&Arc<NameGuard>> {
        let guard = self.guards.in_force(self.has_automatic_guards).find(self.language, name)?;
        guard.hides(self.source, self.is_own).then_some(guard)
    }

    /// Refuses a hidden name in any spelling. SECURITY: an automatic guard refuses only names that the source
    /// has (`is_known`), because it reveals that another source, which may be private, has the name.
    pub fn require_visible(&self, name: &str, is_known: bool) -> Result<(), RepoError> {
        let name = language::of(self.language).fold(name);
        match self.guard_of(&name) {
            Some(guard) if is_known || !guard.is_automatic => {
                Err(RepoError::Guarded(Box::new(guarded_name(guard, &name))))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Returns the error for a name that a point lacks: 403 because of a guard, otherwise 404 with this text.
/// SECURITY: installers continue with the next repository after 404, but not after 403.
pub fn missing(state: &State, point: &Point, name: &str, text: String) -> RepoError {
    match guarded(state, point, name) {
        Some(guarded) => RepoError::Guarded(Box::new(guarded)),
        None => RepoError::NotFound(text),
    }
}

/// As [`missing`], for a package of lists, which a repository with projects has not.
pub fn missing_in_lists(state: &State, point: &Point, name: &str, text: String) -> RepoError {
    match point.language.layout() {
        Layout::Lists => missing(state, point, name, text),
        Layout::Projects => RepoError::NotFound(text),
    }
}
