//! Files that belong to a distribution of a Python package, such as signatures and provenance objects with
//! attestations: rows of `file` with a role of their own, and the name and revision of the distribution.

use super::file::FileState;
use super::python_file::FileRole;
use super::{Conn, DbError, Value, ids};
use crate::db::engine::columns::{or_default, row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;
use base::model::file_change::AttachedFiles;
use base::model::ids::FileId;

row! {
    /// The newest facts about a distribution, and its attached files.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NewestFacts from "file f LEFT JOIN file_fact v ON v.file_id = f.id \
        AND v.variant = (SELECT max(w.variant) FROM file_fact w WHERE w.file_id = f.id) \
        LEFT JOIN file s ON s.release_id = f.release_id AND s.role = $1 AND s.platform = '' AND s.build = f.build \
        AND s.name = f.name LEFT JOIN file p ON p.release_id = f.release_id AND p.role = $2 AND p.platform = '' \
        AND p.build = f.build AND p.name = f.name" {
        /// The number of the facts; 0 for the first ones.
        pub variant: i64 = "coalesce(v.variant, CAST(0 AS BIGINT))",
        pub facts: Vec<u8> = "coalesce(v.facts, f.facts)" => or_default,
        pub attached: AttachedFiles = "s.sha256, s.size, p.sha256, p.size" => attached,
    }
}

fn attached(cells: &mut Cells) -> Result<AttachedFiles, DbError> {
    let mut file = || {
        let (digest, size): (Option<Sha256>, Option<i64>) = Columns::decode(cells)?;
        Ok::<_, DbError>(digest.zip(size))
    };
    Ok(AttachedFiles { signature: file()?, provenance: file()? })
}

/// Returns the newest facts about a distribution; `None` if there is no such distribution.
pub fn newest(c: &mut dyn Conn, distribution: FileId) -> Result<Option<NewestFacts>, DbError> {
    let [signature, provenance, own] =
        [FileRole::Signature, FileRole::Provenance, FileRole::Distribution].map(FileRole::as_str);
    let params = [signature.into(), provenance.into(), distribution.into(), own.into()];
    c.first(select!(NewestFacts, "WHERE f.id = $3 AND f.role = $4"), &params)
}

/// Writes the row of a file that belongs to a distribution and is in storage, or replaces the object of the row.
/// `locator` is its location at the index; empty for an uploaded one. Does nothing for an unknown distribution.
pub fn put(
    c: &mut dyn Conn,
    distribution: FileId,
    role: FileRole,
    locator: &str,
    sha256: Sha256,
    size: i64,
) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO file (id, release_id, role, platform, build, name, locator, size, sha256, state) \
        SELECT $1, f.release_id, $2, '', f.build, f.name, $3, $4, $5, $6 FROM file f WHERE f.id = $7 AND f.role = $8 \
        ON CONFLICT (release_id, role, platform, build, name) DO UPDATE SET locator = excluded.locator, \
        size = excluded.size, sha256 = excluded.sha256, state = excluded.state";
    let id = ids::reserve(c, ids::Sequence::File, 1)?;
    let params: [Value; 8] = [
        id.into(),
        role.as_str().into(),
        locator.into(),
        size.into(),
        sha256.to_string().into(),
        FileState::Stored.as_i64().into(),
        distribution.into(),
        FileRole::Distribution.as_str().into(),
    ];
    c.execute(PUT, &params).map(drop)
}
