//! Resets the states of indexes that were synced while the machine's clock was ahead. The sequence numbers of their trees
//! are times, so a state in the future is the newest one until that time.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::ids::{Seq, SourceId, TreeId};
use base::model::time::Timestamp;

row! {
    /// A tree of an index whose newest state is in the future.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FutureTree from "tree" {
        pub tree: TreeId = "id",
        pub source: SourceId = "source_id",
        pub head: Timestamp,
    }
}

/// Returns the trees of indexes whose head is later than `limit`, by id.
pub fn future_trees(c: &mut dyn Conn, limit: Timestamp) -> Result<Vec<FutureTree>, DbError> {
    const FIND: &str = select!(FutureTree, "WHERE axis = 'time' AND head > $1 ORDER BY id");
    c.all(FIND, &[limit.into()])
}

/// Sets the head of a tree to `now`, and moves all rows of its index with it: a time from `now` on becomes the last
/// microsecond before `now` if it was before the head, and `now` otherwise. The newest state is the same as before, because
/// its sequence number is one less than the head, and so is every earlier state up to `now`. A row that was valid only
/// between two moved times is deleted.
pub fn reset(c: &mut dyn Conn, future: FutureTree, now: Timestamp) -> Result<(), DbError> {
    const OF_TREE: [&str; 3] = [
        "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND to_seq >= $3 AND to_seq < $4",
        "UPDATE life SET from_seq = $1 WHERE tree_id = $2 AND from_seq >= $3 AND from_seq < $4",
        "UPDATE curation SET base_seq = $1 WHERE base_tree_id = $2 AND base_seq >= $3 AND base_seq < $4",
    ];
    const OF_SOURCE: [&str; 4] = [
        "UPDATE reading SET valid_at = $1 WHERE source_id = $2 AND valid_at >= $3 AND valid_at < $4",
        "UPDATE project SET changed_at = $1 WHERE source_id = $2 AND changed_at >= $3 AND changed_at < $4",
        "UPDATE project SET to_at = $1 WHERE source_id = $2 AND to_at >= $3 AND to_at < $4",
        "UPDATE project SET from_at = $1 WHERE source_id = $2 AND from_at >= $3 AND from_at < $4",
    ];
    const HEAD: &str = "UPDATE tree SET head = $1 WHERE id = $2";
    let FutureTree { tree, source, head } = future;
    delete_empty(c, future, now)?;
    let before = Timestamp(now.0 - 1);
    // In this order, because `now` is before the head.
    for (to, low, high) in [(before, now.0, head.0), (now, head.0, Seq::OPEN.0)] {
        for sql in OF_TREE {
            c.execute(sql, &[to.into(), tree.into(), low.into(), high.into()])?;
        }
        for sql in OF_SOURCE {
            c.execute(sql, &[to.into(), source.into(), low.into(), high.into()])?;
        }
    }
    c.execute(HEAD, &[now.into(), tree.into()]).map(drop)
}

/// Deletes the periods that would be empty after [`reset`].
fn delete_empty(c: &mut dyn Conn, future: FutureTree, now: Timestamp) -> Result<(), DbError> {
    const LIVES: &str = "DELETE FROM life WHERE tree_id = $1 AND from_seq >= $2 AND to_seq >= $3 AND to_seq < $4 \
        AND (to_seq < $5 OR from_seq >= $5)";
    const PROJECTS: &str = "DELETE FROM project WHERE source_id = $1 AND from_at >= $2 AND to_at >= $3 AND to_at < $4 \
        AND (to_at < $5 OR from_at >= $5)";
    let FutureTree { tree, source, head } = future;
    let before = Timestamp(now.0 - 1);
    let open = Seq::OPEN;
    c.execute(LIVES, &[tree.into(), before.into(), now.into(), open.into(), head.into()])?;
    c.execute(PROJECTS, &[source.into(), before.into(), now.into(), open.into(), head.into()]).map(drop)
}
