//! The last day on which each stored package file was requested, and the eviction of those that can be fetched again.

use super::durable_object::is_only_copy;
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// Records accesses: digests with days since the epoch. Digests without a row in `blob` are ignored.
pub fn record(c: &mut dyn Conn, accesses: &[(Sha256, i64)]) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO blob_access (sha256, day) SELECT sha256, $1 FROM blob WHERE sha256 = $2 \
        ON CONFLICT (sha256) DO UPDATE SET day = excluded.day WHERE blob_access.day < excluded.day";
    let row =
        |(digest, day): &(Sha256, i64)| -> Vec<Value> { vec![(*day).into(), digest.to_string().into()] };
    let rows: Vec<Vec<Value>> = accesses.iter().map(row).collect();
    c.execute_many(RECORD, &rows).map(drop)
}

/// The criteria of an eviction: objects that were stored before a certain time and not requested since a certain day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unused {
    pub stored_before: Timestamp,
    /// The last access to the objects was before this day, in days since the epoch.
    pub accessed_before: i64,
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct EvictableBlob from "blob b" {
        pub sha256: Sha256 = "b.sha256",
        pub class: String = "b.class",
        /// Its size in bytes.
        pub size: i64 = "b.size",
    }
}

// An object of these classes is evictable unless it is the only copy, belongs to an upload, or was accessed. READMEs
// are not evictable: their class is `readmes`.
macro_rules! evictable {
    ($start:literal, $end:literal) => {
        concat!(
            $start,
            " b.class IN ('cran', 'bioconductor', 'pypi', 'binaries') AND b.created_at < $1 AND EXISTS (SELECT 1 \
             FROM file f WHERE f.sha256 = b.sha256 AND f.state = 1) AND NOT EXISTS (SELECT 1 FROM blob_access a \
             WHERE a.sha256 = b.sha256 AND a.day >= $2) AND NOT EXISTS (SELECT 1 FROM upload u \
             WHERE u.sha256 = b.sha256) AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.other_sha256 = b.sha256) \
             AND NOT ",
            is_only_copy!(),
            $end
        )
    };
}

/// Returns at most `limit` objects that can be evicted, by digest, after the digest `after`.
pub fn evictable(
    c: &mut dyn Conn,
    unused: Unused,
    after: Option<Sha256>,
    limit: i64,
) -> Result<Vec<EvictableBlob>, DbError> {
    const FIND: &str =
        select!(EvictableBlob, evictable!("WHERE", " AND b.sha256 > $3 ORDER BY b.sha256 LIMIT $4"));
    let after = after.map(|digest| digest.to_string()).unwrap_or_default();
    let params = [unused.stored_before.into(), unused.accessed_before.into(), after.into(), limit.into()];
    c.all(FIND, &params)
}

/// Deletes the row of an object and marks its files as evicted; they keep their digest and size. Returns false and
/// changes nothing if the object cannot be evicted any more.
pub fn evict(c: &mut dyn Conn, sha256: Sha256, unused: Unused) -> Result<bool, DbError> {
    const DELETE: &str = evictable!(
        "DELETE FROM blob WHERE sha256 IN (SELECT b.sha256 FROM blob b WHERE",
        " AND b.sha256 = $3)"
    );
    const MARK: &str = "UPDATE file SET state = 2 WHERE sha256 = $1 AND state = 1";
    let digest = sha256.to_string();
    let params = [unused.stored_before.into(), unused.accessed_before.into(), digest.as_str().into()];
    if c.execute(DELETE, &params)? == 0 {
        return Ok(false);
    }
    c.execute(MARK, &[digest.as_str().into()])?;
    c.execute("DELETE FROM blob_access WHERE sha256 = $1", &[digest.into()])?;
    Ok(true)
}
