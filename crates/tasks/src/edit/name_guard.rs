//! Creates, changes and ends name guards.

use super::guard_conflicts::Guards;
use super::{Actor, apply};
use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::time::Timestamp;
use content::serve::guard_effects::{self, NameChange};
use content::serve::{RepoError, Repositories, find};
use formats::policy::NamePattern;
use runtime::catalog::{Catalog, Source};
use runtime::state::State;
use store::db::audit::{self, AuditRow};
use store::db::name_guard::{self, GuardState, NameGuardRow};
use store::db::{Conn, DbError, clock, source};

/// Maximum length of a description, in characters.
const MAX_DESCRIPTION: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNameGuard {
    /// A name, or a prefix followed by `*`.
    pub name: String,
    /// The language; `None` for that of the source.
    pub language: Option<Language>,
    pub source: String,
    pub description: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameGuardChanges {
    /// A name, or a prefix followed by `*`.
    pub name: Option<String>,
    pub source: Option<String>,
    pub description: Option<String>,
}

/// A guard, and the names of other sources that it hides.
pub type HidingGuard = (NameGuardRow, Vec<(String, SourceId)>);

/// A guard that was changed or deleted, or would be in a dry run.
#[derive(Clone, Debug)]
pub struct ChangedGuard {
    /// The guard; a deleted one as it was.
    pub row: NameGuardRow,
    /// The packages that repositories provide in another way afterwards.
    pub changes: Vec<NameChange>,
}

/// Creates a guard, or only validates it in a dry run; its id is 0 then.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown source; [`RepoError::Invalid`]; [`RepoError::Conflict`] with another guard;
/// [`DbError::SourceDeleted`].
pub async fn create(
    state: &State,
    new: &NewNameGuard,
    is_dry_run: bool,
    actor: &Actor,
) -> Result<HidingGuard, RepoError> {
    let (catalog, now) = (state.catalog.get(), (state.clock)());
    let row = new_row(&catalog, new, actor, now)?;
    if is_dry_run {
        let query = state.db.read(move |c| {
            let conflict = conflict(c, &row)?;
            Ok((conflict, name_guard::hidden(c, &row)?, row.clone()))
        });
        let (conflict, hidden, row) = query.await?;
        return match conflict {
            Some(other) => Err(conflict_error(&catalog, &row, &other)),
            None => Ok((row, hidden)),
        };
    }
    apply(state, move |c| {
        clock::lock(c)?;
        source::check_exist(c, [row.source])?;
        if let Some(other) = conflict(c, &row)? {
            return Err(conflict_error(&catalog, &row, &other).into());
        }
        let hidden = name_guard::hidden(c, &row)?;
        let created = write(c, vec![NewValues { old: None, new: row.clone() }], now)?;
        Ok((created.into_iter().next().unwrap_or_else(|| row.clone()), hidden))
    })
    .await
}

/// Checks a guard, except for conflicts with others, and finds its source. Its id is 0.
pub fn new_row(
    catalog: &Catalog,
    new: &NewNameGuard,
    actor: &Actor,
    now: Timestamp,
) -> Result<NameGuardRow, RepoError> {
    let source = find::source(catalog, &new.source)?;
    let language = source.kind.language();
    if let Some(requested) = new.language.filter(|requested| *requested != language) {
        return Err(RepoError::Invalid(format!(
            "the source '{}' has packages of {}, not of {}",
            source.name,
            language.label(),
            requested.label()
        )));
    }
    Ok(NameGuardRow {
        id: 0,
        language: language.as_str().to_owned(),
        pattern: pattern(&new.name, source)?.to_string(),
        source: source.id,
        automatic: false,
        state: GuardState::InForce,
        description: description(&new.description)?,
        created_by: actor.0.clone(),
        created_at: now,
    })
}

/// A guard to create, or to change if there is an old one.
pub(super) struct NewValues<'a> {
    pub(super) old: Option<&'a NameGuardRow>,
    pub(super) new: NameGuardRow,
}

