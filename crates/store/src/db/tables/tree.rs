//! Trees: package lists, each with its own history, the claims of the jobs that write them, and their published states, the
//! steps.

use std::ops::RangeInclusive;

use super::{Conn, DbError, ids};
use crate::db::engine::columns::{column, insert, row, select};
use base::model::ids::{Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use base::words;

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Role {
        Source = "source",
        Binary = "binary",
    }
    else "role"
}

column! {
    Role = "a role",
}

words! {
    /// The meaning of a tree's sequence numbers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Axis {
        Step = "step",
        /// Microseconds since the epoch.
        Time = "time",
    }
    else "axis"
}

column! {
    Axis = "an axis",
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tree from "tree" {
        pub id: TreeId,
        pub source: SourceId = "source_id",
        /// Its name within source and role: `src/contrib`, `4.5-noble`.
        pub label: String,
        pub role: Role,
        /// The meaning of its sequence numbers.
        pub axis: Axis,
        /// The oldest step, `None` before the first publish.
        pub first: Option<Seq>,
        pub head: Option<Seq>,
        pub pending: Option<Seq>,
        pub pending_job: Option<i64>,
    }
}

/// Returns every tree, by id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<Tree>, DbError> {
    c.all(select!(Tree, "ORDER BY id"), &[])
}

pub fn get(c: &mut dyn Conn, tree: TreeId) -> Result<Option<Tree>, DbError> {
    c.first(select!(Tree, "WHERE id = $1"), &[tree.into()])
}

/// Returns the trees of a source, by id.
pub fn of_source(c: &mut dyn Conn, source: SourceId) -> Result<Vec<Tree>, DbError> {
    of_sources(c, source..=source)
}

/// Returns the trees of sources with these ids, by id.
pub fn of_sources(c: &mut dyn Conn, sources: RangeInclusive<SourceId>) -> Result<Vec<Tree>, DbError> {
    // Sorted here: with ORDER BY, SQLite would scan every tree in the order of the table.
    const LIST: &str = select!(Tree, "WHERE source_id >= $1 AND source_id <= $2");
    let mut trees: Vec<Tree> = c.all(LIST, &[(*sources.start()).into(), (*sources.end()).into()])?;
    trees.sort_unstable_by_key(|tree| tree.id);
    Ok(trees)
}

/// Returns the tree of source packages of a built-in source with one such tree, which the first migration creates.
pub fn built_in(c: &mut dyn Conn, source: SourceId) -> Result<Tree, DbError> {
    let missing = DbError::Shape { column: 0, found: "no row", expected: "the tree of a built-in source" };
    of_source(c, source)?.into_iter().find(|tree| tree.role == Role::Source).ok_or(missing)
}

#[derive(Clone, Debug)]
pub struct NewTree<'a> {
    pub source: SourceId,
    pub label: &'a str,
    pub role: Role,
    pub axis: Axis,
}

/// Creates an empty tree. Call `clock::bump_catalog` afterwards.
pub fn create(
    c: &mut dyn Conn,
    source: SourceId,
    label: &str,
    role: Role,
    axis: Axis,
) -> Result<TreeId, DbError> {
    create_all(c, &[NewTree { source, label, role, axis }])
}

