//! Files that belong to a distribution of a Python package: signatures, provenance objects with attestations, and METADATA
//! of wheels: rows of `file` with a role of their own, and the name and revision of the distribution.

use super::file::FileState;
use super::project_file::{DISTRIBUTION, METADATA, PROVENANCE, role};
use super::{Conn, DbError, Value, ids};
use crate::db::engine::columns::{or_default, row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::change::AttachedFiles;
use base::model::digest::Sha256;
use base::model::ids::{FileId, Seq, SourceId};
use base::model::project_path::FilePart;
use base::model::time::Timestamp;

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
        [FilePart::Signature, FilePart::Provenance, FilePart::Distribution].map(role);
    let params = [signature.into(), provenance.into(), distribution.into(), own.into()];
    c.first(select!(NewestFacts, "WHERE f.id = $3 AND f.role = $4"), &params)
}

/// Writes the row of a file that belongs to a distribution and is in storage, or replaces the object of the row.
/// `locator` is its location at the index; empty for an uploaded one. Does nothing for an unknown distribution.
pub fn put(
    c: &mut dyn Conn,
    distribution: FileId,
    part: FilePart,
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
        role(part).into(),
        locator.into(),
        size.into(),
        sha256.to_string().into(),
        FileState::Stored.as_i64().into(),
        distribution.into(),
        DISTRIBUTION.into(),
    ];
    c.execute(PUT, &params).map(drop)
}

/// Writes the rows of METADATA that an index declares for distributions, with its digests, where they are missing.
pub fn record_metadata(c: &mut dyn Conn, declared: &[(FileId, Sha256)]) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO file (id, release_id, role, platform, build, name, locator, sha256, state) \
        SELECT $1, f.release_id, $2, '', f.build, f.name, f.locator || '.metadata', $3, $4 FROM file f \
        WHERE f.id = $5 AND f.role = $6 ON CONFLICT (release_id, role, platform, build, name) DO NOTHING";
    let first = ids::reserve(c, ids::Sequence::File, declared.len())?;
    let row = |(id, (distribution, sha256)): (i64, &(FileId, Sha256))| -> Vec<Value> {
        vec![
            id.into(),
            METADATA.into(),
            sha256.to_string().into(),
            FileState::Known.as_i64().into(),
            (*distribution).into(),
            DISTRIBUTION.into(),
        ]
    };
    let rows: Vec<Vec<Value>> = (first..).zip(declared).map(row).collect();
    c.execute_many(RECORD, &rows).map(drop)
}

row! {
    /// The stored facts about the provenance of a distribution.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProvenanceRow from "file f LEFT JOIN file p ON p.release_id = f.release_id AND p.role = $1 \
        AND p.platform = '' AND p.build = f.build AND p.name = f.name AND p.state = 1 LEFT JOIN blob b ON b.sha256 = p.sha256" {
        /// The newest facts about the distribution, as JSON.
        pub facts: Vec<u8> = "coalesce((SELECT v.facts FROM file_fact v WHERE v.file_id = f.id ORDER BY v.variant DESC \
            LIMIT 1), f.facts)" => or_default,
        pub object: Option<ProvenanceObject> = "b.sha256, b.class, b.created_at",
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProvenanceObject {
        pub sha256: Sha256,
        pub class: String,
        /// Time at which it was stored last.
        pub stored_at: Timestamp,
    }
}

/// Returns the stored facts about the provenance of a distribution; `None` if there is no such distribution.
pub fn provenance(c: &mut dyn Conn, distribution: FileId) -> Result<Option<ProvenanceRow>, DbError> {
    let params = [PROVENANCE.into(), distribution.into(), DISTRIBUTION.into()];
    c.first(select!(ProvenanceRow, "WHERE f.id = $2 AND f.role = $3"), &params)
}

row! {
    /// A wheel of an index that declares no METADATA for it, or does not have it.
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
        /// The facts of the first reading, as JSON.
        pub facts: Vec<u8> = "f.facts" => or_default,
    }
}

/// Returns the digest of the wheel to which a row of METADATA belongs; `None` for another row.
pub fn wheel_of(c: &mut dyn Conn, metadata: FileId) -> Result<Option<Sha256>, DbError> {
    const FIND: &str = "SELECT f.sha256 FROM file m JOIN file f ON f.release_id = m.release_id AND f.role = $1 \
        AND f.platform = m.platform AND f.build = m.build AND f.name = m.name WHERE m.id = $2 AND m.role = $3";
    Ok(c.first(FIND, &[DISTRIBUTION.into(), metadata.into(), METADATA.into()])?.flatten())
}

/// Returns at most `limit` stored wheels of an index that are listed now and have no row of METADATA, by digest, after the
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
