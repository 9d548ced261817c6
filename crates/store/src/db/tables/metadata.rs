//! Metadata of packages that administrators set: keys with values. A row applies to a package or to one version of
//! it, in every source and repository or in one.

use super::ids::{self, Sequence};
use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
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

/// Returns the rows with this scope and key, also under other spellings of the name that have the same normalized name.
pub fn of_scope(c: &mut dyn Conn, scope: &MetadataScope, key: &str) -> Result<Vec<Metadata>, DbError> {
    let params = [
        scope.normalized_name.as_str().into(),
        scope.version.as_str().into(),
        scope.source.map_or(0, |id| id.0).into(),
        scope.repo.map_or(0, |id| id.0).into(),
        key.into(),
    ];
    let sql = select!(
        Metadata,
        "WHERE normalized_name = $1 AND version = $2 AND source_id = $3 AND repo_id = $4 AND key = $5 ORDER BY id"
    );
    c.all(sql, &params)
}

/// Inserts a row, whose id is ignored; returns its id.
///
/// # Errors
/// [`DbError::Conflict`] if there is a row with this scope and key.
pub fn insert(c: &mut dyn Conn, row: &Metadata) -> Result<i64, DbError> {
    const INSERT: &str = "INSERT INTO metadata (id, name, normalized_name, version, source_id, repo_id, key, value, \
        actor, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let id = ids::reserve(c, Sequence::Metadata, 1)?;
    let MetadataScope { name, normalized_name, version, source, repo } = &row.scope;
    let params = [
        id.into(),
        name.as_str().into(),
        normalized_name.as_str().into(),
        version.as_str().into(),
        source.map_or(0, |id| id.0).into(),
        repo.map_or(0, |id| id.0).into(),
        row.key.as_str().into(),
        row.value.as_str().into(),
        row.actor.as_str().into(),
        row.changed_at.into(),
    ];
    c.execute(INSERT, &params)?;
    Ok(id)
}

/// Replaces the value of the row with the id of `row`.
pub fn update(c: &mut dyn Conn, row: &Metadata) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE metadata SET value = $1, actor = $2, changed_at = $3 WHERE id = $4";
    let params = [row.value.as_str().into(), row.actor.as_str().into(), row.changed_at.into(), row.id.into()];
    c.execute(UPDATE, &params).map(drop)
}

pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<Metadata>, DbError> {
    c.first(select!(Metadata, "WHERE id = $1"), &[id.into()])
}

pub fn delete(c: &mut dyn Conn, id: i64) -> Result<(), DbError> {
    c.execute("DELETE FROM metadata WHERE id = $1", &[id.into()]).map(drop)
}

/// Deletes the rows of a source; returns their number.
pub fn delete_of_source(c: &mut dyn Conn, source: SourceId) -> Result<u64, DbError> {
    c.execute("DELETE FROM metadata WHERE source_id = $1", &[source.into()])
}

/// Deletes the rows of a repository; returns their number.
pub fn delete_of_repo(c: &mut dyn Conn, repo: RepoId) -> Result<u64, DbError> {
    c.execute("DELETE FROM metadata WHERE repo_id = $1", &[repo.into()])
}
