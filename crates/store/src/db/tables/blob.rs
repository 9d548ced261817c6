//! Blobs: bytes in storage, by digest. The blob is written before its row; deletes remove the row first.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Blob from "blob" {
        pub sha256: Sha256,
        /// The storage class that contains it.
        pub class: String,
        /// Size in bytes.
        pub size: i64,
        /// Time at which it was stored.
        pub created_at: Timestamp,
    }
}

/// Records a blob that is in storage. Returns false if its digest has a blob already, in any class.
pub fn insert(c: &mut dyn Conn, blob: &Blob) -> Result<bool, DbError> {
    const INSERT: &str = "INSERT INTO blob (sha256, class, size, state, created_at) VALUES ($1, $2, $3, 0, $4) \
        ON CONFLICT (sha256) DO NOTHING";
    let class = blob.class.as_str().into();
    let params = [blob.sha256.to_string().into(), class, blob.size.into(), blob.created_at.into()];
    Ok(c.execute(INSERT, &params)? == 1)
}

pub fn get(c: &mut dyn Conn, sha256: Sha256) -> Result<Option<Blob>, DbError> {
    c.first(select!(Blob, "WHERE sha256 = $1"), &[sha256.to_string().into()])
}

// The condition that no row refers to the blob with this digest.
macro_rules! is_unreferenced {
    ($sha256:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM file f WHERE f.sha256 = ",
            $sha256,
            " AND f.state = 1) AND NOT EXISTS (SELECT 1 FROM detail d WHERE d.readme_sha256 = ",
            $sha256,
            ") AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.sha256 = ",
            $sha256,
            ") AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.other_sha256 = ",
            $sha256,
            ")"
        )
    };
}

/// Returns the number of rows that refer to a blob, as a stored file or as the README of a release.
pub fn references(c: &mut dyn Conn, sha256: Sha256) -> Result<i64, DbError> {
    const COUNT: &str = "SELECT (SELECT count(*) FROM file WHERE sha256 = $1 AND state = 1) \
        + (SELECT count(*) FROM detail WHERE readme_sha256 = $1)";
    Ok(c.first(COUNT, &[sha256.to_string().into()])?.unwrap_or_default())
}

/// Returns at most `limit` unreferenced blobs stored before `before`, by digest, after the digest `after`. `before`
/// protects new blobs from the sweep: the rows that refer to them may not be written yet.
pub fn unreferenced(
    c: &mut dyn Conn,
    before: Timestamp,
    after: Option<Sha256>,
    limit: i64,
) -> Result<Vec<Blob>, DbError> {
    const FIND: &str = select!(
        Blob,
        concat!(
            "WHERE created_at < $1 AND sha256 > $2 AND ",
            is_unreferenced!("blob.sha256"),
            " ORDER BY sha256 LIMIT $3"
        )
    );
    let after = after.map(|digest| digest.to_string()).unwrap_or_default();
    c.all(FIND, &[before.into(), after.into(), limit.into()])
}

/// Returns the number of unreferenced blobs stored before `before`, by storage class.
pub fn count_unreferenced(c: &mut dyn Conn, before: Timestamp) -> Result<Vec<(String, i64)>, DbError> {
    const COUNT: &str = concat!(
        "SELECT class, count(*) FROM blob WHERE created_at < $1 AND ",
        is_unreferenced!("blob.sha256"),
        " GROUP BY class"
    );
    c.all(COUNT, &[before.into()])
}

/// Returns at most `limit` blobs by digest, after the digest `after`.
pub fn page(c: &mut dyn Conn, after: Option<Sha256>, limit: i64) -> Result<Vec<Blob>, DbError> {
    let after = after.map(|digest| digest.to_string()).unwrap_or_default();
    c.all(select!(Blob, "WHERE sha256 > $1 ORDER BY sha256 LIMIT $2"), &[after.into(), limit.into()])
}

/// Returns the digests of at most `limit` blobs of a directory stored before `before`, after the digest `after`.
pub fn in_directory(
    c: &mut dyn Conn,
    directory: &str,
    before: Timestamp,
    after: Option<Sha256>,
    limit: i64,
) -> Result<Vec<Sha256>, DbError> {
    const FIND: &str = "SELECT sha256 FROM blob WHERE class = $1 AND created_at < $2 AND sha256 > $3 ORDER BY sha256 \
        LIMIT $4";
    let after = after.map(|digest| digest.to_string()).unwrap_or_default();
    c.all(FIND, &[directory.into(), before.into(), after.into(), limit.into()])
}

pub fn directories(c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
    c.all("SELECT class FROM blob GROUP BY class", &[])
}

/// Records that the bytes of a blob are about to be stored, again or for the first time. The creation time of its row
/// becomes that of `blob`, so that no server's sweep deletes the blob before its referring row is written.
pub fn reserve(c: &mut dyn Conn, blob: &Blob) -> Result<(), DbError> {
    const RESERVE: &str = "INSERT INTO blob (sha256, class, size, state, created_at) VALUES ($1, $2, $3, 0, $4) \
        ON CONFLICT (sha256) DO UPDATE SET created_at = excluded.created_at";
    let class = blob.class.as_str().into();
    let params = [blob.sha256.to_string().into(), class, blob.size.into(), blob.created_at.into()];
    c.execute(RESERVE, &params).map(drop)
}

/// As [`reserve`]; returns the row. Its class is that of `blob`, unless another class contains the same bytes.
pub fn reserve_in_class(c: &mut dyn Conn, blob: &Blob) -> Result<Option<Blob>, DbError> {
    reserve(c, blob)?;
    get(c, blob.sha256)
}

/// Deletes the row of a blob stored before `before`, unless another row refers to the blob. Returns true if the row was
/// deleted; only then may the bytes be deleted.
pub fn delete(c: &mut dyn Conn, sha256: Sha256, before: Timestamp) -> Result<bool, DbError> {
    const DELETE: &str =
        concat!("DELETE FROM blob WHERE sha256 = $1 AND created_at < $2 AND ", is_unreferenced!("$1"));
    let digest = sha256.to_string();
    let is_deleted = c.execute(DELETE, &[digest.as_str().into(), before.into()])? == 1;
    if is_deleted {
        c.execute("DELETE FROM blob_access WHERE sha256 = $1", &[digest.into()])?;
    }
    Ok(is_deleted)
}
