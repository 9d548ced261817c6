//! Creates, renames and deletes sources.

use super::subscription::unsubscribe_advice;
use super::{OnExisting, Write, apply, exists_already, name_conflict};
use base::model::ids::SourceId;
use base::model::kind::{ChangePolicy, SourceKind, Supply};
use base::model::name::Name;
use base::model::time::Timestamp;
use content::serve::{RepoError, find};
use formats::language;
use runtime::catalog::{Catalog, Source};
use runtime::publish::edit::apply_edit;
use runtime::state::State;
use store::db::audit::{self, AuditRow};
use store::db::clock::Change;
use store::db::source::NewSource;
use store::db::tree::{Axis, NewTree, Role};
use store::db::{self, Conn, DbError};

/// Creates a source. Sources of type `cran`, `bioconductor` and `pypi` are built in and cannot be created.
///
/// # Errors
/// [`RepoError::Invalid`] for a kind that cannot be created, [`RepoError::Conflict`] when the name is taken.
pub async fn create(
    state: &State,
    name: &Name,
    kind: SourceKind,
    existing: OnExisting,
) -> Result<(), RepoError> {
    let catalog = state.catalog.get();
    check_kind(&catalog, kind)?;
    if let Some(source) = catalog.source(name.as_str()) {
        return match existing {
            OnExisting::Succeed if source.kind == kind => Ok(()),
            OnExisting::Fail | OnExisting::Succeed | OnExisting::Replace => {
                Err(exists_already("source", name.as_str()))
            }
        };
    }
    check_name(&catalog, name)?;
    let (new, now) = (NewSource { name: name.clone(), kind }, (state.clock)());
    let write = apply_edit(state, move |c| {
        write_new(c, std::slice::from_ref(&new), now)?;
        audit::record_all(c, vec![creation(&new)])
    });
    write.await.map_err(|error| name_conflict(error.into(), "source", name))
}

/// Checks the name and the kind of a new source.
pub fn check_new(catalog: &Catalog, name: &Name, kind: SourceKind) -> Result<(), RepoError> {
    check_kind(catalog, kind)?;
    check_name(catalog, name)
}

/// Creates sources, which get the next ids in their order; returns the first. The caller records each [`creation`].
pub(super) fn write_new(
    c: &mut dyn Conn,
    sources: &[NewSource],
    now: Timestamp,
) -> Result<SourceId, DbError> {
    let first = db::source::create_all(c, sources, now)?;
    let ids = || (first.0..).map(SourceId);
    let tree = |(source, new): (SourceId, &NewSource)| {
        let label = language::of(new.kind.language()).nouns().directory;
        NewTree { source, label, role: Role::Source, axis: Axis::Step }
    };
    db::tree::create_all(c, &ids().zip(sources).map(tree).collect::<Vec<_>>())?;
    let changes: Vec<Change> = ids().take(sources.len()).map(Change::Source).collect();
    db::clock::bump_catalog_for(c, &changes)?;
    Ok(first)
}

/// Returns the row of a new source in the audit trail.
pub(super) fn creation(new: &NewSource) -> AuditRow {
    audit::row("create source", "source", new.name.as_str(), new.kind.as_str())
}

pub async fn rename(state: &State, name: &str, new_name: &Name) -> Result<(), RepoError> {
    let source = find::source(&state.catalog.get(), name)?.clone();
    check_rename(&state.catalog.get(), &source, new_name)?;
    if source.name == *new_name {
        return Ok(());
    }
    let new = new_name.clone();
    let update = apply_edit(state, move |c| {
        let row = write_name(c, &source, &new)?;
        audit::record_all(c, vec![row])
    });
    update.await.map_err(|error| name_conflict(error.into(), "source", new_name))
}

/// Checks that a source can be renamed, and its new name.
pub fn check_rename(catalog: &Catalog, source: &Source, new_name: &Name) -> Result<(), RepoError> {
    if let Some(label) = built_in_label(source.kind) {
        return Err(RepoError::Invalid(format!("'{}' is {label} and cannot be renamed", source.name)));
    }
    check_name(catalog, new_name)
}

/// Renames a source; returns the row in the audit trail, which the caller records.
pub(super) fn write_name(c: &mut dyn Conn, source: &Source, new_name: &Name) -> Result<AuditRow, DbError> {
    db::source::rename(c, source.id, new_name)?;
    db::clock::bump_catalog(c, Change::Source(source.id))?;
    Ok(audit::row("rename source", "source", source.name.as_str(), &format!("new name: {new_name}")))
}

