//! Sources: the origins of packages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{Conn, DbError, Value, ids};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::name::Name;
use base::model::time::Timestamp;

row! {
    /// A source. Its language is that of its kind.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Source from "source" {
        pub id: SourceId,
        pub name: String,
        pub kind: SourceKind,
        pub created_at: Timestamp,
    }
}

/// The condition that a row `s` of the table `source` is a mirror.
macro_rules! is_mirror {
    () => {
        "s.id <= 3"
    };
}
pub(in crate::db) use is_mirror;

/// Returns every source that is not deleted, by id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<Source>, DbError> {
    range(c, SourceId(i64::MIN)..=SourceId(i64::MAX))
}

/// Returns the sources with these ids that are not deleted, by id.
pub fn range(c: &mut dyn Conn, ids: RangeInclusive<SourceId>) -> Result<Vec<Source>, DbError> {
    const RANGE: &str = select!(Source, "WHERE id >= $1 AND id <= $2 AND deleted_at IS NULL ORDER BY id");
    c.all(RANGE, &[(*ids.start()).into(), (*ids.end()).into()])
}

/// Returns the source with that id, if not deleted.
pub fn get(c: &mut dyn Conn, id: SourceId) -> Result<Option<Source>, DbError> {
    c.first(select!(Source, "WHERE id = $1 AND deleted_at IS NULL"), &[id.into()])
}

/// Returns the source of that name, if not deleted.
pub fn by_name(c: &mut dyn Conn, name: &str) -> Result<Option<Source>, DbError> {
    c.first(select!(Source, "WHERE name = $1 AND deleted_at IS NULL"), &[name.into()])
}

/// Returns the deleted sources, by id, with their kinds.
pub fn deleted(c: &mut dyn Conn) -> Result<Vec<(SourceId, SourceKind)>, DbError> {
    const LIST: &str = "SELECT id, kind FROM source WHERE deleted_at IS NOT NULL ORDER BY id";
    c.all(LIST, &[])
}

#[derive(Clone, Debug)]
pub struct NewSource {
    pub name: Name,
    pub kind: SourceKind,
}

/// Creates a source without trees. Call `clock::bump_catalog` afterwards.
///
/// # Errors
/// [`DbError::Conflict`] if the name is taken.
pub fn create(c: &mut dyn Conn, name: &Name, kind: SourceKind, now: Timestamp) -> Result<SourceId, DbError> {
    create_all(c, &[NewSource { name: name.clone(), kind }], now)
}

/// Like [`create`], for several sources, which get the next ids in their order; returns the first id.
pub fn create_all(c: &mut dyn Conn, sources: &[NewSource], now: Timestamp) -> Result<SourceId, DbError> {
    let first = ids::reserve(c, ids::Sequence::Source, sources.len())?;
    insert!(c, "source", (first..).zip(sources), |(id, source)| {
        id: id,
        name: source.name.as_str(),
        kind: source.kind.as_str(),
        language: source.kind.language().as_str(),
        created_at: now,
    })?;
    Ok(SourceId(first))
}

/// Creates the row of a built-in source that the first migration lacks, if it does not exist.
pub fn ensure_built_in(c: &mut dyn Conn, id: SourceId, kind: SourceKind) -> Result<(), DbError> {
    const CREATE: &str = "INSERT INTO source (id, name, kind, language, created_at) VALUES ($1, $2, $3, $4, 0) \
        ON CONFLICT (id) DO NOTHING";
    let (word, language) = (kind.as_str(), kind.language().as_str());
    c.execute(CREATE, &[id.into(), word.into(), word.into(), language.into()]).map(drop)
}

/// Renames a source. Call `clock::bump_catalog` afterwards. Returns false if the source does not exist.
///
/// # Errors
/// [`DbError::Conflict`] if the new name is taken.
pub fn rename(c: &mut dyn Conn, id: SourceId, name: &Name) -> Result<bool, DbError> {
    const RENAME: &str = "UPDATE source SET name = $1 WHERE id = $2 AND deleted_at IS NULL";
    Ok(c.execute(RENAME, &[name.as_str().into(), id.into()])? == 1)
}

/// Marks a source as deleted. Its history is not deleted. Its name becomes available: a blank, which no [`Name`]
/// contains, and the id are appended to the name in the row. Call `clock::bump_catalog` afterwards. Returns false
/// if the source does not exist.
pub fn delete(c: &mut dyn Conn, id: SourceId, now: Timestamp) -> Result<bool, DbError> {
    const DELETE: &str = "UPDATE source SET deleted_at = $1, name = name || ' ' || CAST(id AS TEXT) WHERE id = $2 \
        AND deleted_at IS NULL";
    Ok(c.execute(DELETE, &[now.into(), id.into()])? == 1)
}

/// Returns the names of sources by their ids. A deleted one has the name in its row: see [`delete`].
pub(in crate::db) fn names(
    c: &mut dyn Conn,
    ids: impl IntoIterator<Item = SourceId>,
) -> Result<BTreeMap<SourceId, String>, DbError> {
    let (ids, params) = distinct(ids);
    let names = c.many("SELECT name FROM source WHERE id = $1", &params)?;
    Ok(ids.into_iter().zip(names).filter_map(|(id, mut found)| Some((id, found.pop()?))).collect())
}

/// Checks that sources were not deleted. After `clock::lock`, the result is valid until the end of the transaction.
pub fn check_exist(c: &mut dyn Conn, ids: impl IntoIterator<Item = SourceId>) -> Result<(), DbError> {
    const FIND: &str = "SELECT name FROM source WHERE id = $1 AND deleted_at IS NOT NULL";
    let deleted: Vec<Vec<String>> = c.many(FIND, &distinct(ids).1)?;
    let Some(name) = deleted.into_iter().flatten().next() else { return Ok(()) };
    // See [`delete`].
    let name = name.split_once(' ').map_or(name.as_str(), |(name, _)| name).to_owned();
    Err(DbError::SourceDeleted(name))
}

/// Returns each id once, and the rows of parameters of a query for each.
fn distinct(ids: impl IntoIterator<Item = SourceId>) -> (BTreeSet<SourceId>, Vec<Vec<Value>>) {
    let ids: BTreeSet<SourceId> = ids.into_iter().collect();
    let params = ids.iter().map(|id| vec![(*id).into()]).collect();
    (ids, params)
}
