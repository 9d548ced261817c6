//! Binaries that a request discovered on another server; the next sync lists them.
//!
//! Until then the row of the file has the binary number 0, and a marker row in the table of upstream responses records
//! that the source has such files.

use super::file::FileState;
use super::import::{LIFE_COLUMNS, RECORD_COLUMNS};
use super::{Conn, DbError, Value, ids, upstream};
use crate::db::engine::columns::{row, select};
use base::model::change::LifeState;
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DiscoveredBinary from "file f LEFT JOIN blob b ON b.sha256 = f.sha256 AND f.state = 1" {
        pub file: FileId = "f.id",
        pub name: String = "f.name",
        /// Its location on the other server, below that server's address.
        pub locator: String = "f.locator",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// Digest of the bytes, once fetched.
        pub sha256: Option<Sha256> = "f.sha256",
        pub state: FileState = "f.state",
        /// The storage class of the blob, if it is stored.
        pub class: Option<String> = "b.class",
    }
}

/// Returns the discovered, not yet listed binary of a release for a platform, see [`super::binary::Binary::platform`].
pub fn get(
    c: &mut dyn Conn,
    release: ReleaseId,
    platform: &str,
) -> Result<Option<DiscoveredBinary>, DbError> {
    const GET: &str = select!(
        DiscoveredBinary,
        "WHERE f.release_id = $1 AND f.role = 'binary' AND f.platform = $2 AND f.build = 0 ORDER BY f.id"
    );
    c.first(GET, &[release.into(), platform.into()])
}

/// Returns the key of the marker row of a source.
fn marker_key(source: SourceId) -> String {
    format!("found:{source}")
}

/// Records that a server has a binary; if it is already recorded, only its location is updated.
pub fn insert(
    c: &mut dyn Conn,
    source: SourceId,
    release: ReleaseId,
    platform: &str,
    name: &str,
    locator: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO file (id, release_id, role, platform, build, name, locator, state) \
        VALUES ($1, $2, 'binary', $3, 0, $4, $5, $6) ON CONFLICT (release_id, role, platform, build, name) \
        DO UPDATE SET locator = excluded.locator";
    let file = FileId(ids::reserve(c, ids::Sequence::File, 1)?);
    let state = FileState::Known.as_i64();
    let params = [file.into(), release.into(), platform.into(), name.into(), locator.into(), state.into()];
    c.execute(INSERT, &params)?;
    let marker =
        upstream::StoredValidators { etag: None, modified: None, sha256: Sha256([0; 32]), fetched_at: now };
    upstream::put(c, &marker_key(source), &marker)
}

row! {
    /// A discovered binary that was fetched and can be listed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReadyBinary from "file f JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
        LEFT JOIN record s ON s.release_id = f.release_id AND s.variant = (SELECT min(v.variant) FROM record v \
        WHERE v.release_id = f.release_id AND v.variant <= 0)" {
        pub package: PackageId = "r.package_id",
        pub release: ReleaseId = "f.release_id",
        pub file: FileId = "f.id",
        pub platform: String = "f.platform",
        pub sha256: Sha256 = "f.sha256",
        /// Size in bytes.
        pub size: i64 = "f.size",
        pub built: Vec<u8> = "f.facts",
        /// The index record of the release; `None` if the release was archived before it was first synced.
        pub source_record: Option<Vec<u8>> = "s.stanza",
        pub name: String = "p.name",
        pub version: String = "r.version",
    }
}

/// Returns the binaries of a source that were discovered and fetched since the last sync, by file id.
pub fn ready_binaries(c: &mut dyn Conn, source: SourceId) -> Result<Vec<ReadyBinary>, DbError> {
    const SELECT: &str = select!(
        ReadyBinary,
        "WHERE f.role = 'binary' AND f.build = 0 AND f.state = 1 AND f.facts IS NOT NULL AND r.origin_id = $1 \
        ORDER BY f.id"
    );
    if upstream::get(c, &marker_key(source))?.is_none() {
        return Ok(Vec::new());
    }
    c.all(SELECT, &[source.into()])
}

/// Lists discovered binaries, with their records, at the pending step of a tree. At most 2,000 per call.
pub fn list(
    c: &mut dyn Conn,
    tree: TreeId,
    pending: Seq,
    binaries: &[(PackageId, ReleaseId, FileId, Vec<u8>)],
) -> Result<(), DbError> {
    let files: Vec<Vec<Value>> = binaries.iter().map(|(_, _, file, _)| vec![(*file).into()]).collect();
    c.execute_many("UPDATE file SET build = id WHERE id = $1", &files)?;
    let (mut records, mut lives) = (Vec::new(), Vec::new());
    for (package, release, file, stanza) in binaries {
        records.push(vec![(*release).into(), (*file).into(), stanza.as_slice().into()]);
        lives.push(vec![
            tree.into(),
            LifeState::Listed.as_i64().into(),
            (*package).into(),
            "".into(),
            pending.into(),
            Seq::OPEN.into(),
            (*release).into(),
            (*file).into(),
            (*file).into(),
            0.into(),
        ]);
    }
    c.batch_insert("record", &RECORD_COLUMNS, &records)?;
    c.batch_insert("life", &LIFE_COLUMNS, &lives)
}

/// Deletes the marker of a source if all its discovered binaries are listed.
pub fn clear_marker(c: &mut dyn Conn, source: SourceId) -> Result<(), DbError> {
    const SELECT: &str = "SELECT f.id FROM file f JOIN release r ON r.id = f.release_id \
        WHERE f.role = 'binary' AND f.build = 0 AND r.origin_id = $1 LIMIT 1";
    if c.query(SELECT, &[source.into()])?.is_empty() {
        upstream::delete(c, &marker_key(source))
    } else {
        Ok(())
    }
}
