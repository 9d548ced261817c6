//! Binaries that a request discovered on another server; the next sync lists them.
//!
//! Until then the row of the file has the binary number 0, and a marker row in the table of upstream responses records
//! that the source has such files.

use super::file::FileState;
use super::import::{LIFE_COLUMNS, RECORD_COLUMNS};
use super::{Conn, DbError, Row, Value, ids, upstream};
use base::model::change::LifeState;
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};
use base::model::time::Timestamp;

/// A discovered binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredBinary {
    /// The file.
    pub file: FileId,
    /// Its name in URLs.
    pub name: String,
    /// Its location on the other server, below that server's address.
    pub locator: String,
    /// Size in bytes, if known.
    pub size: Option<i64>,
    /// Digest of the bytes, once fetched.
    pub sha256: Option<Sha256>,
    /// State of the bytes.
    pub state: FileState,
    /// The storage class of the blob, if it is stored.
    pub class: Option<String>,
}

/// Returns the discovered, not yet listed binary of a release for a platform, see [`super::binary::Binary::platform`].
pub fn get(
    c: &mut dyn Conn,
    release: ReleaseId,
    platform: &str,
) -> Result<Option<DiscoveredBinary>, DbError> {
    const GET: &str = "SELECT f.id, f.name, f.locator, f.size, f.sha256, f.state, b.class FROM file f \
        LEFT JOIN blob b ON b.sha256 = f.sha256 AND f.state = 1 \
        WHERE f.release_id = $1 AND f.role = 'binary' AND f.platform = $2 AND f.build = 0 ORDER BY f.id";
    let decode = |mut row: Row| {
        Ok(DiscoveredBinary {
            file: FileId(row.int(0)?),
            name: row.text(1)?,
            locator: row.text(2)?,
            size: row.opt_int(3)?,
            sha256: row.opt_parse(4, "a digest")?,
            state: FileState::from_i64(5, row.int(5)?)?,
            class: row.opt_text(6)?,
        })
    };
    c.query(GET, &[release.into(), platform.into()])?.into_iter().next().map(decode).transpose()
}

/// Returns the key of the marker row of a source.
fn marker_key(source: SourceId) -> String {
    format!("found:{source}")
}

/// Records that a server has a binary; if it is already recorded, only its location is updated.
pub fn insert(
    c: &mut dyn Conn,
    source: SourceId,
    (release, platform): (ReleaseId, &str),
    (name, locator): (&str, &str),
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

/// A discovered binary that was fetched and can be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyBinary {
    /// The package.
    pub package: PackageId,
    /// The release.
    pub release: ReleaseId,
    /// The file.
    pub file: FileId,
    /// As [`super::binary::Binary::platform`].
    pub platform: String,
    /// Digest of the bytes.
    pub sha256: Sha256,
    /// Size in bytes.
    pub size: i64,
    /// The value of `Built`.
    pub built: Vec<u8>,
    /// The index record of the release; `None` if the release was archived before it was first synced.
    pub source_record: Option<Vec<u8>>,
    /// The package's name.
    pub name: String,
    /// The version.
    pub version: String,
}

/// Returns the binaries of a source that were discovered and fetched since the last sync, by file id.
pub fn ready_binaries(c: &mut dyn Conn, source: SourceId) -> Result<Vec<ReadyBinary>, DbError> {
    const SELECT: &str = "SELECT r.package_id, f.release_id, f.id, f.platform, f.sha256, f.size, f.facts, s.stanza, \
        p.name, r.version FROM file f JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
        LEFT JOIN record s ON s.release_id = f.release_id AND s.variant = \
        (SELECT min(v.variant) FROM record v WHERE v.release_id = f.release_id AND v.variant <= 0) \
        WHERE f.role = 'binary' AND f.build = 0 AND f.state = 1 AND f.facts IS NOT NULL AND r.origin_id = $1 \
        ORDER BY f.id";
    if upstream::get(c, &marker_key(source))?.is_none() {
        return Ok(Vec::new());
    }
    let decode = |mut row: Row| {
        Ok(ReadyBinary {
            package: PackageId(row.int(0)?),
            release: ReleaseId(row.int(1)?),
            file: FileId(row.int(2)?),
            platform: row.text(3)?,
            sha256: row.parse(4, "a digest")?,
            size: row.int(5)?,
            built: row.bytes(6)?,
            source_record: row.opt_bytes(7)?,
            name: row.text(8)?,
            version: row.text(9)?,
        })
    };
    c.query(SELECT, &[source.into()])?.into_iter().map(decode).collect()
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