/// Checks that a source without a subscribed repository has no builders, and never had packages.
///
/// # Errors
/// [`RepoError::Conflict`] with the flag that deletes it with them.
pub async fn require_empty(state: &State, name: &str) -> Result<(), RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, name)?;
    let (id, is_subscribed) = (source.id, catalog.repos.iter().any(|repo| repo.subscribes_to(source.id)));
    // These have refusals of their own.
    if is_subscribed || source.kind.is_built_in() {
        return Ok(());
    }
    let builders = state.db.read(db::git_builder::list).await?;
    if catalog.has_steps(id) || builders.iter().any(|builder| builder.source == id) {
        return Err(RepoError::Conflict(format!(
            "the source '{name}' has, or had, packages or builders: --with-packages deletes it with them; snapshots of days \
             on which a repository subscribed to it still serve its packages"
        )));
    }
    Ok(())
}

/// Deletes a source that no repository subscribes to. Snapshots of days on which a repository was subscribed to it
/// still serve its packages.
///
/// # Errors
/// [`RepoError::Conflict`] when a repository subscribes to it; the error names the repositories.
pub async fn delete(state: &State, name: &str) -> Result<(), RepoError> {
    let source = find::source(&state.catalog.get(), name)?.clone();
    if let Some(label) = built_in_label(source.kind) {
        return Err(RepoError::Invalid(format!(
            "'{name}' is {label} and cannot be deleted; unsubscribe the repositories that should not offer it"
        )));
    }
    let now = (state.clock)();
    apply(state, move |c| write_deletion(c, &source, now)).await
}

pub(super) fn write_deletion(c: &mut dyn Conn, source: &Source, now: Timestamp) -> Write<()> {
    db::clock::lock(c)?;
    let subscribers = db::repo::subscribers(c, source.id)?;
    if !subscribers.is_empty() {
        return Err(still_subscribed(source.name.as_str(), &subscribers).into());
    }
    for builder in db::git_builder::list(c)?.iter().filter(|builder| builder.source == source.id) {
        db::git_builder::delete(c, builder.id, now)?;
    }
    db::metadata::delete_of_source(c, source.id)?;
    db::source::delete(c, source.id, now)?;
    audit::record(c, "delete source", "source", source.name.as_str(), "")?;
    Ok(db::clock::bump_catalog(c, Change::Source(source.id))?)
}

fn still_subscribed(source: &str, repos: &[(String, ChangePolicy)]) -> RepoError {
    let names: Vec<&str> = repos.iter().map(|(name, _)| name.as_str()).collect();
    let advice = repos.first().map(|(name, changes)| unsubscribe_advice(name, *changes, source));
    RepoError::Conflict(format!(
        "the source '{source}' is subscribed to by '{}'; {}",
        names.join("', '"),
        advice.unwrap_or_default()
    ))
}

fn check_kind(catalog: &Catalog, kind: SourceKind) -> Result<(), RepoError> {
    match kind.supply() {
        Supply::Uploads | Supply::Builds | Supply::Curated | Supply::Snapshot => Ok(()),
        Supply::Mirror => {
            let advice = match catalog.source(kind.as_str()) {
                Some(_) => "; subscribe a repository to it".to_owned(),
                None => format!(", which its first sync creates: rspm sync --type={kind}"),
            };
            Err(RepoError::Invalid(format!(
                "the source of type {kind} is built in: there is one, named '{kind}'{advice}"
            )))
        }
    }
}

/// Refuses the name of a built-in source that its first sync will create.
fn check_name(catalog: &Catalog, name: &Name) -> Result<(), RepoError> {
    let is_of = |kind: &SourceKind| kind.is_built_in() && kind.as_str() == name.as_str();
    match SourceKind::ALL.into_iter().find(is_of) {
        Some(kind) if catalog.source(name.as_str()).is_none() => Err(RepoError::Conflict(format!(
            "'{name}' is the name of the built-in source of type {kind}; use another name"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Returns the name of a built-in source in error texts; `None` for other sources.
fn built_in_label(kind: SourceKind) -> Option<&'static str> {
    kind.is_built_in().then_some("a built-in source")
}
