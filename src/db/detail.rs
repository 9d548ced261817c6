//! What a release's archive says of itself: the DESCRIPTION as it stands there, and the README's digest.

use super::{Conn, DbError};
use crate::model::digest::Sha256;
use crate::model::ids::ReleaseId;

/// Details of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The DESCRIPTION, byte for byte; empty when only the README is known.
    pub description: Vec<u8>,
    /// SHA-256 of the README kept in storage.
    pub readme: Option<Sha256>,
}

/// The details, where they were read.
pub fn get(c: &mut dyn Conn, release: ReleaseId) -> Result<Option<Detail>, DbError> {
    const GET: &str = "SELECT description, readme_sha256 FROM detail WHERE release_id = $1";
    let row = c.query(GET, &[release.into()])?.into_iter().next();
    row.map(|mut r| Ok(Detail { description: r.bytes(0)?, readme: r.opt_parsed(1, "a digest")? })).transpose()
}

/// Writes the details, replacing those there are.
pub fn put(c: &mut dyn Conn, release: ReleaseId, detail: &Detail) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO detail (release_id, description, readme_sha256) \
        VALUES (CAST($1 AS BIGINT), $2, $3) ON CONFLICT (release_id) \
        DO UPDATE SET description = excluded.description, readme_sha256 = excluded.readme_sha256";
    let readme = super::Value::opt_text(detail.readme);
    c.execute(PUT, &[release.into(), detail.description.as_slice().into(), readme]).map(drop)
}