/// Creates and changes guards; returns the new ones with their ids, in order.
pub(super) fn write(
    c: &mut dyn Conn,
    values: Vec<NewValues<'_>>,
    now: Timestamp,
) -> Result<Vec<NameGuardRow>, DbError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let (new, old): (Vec<_>, Vec<_>) = values.iter().partition(|it| it.old.is_none());
    let rows = |values: Vec<&NewValues<'_>>| values.into_iter().map(|it| it.new.clone()).collect();
    let (mut created, changed): (Vec<NameGuardRow>, Vec<NameGuardRow>) = (rows(new), rows(old));
    let first = if created.is_empty() { 0 } else { name_guard::insert(c, &created)? };
    (first..).zip(&mut created).for_each(|(id, row)| row.id = id);
    if !changed.is_empty() {
        name_guard::update(c, &changed)?;
    }
    let present = created.iter().chain(changed.iter().filter(|row| !row.automatic)).cloned();
    name_guard::record_present(c, &present.collect::<Vec<_>>(), now)?;
    let mut new = created.iter();
    let rows = values.iter().filter_map(|NewValues { old, new: row }| {
        Some(match old {
            None => audited(new.next()?, "create name guard", ""),
            Some(old) => audited(row, "change name guard", &format!("; before: {}", describe(old))),
        })
    });
    audit::record_all(c, rows.collect())?;
    Ok(created)
}

/// Returns the row of a change in the audit trail.
fn audited(guard: &NameGuardRow, action: &str, rest: &str) -> AuditRow {
    audit::row(action, "name guard", &guard.id.to_string(), &(describe(guard) + rest))
}

/// Changes a guard, or only validates the change in a dry run. Only the description of an automatic guard can be changed.
///
/// # Errors
/// [`RepoError::NotFound`]; [`RepoError::Invalid`]; [`RepoError::Conflict`] with another guard;
/// [`DbError::SourceDeleted`] for a new source.
pub async fn update(
    repositories: &Repositories,
    state: &State,
    id: i64,
    changes: &NameGuardChanges,
    is_dry_run: bool,
) -> Result<ChangedGuard, RepoError> {
    let catalog = state.catalog.get();
    let known = state.db.read(name_guard::list).await?;
    let current = known.into_iter().find(|row| row.id == id).ok_or_else(|| unknown(id))?;
    if current.automatic && (changes.name.is_some() || changes.source.is_some()) {
        return Err(RepoError::Invalid(format!(
            "name guard {id} was created by the first upload of '{}': its name and source cannot be changed; create a guard \
             of that name, which precedes it, or end it: rspm delete name-guard --id={id}",
            current.pattern
        )));
    }
    let mut row = current.clone();
    if let Some(name) = &changes.source {
        let source = find::source(&catalog, name)?;
        if source.kind.language().as_str() != row.language {
            return Err(RepoError::Invalid(format!(
                "the source '{}' has packages of {}; the guard is of another language: create a new one",
                source.name,
                source.kind.language().label()
            )));
        }
        row.source = source.id;
    }
    if let Some(name) = &changes.name {
        row.pattern = pattern_of(name, &row.language)?.to_string();
    }
    if let Some(text) = &changes.description {
        row.description = description(text)?;
    }
    let candidate = row.clone();
    let other = state.db.read(move |c| conflict_of_change(c, &candidate)).await?;
    if let Some(other) = other {
        return Err(conflict_error(&catalog, &row, &other));
    }
    let is_same = (&row.pattern, row.source) == (&current.pattern, current.source);
    let name_changes = match is_same || current.state != GuardState::InForce {
        true => Vec::new(),
        false => guard_effects::of_change(repositories, &current, Some(&row)).await?,
    };
    if is_dry_run {
        return Ok(ChangedGuard { row, changes: name_changes });
    }
    let now = (state.clock)();
    let write = apply(state, move |c| {
        let Some(stored) = name_guard::list(c)?.into_iter().find(|stored| stored.id == id) else {
            return Err(unknown(id).into());
        };
        if stored != current {
            return Err(changed_meanwhile(id).into());
        }
        // The guard of a deleted source can be changed without a new source.
        if row.source != current.source {
            clock::lock(c)?;
            source::check_exist(c, [row.source])?;
        }
        if let Some(other) = conflict_of_change(c, &row)? {
            return Err(conflict_error(&catalog, &row, &other).into());
        }
        write(c, vec![NewValues { old: Some(&current), new: row.clone() }], now)?;
        Ok(row.clone())
    });
    Ok(ChangedGuard { row: write.await?, changes: name_changes })
}

