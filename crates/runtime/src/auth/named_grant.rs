//! Converts scopes with names of objects to a grant, which has their ids, and back.

use crate::catalog::Catalog;
use base::access::{Grant, NamedScope, Names, Scope, ScopeKind, Selection};
use base::model::ids::{RepoId, SourceId};

/// Returns the grant for scopes with names, and the names that no repository or source has. The grant contains the
/// objects that have the names now; an object that gets one of the names later is not in the grant.
pub fn named_grant(catalog: &Catalog, scopes: &[NamedScope]) -> (Grant, Vec<String>) {
    let (mut repositories, mut promoted, mut sources, mut others) = (None, None, None, Vec::new());
    let mut unknown_names = Vec::new();
    for NamedScope { kind, objects } in scopes {
        match kind {
            ScopeKind::BlocklistRead
            | ScopeKind::BlocklistAdmin
            | ScopeKind::MetadataAdmin
            | ScopeKind::GlobalAdmin => others.extend(Scope::without_objects(*kind)),
            ScopeKind::ReposRead => {
                let find = |name: &str| catalog.repo(name).map(|repo| repo.id);
                add(&mut repositories, objects, find, &mut unknown_names);
            }
            ScopeKind::ReposPromote => {
                let find = |name: &str| catalog.repo(name).map(|repo| repo.id);
                add(&mut promoted, objects, find, &mut unknown_names);
            }
            ScopeKind::SourcesWrite => {
                let find = |name: &str| catalog.source(name).map(|source| source.id);
                add(&mut sources, objects, find, &mut unknown_names);
            }
        }
    }
    let scopes = [
        repositories.map(Scope::ReposRead),
        promoted.map(Scope::ReposPromote),
        sources.map(Scope::SourcesWrite),
    ];
    others.dedup();
    (Grant::new(scopes.into_iter().flatten().chain(others).collect()), unknown_names)
}

/// Returns the scopes of a grant with the current names of their objects: `repos:read:cran,team sources:write:*`.
pub fn scope_names(catalog: &Catalog, grant: &Grant) -> String {
    let repository = |id: &RepoId| catalog.repo_by_id(*id).map(|repo| repo.name.to_string());
    let source = |id: &SourceId| catalog.source_by_id(*id).map(|source| source.name.to_string());
    let name = |scope: &Scope| match scope {
        Scope::ReposRead(selection) => scope_text(ScopeKind::ReposRead, names(selection, repository)),
        Scope::ReposPromote(selection) => scope_text(ScopeKind::ReposPromote, names(selection, repository)),
        Scope::SourcesWrite(selection) => scope_text(ScopeKind::SourcesWrite, names(selection, source)),
        scope => scope_text(scope.kind(), Names::All),
    };
    grant.scopes().iter().map(name).collect::<Vec<_>>().join(" ")
}

fn scope_text(kind: ScopeKind, objects: Names) -> String {
    NamedScope { kind, objects }.to_string()
}

/// Returns the names of objects; omits deleted objects.
fn names<T>(selection: &Selection<T>, name: impl Fn(&T) -> Option<String>) -> Names {
    match selection {
        Selection::All => Names::All,
        Selection::Only(ids) => Names::Only(ids.iter().filter_map(name).collect()),
    }
}

/// Adds the objects with these names to a selection.
fn add<T: PartialEq>(
    selection: &mut Option<Selection<T>>,
    names: &Names,
    find: impl Fn(&str) -> Option<T>,
    unknown_names: &mut Vec<String>,
) {
    let names = match names {
        Names::All => {
            *selection = Some(Selection::All);
            return;
        }
        Names::Only(names) => names,
    };
    for name in names {
        let Some(object) = find(name) else {
            unknown_names.push(name.clone());
            continue;
        };
        match selection.get_or_insert_with(|| Selection::Only(Vec::new())) {
            Selection::Only(objects) if !objects.contains(&object) => objects.push(object),
            Selection::Only(_) | Selection::All => {}
        }
    }
}
