//! Queries of a source's releases that do not depend on a tree: all, by version, former ones, and those without a life.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::{Md5, Sha256};
use base::model::ids::{PackageId, ReleaseId, SourceId, TreeId};
use base::model::time::Timestamp;

row! {
    /// A release that was listed or archived in the past.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FormerRelease from "release r JOIN package p ON p.id = r.package_id JOIN file f ON f.release_id = r.id \
        AND f.role = 'source' AND f.platform = ''" {
        pub release: ReleaseId = "r.id",
        pub package: PackageId = "r.package_id",
        pub name: String = "p.name",
        pub version: String = "r.version",
        pub revision: i64 = "r.revision",
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp> = "r.published_at",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// MD5 that the upstream index declared.
        pub md5: Option<Md5> = "f.md5",
        pub sha256: Option<Sha256> = "f.sha256",
        /// The lowest number of its records, 0 if it has none; the next record gets the number below.
        pub variant: i64 = "coalesce((SELECT min(c.variant) FROM record c WHERE c.release_id = r.id), 0)",
    }
}

/// Returns every release of a source, by id.
///
/// The caller computes differences in memory: an anti-join ran for minutes on PostgreSQL right after a large import,
/// when the planner has no statistics of the new rows yet.
pub fn all(c: &mut dyn Conn, origin: SourceId) -> Result<Vec<ReleaseId>, DbError> {
    const ALL: &str = "SELECT id FROM release WHERE origin_id = $1 ORDER BY id";
    c.all(ALL, &[origin.into()])
}

/// Returns the releases of a source that have one of these package names and versions.
pub fn by_versions(
    c: &mut dyn Conn,
    origin: SourceId,
    versions: &[(String, String)],
) -> Result<Vec<ReleaseId>, DbError> {
    const SELECT: &str = "SELECT r.id FROM package p JOIN release r ON r.package_id = p.id \
        WHERE p.language = (SELECT s.language FROM source s WHERE s.id = $1) \
        AND p.name = $2 AND r.version = $3 AND r.origin_id = $1";
    let params: Vec<Vec<Value>> = versions
        .iter()
        .map(|(name, version)| vec![origin.into(), name.as_str().into(), version.as_str().into()])
        .collect();
    Ok(c.many(SELECT, &params)?.into_iter().flatten().collect())
}

/// Returns the data of releases that upstream no longer lists and may list again. At most 2,000 per call.
pub fn former_releases(c: &mut dyn Conn, releases: &[ReleaseId]) -> Result<Vec<FormerRelease>, DbError> {
    const SELECT: &str = select!(FormerRelease, "WHERE r.id = $1");
    let params: Vec<Vec<Value>> = releases.iter().map(|release| vec![(*release).into()]).collect();
    Ok(c.many(SELECT, &params)?.into_iter().flatten().collect())
}

/// Returns the lowest record number below 0 of each release in the other trees; nothing for a single tree.
pub fn variants(c: &mut dyn Conn, origin: SourceId, tree: TreeId) -> Result<Vec<(ReleaseId, i64)>, DbError> {
    const VARIANTS: &str = "SELECT l.release_id, min(l.variant) FROM life l JOIN tree t ON t.id = l.tree_id \
        WHERE t.source_id = $1 AND t.id <> $2 AND t.role = 'source' AND l.variant < 0 GROUP BY l.release_id";
    c.all(VARIANTS, &[origin.into(), tree.into()])
}

/// Deletes up to `limit` releases of a source that never had a life, and returns their number; call it until it returns
/// 0. An abandoned import left these releases; they would conflict with the next import.
pub fn sweep(c: &mut dyn Conn, origin: SourceId, limit: i64) -> Result<u64, DbError> {
    // Releases of an abandoned import have the highest ids, so the search begins there.
    const SELECT: &str = "SELECT r.id FROM release r WHERE r.origin_id = $1 \
        AND NOT EXISTS (SELECT 1 FROM life l WHERE l.release_id = r.id) ORDER BY r.id DESC LIMIT $2";
    let unlisted: Vec<Vec<_>> =
        c.query(SELECT, &[origin.into(), limit.into()])?.into_iter().map(|row| row.0).collect();
    if unlisted.is_empty() {
        return Ok(0);
    }
    c.execute_many("DELETE FROM record WHERE release_id = $1", &unlisted)?;
    c.execute_many("DELETE FROM detail WHERE release_id = $1", &unlisted)?;
    c.execute_many("DELETE FROM file WHERE release_id = $1", &unlisted)?;
    c.execute_many("DELETE FROM release WHERE id = $1", &unlisted)
}
