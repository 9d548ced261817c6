//! Metadata of packages that administrators set: keys with values. A row applies to a package or to one version of
//! it, in every source and repository or in one.

use std::collections::BTreeSet;

use super::ids::{self, Sequence};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::{RepoId, SourceId};
use base::model::time::Timestamp;

row! {
    /// The packages that a row applies to.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MetadataScope {
        /// The package as written; the normalized name if the row is for Python packages only, or if the text is not the name
        /// of an R package.
        pub name: String,
        /// Its normalized name as a Python project.
        pub normalized_name: String,
        /// The version; empty for every version.
        pub version: String,
        /// The source; `None` for every source.
        pub source: Option<SourceId>,
        /// The repository; `None` for every repository.
        pub repo: Option<RepoId>,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Metadata from "metadata" {
        pub id: i64,
        pub scope: MetadataScope =
            "name, normalized_name, version, nullif(source_id, 0), nullif(repo_id, 0)",
        pub key: String,
        pub value: String,
        pub actor: String,
        pub changed_at: Timestamp,
    }
}

/// Returns all rows, by package and id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<Metadata>, DbError> {
    c.all(select!(Metadata, "ORDER BY name, id"), &[])
}

/// Returns the rows of each of these R packages, in the same order.
pub fn of_r(c: &mut dyn Conn, names: &[String]) -> Result<Vec<Vec<Metadata>>, DbError> {
    of(c, select!(Metadata, "WHERE name = $1 ORDER BY id"), names)
}

/// Returns the rows of each of these Python projects by their normalized names, in the same order.
pub fn of_python(c: &mut dyn Conn, normalized_names: &[String]) -> Result<Vec<Vec<Metadata>>, DbError> {
    of(c, select!(Metadata, "WHERE normalized_name = $1 ORDER BY id"), normalized_names)
}

/// Returns the rows that `sql` selects for each name, in the same order.
fn of(c: &mut dyn Conn, sql: &'static str, names: &[String]) -> Result<Vec<Vec<Metadata>>, DbError> {
    let params: Vec<_> = names.iter().map(|name| vec![name.as_str().into()]).collect();
    c.many(sql, &params)
}

/// Returns for each of these rows those with its scope and key, also under other spellings of the name that have the same
/// normalized name.
pub fn of_scopes(c: &mut dyn Conn, rows: &[&Metadata]) -> Result<Vec<Vec<Metadata>>, DbError> {
    const FIND: &str = select!(
        Metadata,
        "WHERE normalized_name = $1 AND version = $2 AND source_id = $3 AND repo_id = $4 AND key = $5 ORDER BY id"
    );
    let params = |row: &&Metadata| -> Vec<Value> {
        let MetadataScope { normalized_name, version, source, repo, .. } = &row.scope;
        vec![
            normalized_name.as_str().into(),
            version.as_str().into(),
            source.map_or(0, |id| id.0).into(),
            repo.map_or(0, |id| id.0).into(),
            row.key.as_str().into(),
        ]
    };
    c.many(FIND, &rows.iter().map(params).collect::<Vec<_>>())
}

/// Inserts rows, and gives them the next ids in their order.
///
/// # Errors
/// [`DbError::Conflict`] if there is a row with the scope and key of one.
pub fn insert(c: &mut dyn Conn, rows: Vec<&mut Metadata>) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let first = ids::reserve(c, Sequence::Metadata, rows.len())?;
    let numbered = (first..).zip(rows).map(|(id, row)| {
        row.id = id;
        &*row
    });
    insert!(c, "metadata", numbered, |row| {
        id: row.id,
        name: row.scope.name.as_str(),
        normalized_name: row.scope.normalized_name.as_str(),
        version: row.scope.version.as_str(),
        source_id: row.scope.source.map_or(0, |id| id.0),
        repo_id: row.scope.repo.map_or(0, |id| id.0),
        key: row.key.as_str(),
        value: row.value.as_str(),
        actor: row.actor.as_str(),
        changed_at: row.changed_at,
    })
}

/// Replaces the values of the rows with the ids of `rows`.
pub fn update<'a>(c: &mut dyn Conn, rows: impl Iterator<Item = &'a Metadata>) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE metadata SET value = $1, actor = $2, changed_at = $3 WHERE id = $4";
    let params = |row: &Metadata| -> Vec<Value> {
        vec![row.value.as_str().into(), row.actor.as_str().into(), row.changed_at.into(), row.id.into()]
    };
    c.execute_many(UPDATE, &rows.map(params).collect::<Vec<_>>()).map(drop)
}

pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<Metadata>, DbError> {
    c.first(select!(Metadata, "WHERE id = $1"), &[id.into()])
}

pub fn delete(c: &mut dyn Conn, rows: &[&Metadata]) -> Result<(), DbError> {
    let params: Vec<Vec<Value>> = rows.iter().map(|row| vec![row.id.into()]).collect();
    c.execute_many("DELETE FROM metadata WHERE id = $1", &params).map(drop)
}

/// Deletes the rows of a source; returns their number.
pub fn delete_of_source(c: &mut dyn Conn, source: SourceId) -> Result<u64, DbError> {
    c.execute("DELETE FROM metadata WHERE source_id = $1", &[source.into()])
}

/// Deletes the rows of repositories.
pub fn delete_of_repos(c: &mut dyn Conn, repos: &BTreeSet<RepoId>) -> Result<(), DbError> {
    let rows: Vec<Vec<Value>> = repos.iter().map(|repo| vec![(*repo).into()]).collect();
    c.execute_many("DELETE FROM metadata WHERE repo_id = $1", &rows).map(drop)
}