/// Like [`create`], for several trees, which get the next ids in their order; returns the first id.
pub fn create_all(c: &mut dyn Conn, trees: &[NewTree<'_>]) -> Result<TreeId, DbError> {
    let first = ids::reserve(c, ids::Sequence::Tree, trees.len())?;
    insert!(c, "tree", (first..).zip(trees), |(id, tree)| {
        id: id,
        source_id: tree.source,
        label: tree.label,
        role: tree.role.as_str(),
        axis: tree.axis.as_str(),
    })?;
    Ok(TreeId(first))
}

/// Claims a tree for writing and returns the step to write: one after the head, 1 in an empty tree. `job` is any number
/// that identifies the job.
///
/// # Errors
/// [`DbError::Busy`] if another job has claimed it; [`DbError::Conflict`] if there is no such tree.
pub fn begin(c: &mut dyn Conn, tree: TreeId, job: i64) -> Result<Seq, DbError> {
    const CLAIM: &str = "UPDATE tree SET pending = CASE WHEN head IS NULL THEN 1 ELSE head + 1 END, pending_job = $1 \
        WHERE id = $2 AND pending IS NULL RETURNING pending";
    if let Some(seq) = c.first(CLAIM, &[job.into(), tree.into()])? {
        return Ok(seq);
    }
    match get(c, tree)? {
        Some(row) => Err(DbError::Busy { tree, job: row.pending_job.unwrap_or(0) }),
        None => Err(DbError::Conflict(format!("there is no tree {tree}"))),
    }
}

/// Undoes the pending step of a tree and ends the claim. Releases without a life remain until
/// [`super::release::sweep`]. Does nothing if no step is pending.
pub fn abandon(c: &mut dyn Conn, tree: TreeId) -> Result<(), DbError> {
    const DELETE_NEW_LIVES: &str = "DELETE FROM life WHERE tree_id = $1 AND from_seq = $2";
    const CONTINUE_LIVES: &str = "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND to_seq = $3";
    const END_CLAIM: &str = "UPDATE tree SET pending = NULL, pending_job = NULL WHERE id = $1";
    if let Some(pending) = get(c, tree)?.and_then(|t| t.pending) {
        c.execute(DELETE_NEW_LIVES, &[tree.into(), pending.into()])?;
        c.execute(CONTINUE_LIVES, &[Seq::OPEN.into(), tree.into(), pending.into()])?;
        c.execute(END_CLAIM, &[tree.into()])?;
    }
    Ok(())
}

/// Ends the claim of a tree. Call it only if nothing was written at the pending step.
pub fn end_claim(c: &mut dyn Conn, tree: TreeId) -> Result<(), DbError> {
    c.execute("UPDATE tree SET pending = NULL, pending_job = NULL WHERE id = $1", &[tree.into()]).map(drop)
}

/// Moves the head to the pending step. Returns the step and the source of the tree.
pub(in crate::db) fn publish(
    c: &mut dyn Conn,
    tree: TreeId,
    at: Timestamp,
    tx: TxId,
) -> Result<(Seq, SourceId), DbError> {
    const MOVE: &str = "UPDATE tree SET head = pending, \
        first = CASE WHEN first IS NULL THEN pending ELSE first END, pending = NULL, pending_job = NULL \
        WHERE id = $1 AND pending IS NOT NULL RETURNING head, source_id";
    let (seq, source) = c.first(MOVE, &[tree.into()])?.ok_or(DbError::NothingPending(tree))?;
    insert_step(c, tree, Step { seq, at, tx })?;
    Ok((seq, source))
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Step from "step" {
        /// Its number within the tree.
        pub seq: Seq,
        pub at: Timestamp,
        pub tx: TxId = "tx_id",
    }
}

/// Returns the steps of a tree, oldest first.
pub fn steps(c: &mut dyn Conn, tree: TreeId) -> Result<Vec<Step>, DbError> {
    const LIST: &str = select!(Step, "WHERE tree_id = $1 ORDER BY seq");
    c.all(LIST, &[tree.into()])
}

pub fn step(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Option<Step>, DbError> {
    const GET: &str = select!(Step, "WHERE tree_id = $1 AND seq = $2");
    c.first(GET, &[tree.into(), seq.into()])
}

/// Returns the instant of the newest step of a tree; `None` before the first one.
pub fn newest_instant(c: &mut dyn Conn, tree: TreeId) -> Result<Option<Timestamp>, DbError> {
    const NEWEST: &str =
        "SELECT s.at FROM tree t JOIN step s ON s.tree_id = t.id AND s.seq = t.head WHERE t.id = $1";
    c.first(NEWEST, &[tree.into()])
}

/// Returns the steps published by transactions after `tx`, by tree, oldest first, to update an in-memory copy.
pub fn steps_after(c: &mut dyn Conn, tx: TxId) -> Result<Vec<(TreeId, Step)>, DbError> {
    // Sorted here: with ORDER BY, SQLite would scan every step in the order of the table.
    const SELECT: &str = "SELECT tree_id, seq, at, tx_id FROM step WHERE tx_id > $1";
    let mut steps: Vec<(TreeId, Step)> = c.all(SELECT, &[tx.into()])?;
    steps.sort_unstable_by_key(|(tree, step)| (*tree, step.seq));
    Ok(steps)
}

pub(in crate::db) fn insert_step(c: &mut dyn Conn, tree: TreeId, step: Step) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO step (tree_id, seq, at, tx_id) VALUES ($1, $2, $3, $4)";
    c.execute(INSERT, &[tree.into(), step.seq.into(), step.at.into(), step.tx.into()]).map(drop)
}
