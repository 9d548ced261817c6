//! Sets and deletes metadata of packages.

use std::collections::HashSet;

use super::{Actor, OnExisting};
use base::model::errors::refused_rows;
use base::model::kind::Language;
use base::model::project_name::spelling_key;
use content::serve::{RepoError, find};
use formats::language;
use formats::r;
use runtime::catalog::Catalog;
use runtime::state::State;
use store::db::audit::{self, AuditRow};
use store::db::metadata::{self, Metadata, MetadataScope};
use store::db::{Conn, DbError};

/// Maximum length of a key, in characters.
const MAX_KEY: usize = 100;
/// Maximum length of a value, in bytes.
const MAX_VALUE: usize = 4096;
/// Maximum length of a version, in bytes.
const MAX_VERSION: usize = 128;
/// Maximum number of values that one request sets: each is a row of the audit trail.
pub const MAX_RECORDS: usize = 2000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMetadata {
    pub package: String,
    /// The version; empty for every version.
    pub version: String,
    /// The name of the source; empty for every source.
    pub source: String,
    /// The name of the repository; empty for every repository.
    pub repo: String,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataStatus {
    /// The key is new for these packages.
    Created,
    Updated,
    /// The key exists already; its value was left unchanged.
    Unchanged,
}

/// The row of a value, and the result of setting it.
pub type SetMetadata = (Metadata, MetadataStatus);

/// Sets values in one transaction. `records` contains the reason in place of a value that could not be read. Returns a
/// result for each value, in order: the row, or the reason why the value was refused. With `is_atomic`, a refused value is
/// an error of the whole request, and no value is set.
///
/// # Errors
/// [`RepoError::Invalid`] for too many values; with `is_atomic` also [`RepoError::Conflict`]: a line per refused value.
pub async fn set(
    state: &State,
    records: Vec<Result<NewMetadata, String>>,
    existing: OnExisting,
    is_atomic: bool,
    actor: &Actor,
) -> Result<Vec<Result<SetMetadata, String>>, RepoError> {
    if records.len() > MAX_RECORDS {
        return Err(RepoError::Invalid(format!(
            "a request can set at most {MAX_RECORDS} values, not {}; split the file",
            records.len()
        )));
    }
    let catalog = state.catalog.get();
    let is_single = records.len() == 1;
    let mut distinct = HashSet::new();
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        let row =
            record.map_err(RepoError::Invalid).and_then(|record| check(&catalog, record)).and_then(|row| {
                let MetadataScope { name, normalized_name, version, source, repo } = &row.scope;
                let name = if is_of_every_language(&row.scope) { normalized_name } else { name };
                match distinct.insert((name.clone(), version.clone(), *source, *repo, row.key.clone())) {
                    true => Ok(row),
                    false => Err(RepoError::Invalid(format!("{} is repeated", describe(&catalog, &row)))),
                }
            });
        rows.push(match row {
            Err(error) if is_atomic && is_single => return Err(error),
            Err(error) => Err(error.to_string()),
            Ok(row) => Ok(Metadata { actor: actor.0.clone(), changed_at: (state.clock)(), ..row }),
        });
    }
    if is_atomic && let Some(text) = refusal(&rows) {
        return Err(RepoError::Invalid(text));
    }
    let write = state.db.write_unless_refused(move |c| {
        let valid: Vec<&Metadata> = rows.iter().flatten().collect();
        let mut found = metadata::of_scopes(c, &valid)?.into_iter();
        let mut present = Vec::with_capacity(rows.len());
        for row in &rows {
            present.push(match row {
                Ok(row) => existing_row(&catalog, found.next().unwrap_or_default(), row),
                Err(reason) => Err(reason.clone()),
            });
        }
        let mut results = Vec::with_capacity(rows.len());
        for (row, present) in rows.iter().zip(present.iter()) {
            results.push(match (row, present) {
                (Err(reason), _) | (Ok(_), Err(reason)) => Err(reason.clone()),
                (Ok(row), Ok(Some(present))) if existing == OnExisting::Fail => Err(format!(
                    "{} exists already, with the id {}; use --update-existing to replace the value, or \
                     --succeed-on-existing to leave it",
                    describe(&catalog, row),
                    present.id
                )),
                (Ok(row), Ok(present)) => Ok(Setting { row, present: present.as_ref() }),
            });
        }
        if is_atomic && let Some(text) = refusal(&results) {
            return Err(RepoError::Conflict(text).into());
        }
        let accepted = results.iter().flatten().copied();
        let mut written = write_rows(c, &catalog, accepted, existing)?.into_iter();
        let done = results.into_iter().map(|result| result.map(|_| written.next()).transpose());
        Ok(done.flatten().collect())
    });
    Ok(write.await?)
}

