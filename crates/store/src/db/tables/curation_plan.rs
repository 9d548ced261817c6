//! The last plan of each update of a curated source, so that a commit can be compared with it.

use super::{Conn, DbError};
use base::model::digest::Sha256;
use base::model::ids::TreeId;
use base::model::time::Timestamp;

/// Writes the selection of a plan, replacing that of an earlier plan for the same request, and deletes plans from
/// before `expired`.
pub fn put(
    c: &mut dyn Conn,
    tree: TreeId,
    request: Sha256,
    planned_at: Timestamp,
    expired: Timestamp,
    selection: &[u8],
) -> Result<(), DbError> {
    const EXPIRE: &str = "DELETE FROM curation_plan WHERE planned_at < $1";
    const WRITE: &str = "INSERT INTO curation_plan (tree_id, request, planned_at, selection) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (tree_id, request) DO UPDATE SET planned_at = excluded.planned_at, selection = excluded.selection";
    c.execute(EXPIRE, &[expired.into()])?;
    let row = [tree.into(), request.to_string().into(), planned_at.into(), selection.into()];
    c.execute(WRITE, &row).map(drop)
}

/// Returns the time and the selection of the last plan for a request.
pub fn get(c: &mut dyn Conn, tree: TreeId, request: Sha256) -> Result<Option<(Timestamp, Vec<u8>)>, DbError> {
    const FIND: &str = "SELECT planned_at, selection FROM curation_plan WHERE tree_id = $1 AND request = $2";
    c.first(FIND, &[tree.into(), request.to_string().into()])
}
