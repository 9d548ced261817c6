//! Rendered indexes of closed points: the digest of each content, so that a 304 after a restart needs no rendering.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RenderedRow from "rendered" {
        /// The key of the document: equal keys mean equal content.
        pub key: String,
        /// SHA-256 of the decoded bytes, from which the ETag is derived.
        pub content: Sha256,
        /// The encoder: `gzip-6`, `plain`.
        pub encoder: String,
        /// SHA-256 of the stored bytes.
        pub sha256: Sha256,
        /// Size of the stored bytes.
        pub size: i64,
        pub created_at: Timestamp,
    }
}

pub fn get(c: &mut dyn Conn, key: &str) -> Result<Option<RenderedRow>, DbError> {
    const GET: &str = select!(RenderedRow, "WHERE key = $1");
    c.first(GET, &[key.into()])
}

/// Records the rendered index of a key, permanently. Returns false and changes nothing if the key is already known.
pub fn put(c: &mut dyn Conn, rendered: &RenderedRow) -> Result<bool, DbError> {
    const PUT: &str = "INSERT INTO rendered (key, content, encoder, sha256, size, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key) DO NOTHING";
    let params = [
        rendered.key.as_str().into(),
        rendered.content.to_string().into(),
        rendered.encoder.as_str().into(),
        rendered.sha256.to_string().into(),
        rendered.size.into(),
        rendered.created_at.into(),
    ];
    Ok(c.execute(PUT, &params)? == 1)
}

pub fn is_referenced(c: &mut dyn Conn, sha256: Sha256) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM rendered WHERE sha256 = $1 LIMIT 1";
    c.finds(FIND, &[sha256.to_string().into()])
}

/// Returns the digests of the stored bytes of the newest indexes, at most `limit`.
pub fn newest(c: &mut dyn Conn, limit: i64) -> Result<Vec<Sha256>, DbError> {
    const NEWEST: &str = "SELECT sha256 FROM rendered ORDER BY created_at DESC LIMIT $1";
    c.all(NEWEST, &[limit.into()])
}