/// Returns the reasons of refused values: the reason of a single value, otherwise a line for each refused one with its
/// number, from 1. Returns `None` if none is refused.
fn refusal<T>(results: &[Result<T, String>]) -> Option<String> {
    if let [Err(only)] = results {
        return Some(only.clone());
    }
    let refused =
        (1..).zip(results).filter_map(|(number, result)| Some((number, result.as_ref().err()?.as_str())));
    Some(refused_rows("record", refused)).filter(|text| !text.is_empty())
}

/// Returns whether a scope has packages of all languages.
pub fn is_of_every_language(scope: &MetadataScope) -> bool {
    scope.source.is_none() && scope.repo.is_none()
}

/// Returns the row among `rows` that sets the key for the packages of `row`. `rows` have the scope and the key of
/// `row`, and names with the same normalized name. The error is the reason why `row` is refused: one of `rows` is for
/// another R package, and sets the key for the same Python project.
fn existing_row(catalog: &Catalog, rows: Vec<Metadata>, row: &Metadata) -> Result<Option<Metadata>, String> {
    let is_r = |row: &Metadata| r::name::is_package(&row.scope.name);
    let mut other = None;
    for present in rows {
        if present.scope.name == row.scope.name {
            return Ok(Some(present));
        }
        if is_of_every_language(&row.scope) {
            other = Some(present);
        }
    }
    match other {
        Some(other) if is_r(&other) || is_r(row) => Err(format!(
            "{} cannot be set: the Python project '{}' has it already, as '{}' with the id {}; limit one of the two \
             values with --source or --repo",
            describe(catalog, row),
            row.scope.normalized_name,
            other.scope.name,
            other.id
        )),
        // Names of projects are folded: two that differ are not of one project.
        _ => Ok(None),
    }
}

/// A value to set, and the row that sets its key for the same packages already.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) row: &'a Metadata,
    pub(super) present: Option<&'a Metadata>,
}

/// Writes values and records them in the audit trail; returns a result for each, in order.
pub(super) fn write_rows<'a>(
    c: &mut dyn Conn,
    catalog: &Catalog,
    settings: impl Iterator<Item = Setting<'a>>,
    existing: OnExisting,
) -> Result<Vec<SetMetadata>, DbError> {
    let (mut set, mut audited) = (Vec::new(), Vec::new());
    for Setting { row, present } in settings {
        let (id, action, status) = match present {
            None => (0, "create metadata", MetadataStatus::Created),
            Some(present) if existing != OnExisting::Replace || present.value == row.value => {
                set.push((present.clone(), MetadataStatus::Unchanged));
                continue;
            }
            Some(present) => (present.id, "update metadata", MetadataStatus::Updated),
        };
        audited.push(audited_row(catalog, action, row));
        set.push((Metadata { id, ..row.clone() }, status));
    }
    let created = set.iter_mut().filter(|(_, status)| *status == MetadataStatus::Created);
    metadata::insert(c, created.map(|(row, _)| row).collect())?;
    let updated = set.iter().filter(|(_, status)| *status == MetadataStatus::Updated);
    metadata::update(c, updated.map(|(row, _)| row))?;
    audit::record_all(c, audited)?;
    Ok(set)
}

/// Returns the row of a change in the audit trail.
fn audited_row(catalog: &Catalog, action: &str, row: &Metadata) -> AuditRow {
    let object = format!("{} {}", row.scope.name, row.key);
    let detail = format!("{}value: {}", places(catalog, &row.scope), row.value);
    audit::row(action, "metadata", &object, &detail)
}

