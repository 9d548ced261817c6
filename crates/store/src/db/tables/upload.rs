//! Uploads that are not part of a source yet. Times are of the database host's clock; with SQLite, of the server's.

use std::time::Duration;

use super::blob::{self, Blob};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

pub const LIFETIME: Duration = Duration::from_secs(3600);
/// Maximum time until the end of an upload. A later end is from before the clock was set back: it is expired.
const MAX_AHEAD: Duration = Duration::from_secs(2 * LIFETIME.as_secs());

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UploadRow from "upload" {
        /// Random number below 2^53 that identifies the upload.
        pub id: i64,
        /// The author who sent it. No other author may add it to a source.
        pub owner: String,
        /// `source`, `binary` or `python`.
        pub kind: String,
        /// Digest of the stored package.
        pub sha256: Sha256,
        /// Digest of its README, or of METADATA of a wheel.
        pub other_sha256: Option<Sha256>,
        /// Size of the stored package, in bytes.
        pub size: i64,
        /// The facts that the server read from the package, in an encoding that the database does not interpret.
        pub facts: Vec<u8>,
    }
}

/// Records an upload and its blobs, which are in storage, and removes expired rows. `clock` is the server's time.
pub fn insert(c: &mut dyn Conn, row: &UploadRow, blobs: &[Blob], clock: Timestamp) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO upload (id, owner, kind, sha256, other_sha256, size, facts, created_at, \
        expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    remove_expired(c, clock)?;
    // Protects the blobs from the sweep, which removes unreferenced blobs by their age.
    blobs.iter().try_for_each(|row| blob::reserve(c, row))?;
    let now = c.time(clock)?;
    let params: [Value; 9] = [
        row.id.into(),
        row.owner.as_str().into(),
        row.kind.as_str().into(),
        row.sha256.to_string().into(),
        Value::opt_text(row.other_sha256),
        row.size.into(),
        row.facts.as_slice().into(),
        now.into(),
        (now + LIFETIME).into(),
    ];
    c.execute(INSERT, &params).map(drop)
}

/// Returns the upload with this number; `None` if there is none, it has expired, or another author sent it.
pub fn get(c: &mut dyn Conn, id: i64, owner: &str, clock: Timestamp) -> Result<Option<UploadRow>, DbError> {
    const GET: &str =
        select!(UploadRow, "WHERE id = $1 AND owner = $2 AND expires_at > $3 AND expires_at <= $4");
    let now = c.time(clock)?;
    let params = [id.into(), owner.into(), now.into(), (now + MAX_AHEAD).into()];
    c.first(GET, &params)
}

/// Removes the row of an upload. Returns true if it existed.
pub fn remove(c: &mut dyn Conn, id: i64) -> Result<bool, DbError> {
    Ok(c.execute("DELETE FROM upload WHERE id = $1", &[id.into()])? == 1)
}

pub fn remove_expired(c: &mut dyn Conn, clock: Timestamp) -> Result<u64, DbError> {
    const EXPIRED: &str = "DELETE FROM upload WHERE expires_at <= $1 OR expires_at > $2";
    let now = c.time(clock)?;
    c.execute(EXPIRED, &[now.into(), (now + MAX_AHEAD).into()])
}
