//! Wheels of an index that declares no METADATA for them, or does not have it.

use super::python_file::{DISTRIBUTION, METADATA};
use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::ids::{FileId, Seq, SourceId};

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredWheel from "blob b JOIN file f ON f.sha256 = b.sha256 AND f.state = 1 AND f.role = $1 \
        JOIN release r ON r.id = f.release_id AND r.origin_id = $2 JOIN package p ON p.id = r.package_id" {
        /// The normalized name of the project.
        pub project: String = "p.name",
        pub file: FileId = "f.id",
        pub name: String = "f.name",
        pub sha256: Sha256 = "b.sha256",
        /// The storage class with its bytes.
        pub class: String = "b.class",
    }
}

/// Returns the digest of the wheel to which a row of METADATA belongs; `None` for another row.
pub fn wheel_of(c: &mut dyn Conn, metadata: FileId) -> Result<Option<Sha256>, DbError> {
    const FIND: &str = "SELECT f.sha256 FROM file m JOIN file f ON f.release_id = m.release_id AND f.role = $1 \
        AND f.platform = m.platform AND f.build = m.build AND f.name = m.name WHERE m.id = $2 AND m.role = $3";
    Ok(c.first(FIND, &[DISTRIBUTION.into(), metadata.into(), METADATA.into()])?.flatten())
}

/// Returns at most `limit` stored wheels of an index that are listed now and have no METADATA, by digest, after the
/// digest `after`. Of several files with the same bytes, the last ones may be missing.
pub fn without_metadata(
    c: &mut dyn Conn,
    source: SourceId,
    after: Option<Sha256>,
    limit: i64,
) -> Result<Vec<StoredWheel>, DbError> {
    const FIND: &str = select!(
        StoredWheel,
        "WHERE b.sha256 > $3 AND f.name LIKE '%.whl' ESCAPE '\\' AND NOT EXISTS (SELECT 1 FROM file m \
        WHERE m.release_id = f.release_id AND m.role = $4 AND m.platform = '' AND m.build = f.build \
        AND m.name = f.name) AND EXISTS (SELECT 1 FROM life l JOIN tree t ON t.id = l.tree_id \
        WHERE l.release_id = f.release_id AND l.file_id = f.id AND l.state = 0 AND l.to_seq = $5 AND t.source_id = $2) \
        ORDER BY b.sha256, f.id LIMIT $6"
    );
    let after = after.map(|digest| digest.to_string()).unwrap_or_default();
    let params =
        [DISTRIBUTION.into(), source.into(), after.into(), METADATA.into(), Seq::OPEN.into(), limit.into()];
    c.all(FIND, &params)
}