/// Deletes the rows with these ids, or all rows, and returns them.
///
/// # Errors
/// [`RepoError::NotFound`] if there is no row with one of the ids; nothing is deleted.
pub async fn delete(state: &State, ids: Option<Vec<i64>>) -> Result<Vec<Metadata>, RepoError> {
    let catalog = state.catalog.get();
    let write = state.db.write_unless_refused(move |c| {
        let rows = match &ids {
            None => metadata::list(c)?,
            Some(ids) => {
                let mut rows: Vec<Metadata> = Vec::with_capacity(ids.len());
                for id in ids {
                    match metadata::get(c, *id)? {
                        Some(row) if rows.iter().all(|other| other.id != row.id) => rows.push(row),
                        Some(_) => {}
                        None => {
                            let message =
                                format!("there is no metadata with the id {id}; nothing was deleted");
                            let hint = "rspm list metadata shows all";
                            return Err(RepoError::Unknown { message, hint }.into());
                        }
                    }
                }
                rows
            }
        };
        write_deletion(c, &catalog, &rows.iter().collect::<Vec<_>>())?;
        Ok(rows)
    });
    Ok(write.await?)
}

pub(super) fn write_deletion(c: &mut dyn Conn, catalog: &Catalog, rows: &[&Metadata]) -> Result<(), DbError> {
    metadata::delete(c, rows)?;
    audit::record_all(c, rows.iter().map(|row| audited_row(catalog, "delete metadata", row)).collect())
}

/// Checks a value and finds its source and repository. The row has no id and no author.
pub fn check(catalog: &Catalog, record: NewMetadata) -> Result<Metadata, RepoError> {
    let invalid = |reason: String| Err(RepoError::Invalid(reason));
    let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    let source = named(&record.source).map(|name| find::source(catalog, &name)).transpose()?;
    let repo = named(&record.repo).map(|name| find::repo(catalog, &name)).transpose()?;
    let language = match (source.map(|source| source.kind.language()), repo.map(|repo| repo.kind.language()))
    {
        (Some(a), Some(b)) if a != b => {
            return invalid(format!(
                "the source '{}' has packages of a different language than the repository '{}'",
                record.source, record.repo
            ));
        }
        (a, b) => a.or(b),
    };
    let name = record.package.trim();
    let excerpt: String = name.chars().take(80).collect();
    // Without a source and a repository, a name that several languages have is as the first of them writes it.
    let mut languages =
        Language::ALL.into_iter().filter(|other| language.map_or(other.is_listed(), |known| known == *other));
    let rules = languages.find_map(|language| {
        let rules = language::of(language);
        rules.is_name(name, false).then_some(rules)
    });
    let Some(rules) = rules else {
        return invalid(format!("'{excerpt}' is not the name of a package"));
    };
    let version = record.version.trim();
    if version.len() > MAX_VERSION || version.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return invalid(format!(
            "the version of '{excerpt}' is not valid: write it as in rspm list packages"
        ));
    }
    let key = record.key.trim();
    if key.is_empty() || key.chars().count() > MAX_KEY || key.chars().any(|c| c.is_control() || c == '=') {
        return invalid(format!(
            "a key of '{excerpt}' is refused: it must have 1 to {MAX_KEY} characters, without line breaks and '='"
        ));
    }
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if record.value.len() > MAX_VALUE || !record.value.chars().all(is_text) {
        return invalid(format!(
            "the value of '{key}' of '{excerpt}' is refused: it must be text of at most {MAX_VALUE} bytes"
        ));
    }
    let scope = MetadataScope {
        name: rules.fold(name).into_owned(),
        normalized_name: spelling_key(name),
        version: version.to_owned(),
        source: source.map(|source| source.id),
        repo: repo.map(|repo| repo.id),
    };
    let now = base::model::time::Timestamp(0);
    let (key, value) = (key.to_owned(), record.value);
    Ok(Metadata { id: 0, scope, key, value, actor: String::new(), changed_at: now })
}

fn describe(catalog: &Catalog, row: &Metadata) -> String {
    let places = places(catalog, &row.scope);
    let places = places.trim_end_matches("; ");
    let places = if places.is_empty() { String::new() } else { format!(" ({places})") };
    format!("the key '{}' of '{}'{places}", row.key, row.scope.name)
}

/// The limits of a scope, each followed by a semicolon: `version 1.0; source team; `.
fn places(catalog: &Catalog, scope: &MetadataScope) -> String {
    let source = scope.source.map(|id| catalog.source_name(id));
    let repo = scope.repo.map(|id| catalog.repo_name(id));
    let version = Some(&scope.version).filter(|version| !version.is_empty()).cloned();
    let limits = [("version", version), ("source", source), ("repository", repo)];
    limits.into_iter().filter_map(|(noun, name)| Some(format!("{noun} {}; ", name?))).collect()
}