/// Deletes a guard, or only returns what that would change in a dry run. An automatic guard is ended: a later upload of
/// the name does not create it again.
pub async fn delete(
    repositories: &Repositories,
    state: &State,
    id: i64,
    is_dry_run: bool,
) -> Result<ChangedGuard, RepoError> {
    let known = state.db.read(move |c| deletable(c, id)).await?.ok_or_else(|| unknown(id))?;
    let changes = match known.state {
        GuardState::InForce => guard_effects::of_change(repositories, &known, None).await?,
        GuardState::ListedBefore | GuardState::Ended => Vec::new(),
    };
    if is_dry_run {
        return Ok(ChangedGuard { row: known, changes });
    }
    let write = apply(state, move |c| {
        let row = deletable(c, id)?.ok_or_else(|| unknown(id))?;
        if row != known {
            return Err(changed_meanwhile(id).into());
        }
        write_deletion(c, std::slice::from_ref(&row))?;
        Ok(row)
    });
    Ok(ChangedGuard { row: write.await?, changes })
}

pub(super) fn write_deletion(c: &mut dyn Conn, rows: &[NameGuardRow]) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let end = |row: &NameGuardRow| NameGuardRow { state: GuardState::Ended, ..row.clone() };
    let ended: Vec<NameGuardRow> = rows.iter().filter(|row| row.automatic).map(end).collect();
    let deleted: Vec<i64> = rows.iter().filter(|row| !row.automatic).map(|row| row.id).collect();
    name_guard::update(c, &ended)?;
    name_guard::delete(c, &deleted)?;
    audit::record_all(c, rows.iter().map(|row| audited(row, "delete name guard", "")).collect())
}

/// Returns a guard, unless it was ended.
fn deletable(c: &mut dyn Conn, id: i64) -> Result<Option<NameGuardRow>, DbError> {
    let known = name_guard::list(c)?;
    Ok(known.into_iter().find(|row| row.id == id && row.state != GuardState::Ended))
}

fn changed_meanwhile(id: i64) -> RepoError {
    RepoError::Conflict(format!(
        "name guard {id} was changed by another command, or by a sync, in the meantime; repeat this command"
    ))
}

fn unknown(id: i64) -> RepoError {
    RepoError::NotFound(format!("there is no name guard {id}; rspm list name-guards shows all"))
}

fn pattern(text: &str, source: &Source) -> Result<NamePattern, RepoError> {
    pattern_of(text, source.kind.language().as_str())
}

fn pattern_of(text: &str, language: &str) -> Result<NamePattern, RepoError> {
    let unknown = || RepoError::Invalid(format!("this version has no language '{language}'"));
    NamePattern::parse(text, Language::parse(language).ok_or_else(unknown)?)
        .map_err(|error| RepoError::Invalid(error.to_string()))
}

fn description(text: &str) -> Result<String, RepoError> {
    let text = text.trim();
    if text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control) {
        return Err(RepoError::Invalid(format!(
            "the description must be one line of at most {MAX_DESCRIPTION} characters"
        )));
    }
    Ok(text.to_owned())
}

/// Returns a guard of another source that has a name in common with this one, or an equal guard of the same source.
fn conflict(c: &mut dyn Conn, row: &NameGuardRow) -> Result<Option<NameGuardRow>, DbError> {
    let (known, mut others) = (name_guard::list(c)?, Guards::default());
    known.iter().filter(|other| other.id != row.id).for_each(|other| others.add(other));
    Ok(others.conflict(row).cloned())
}

/// Like [`conflict`]; an automatic guard, of which only the description changes, has none.
fn conflict_of_change(c: &mut dyn Conn, row: &NameGuardRow) -> Result<Option<NameGuardRow>, DbError> {
    if row.automatic { Ok(None) } else { conflict(c, row) }
}

fn conflict_error(catalog: &Catalog, row: &NameGuardRow, other: &NameGuardRow) -> RepoError {
    RepoError::Conflict(format!(
        "'{}' and name guard {} ('{}' of the source '{}') have names in common; change that guard, or choose another pattern",
        row.pattern,
        other.id,
        other.pattern,
        catalog.source_name(other.source)
    ))
}

/// The text of a guard in the audit trail.
fn describe(row: &NameGuardRow) -> String {
    let kind = if row.automatic { "automatic, " } else { "" };
    format!("{kind}{} names '{}', source {}", row.language, row.pattern, row.source)
}
