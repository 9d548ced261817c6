//! Steps: the published states of a tree, and the time of each.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::ids::{Seq, TreeId, TxId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Step from "step" {
        /// Its number within the tree.
        pub seq: Seq,
        pub at: Timestamp,
        /// The transaction that published it.
        pub tx: TxId = "tx_id",
    }
}

/// Returns the steps of a tree, oldest first.
pub fn list(c: &mut dyn Conn, tree: TreeId) -> Result<Vec<Step>, DbError> {
    const LIST: &str = select!(Step, "WHERE tree_id = $1 ORDER BY seq");
    c.all(LIST, &[tree.into()])
}

pub fn get(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Option<Step>, DbError> {
    const GET: &str = select!(Step, "WHERE tree_id = $1 AND seq = $2");
    c.first(GET, &[tree.into(), seq.into()])
}

/// Returns the steps of every tree, by tree, oldest first.
pub fn all(c: &mut dyn Conn) -> Result<Vec<(TreeId, Step)>, DbError> {
    const ALL: &str = "SELECT tree_id, seq, at, tx_id FROM step ORDER BY tree_id, seq";
    c.all(ALL, &[])
}

/// Returns the steps published by transactions after `tx`, by tree, oldest first, to update an in-memory copy.
pub fn list_after(c: &mut dyn Conn, tx: TxId) -> Result<Vec<(TreeId, Step)>, DbError> {
    // Sorted here: with ORDER BY, SQLite would scan every step in the order of the table.
    const SELECT: &str = "SELECT tree_id, seq, at, tx_id FROM step WHERE tx_id > $1";
    let mut steps: Vec<(TreeId, Step)> = c.all(SELECT, &[tx.into()])?;
    steps.sort_unstable_by_key(|(tree, step)| (*tree, step.seq));
    Ok(steps)
}

pub(in crate::db) fn insert(c: &mut dyn Conn, tree: TreeId, step: Step) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO step (tree_id, seq, at, tx_id) VALUES ($1, $2, $3, $4)";
    c.execute(INSERT, &[tree.into(), step.seq.into(), step.at.into(), step.tx.into()]).map(drop)
}
