//! Proofs, which are signed requests and identity tokens that are accepted only once by all servers of the database
//! together. Only their digests are stored.

use super::{Conn, DbError};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// Records the use of a proof that is accepted until `expires_at`. Returns false if it was used before. Also removes
/// the rows of proofs that are expired at `now`.
pub fn record(
    c: &mut dyn Conn,
    proof: &Sha256,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    const DELETE_EXPIRED: &str = "DELETE FROM used_proof WHERE expires_at < $1";
    const INSERT: &str =
        "INSERT INTO used_proof (sha256, expires_at) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING";
    c.execute(DELETE_EXPIRED, &[now.into()])?;
    Ok(c.execute(INSERT, &[proof.to_string().into(), expires_at.into()])? == 1)
}
