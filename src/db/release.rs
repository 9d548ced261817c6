//! Releases that are not alive in a tree, and those that no tree ever showed.

use super::{Conn, DbError};
use crate::model::digest::Md5;
use crate::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId};
use crate::model::time::Timestamp;

/// A release that was listed or archived once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dormant {
    /// The release.
    pub release: ReleaseId,
    /// Its package.
    pub package: PackageId,
    /// The package's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The revision.
    pub revision: i64,
    /// When it was published upstream, where known.
    pub published_at: Option<Timestamp>,
    /// Bytes, where known.
    pub size: Option<i64>,
    /// What upstream's index declared.
    pub md5: Option<Md5>,
    /// The lowest number of its records, 0 when it has none.
    pub variant: i64,
}

/// Calls `each` for every release of a source that no open life of the tree shows: upstream withdrew it, and may
/// bring it back.
pub fn dormant(
    c: &mut dyn Conn,
    origin: SourceId,
    tree: TreeId,
    each: &mut dyn FnMut(Dormant) -> Result<(), DbError>,
) -> Result<(), DbError> {
    const DORMANT: &str = "SELECT r.id, r.package_id, p.name, r.version, r.revision, r.published_at, f.size, f.md5, \
        coalesce((SELECT min(c.variant) FROM record c WHERE c.release_id = r.id), 0) \
        FROM release r JOIN package p ON p.id = r.package_id \
        JOIN file f ON f.release_id = r.id AND f.role = 'source' AND f.platform = '' \
        WHERE r.origin_id = $1 AND NOT EXISTS \
        (SELECT 1 FROM life l WHERE l.release_id = r.id AND l.tree_id = $2 AND l.to_seq = $3)";
    c.each(DORMANT, &[origin.into(), tree.into(), Seq::OPEN.into()], &mut |mut row| {
        each(Dormant {
            release: ReleaseId(row.int(0)?),
            package: PackageId(row.int(1)?),
            name: row.text(2)?,
            version: row.text(3)?,
            revision: row.int(4)?,
            published_at: row.opt_time(5)?,
            size: row.opt_int(6)?,
            md5: row.opt_parsed(7, "a digest")?,
            variant: row.int(8)?,
        })
    })
}

/// Removes up to `limit` releases of a source that never had a life: an import that was abandoned left them, and
/// they would stand in the way of the next one. Returns how many; call it until that is 0.
pub fn sweep(c: &mut dyn Conn, origin: SourceId, limit: i64) -> Result<u64, DbError> {
    // They are the newest numbers, so the search begins at that end.
    const LOST: &str = "SELECT r.id FROM release r WHERE r.origin_id = $1 \
        AND NOT EXISTS (SELECT 1 FROM life l WHERE l.release_id = r.id) ORDER BY r.id DESC LIMIT $2";
    let lost: Vec<Vec<_>> =
        c.query(LOST, &[origin.into(), limit.into()])?.into_iter().map(|row| row.0).collect();
    if lost.is_empty() {
        return Ok(0);
    }
    c.execute_many("DELETE FROM record WHERE release_id = $1", &lost)?;
    c.execute_many("DELETE FROM detail WHERE release_id = $1", &lost)?;
    c.execute_many("DELETE FROM file WHERE release_id = $1", &lost)?;
    c.execute_many("DELETE FROM release WHERE id = $1", &lost)
}
