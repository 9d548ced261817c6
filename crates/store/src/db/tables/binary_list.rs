//! Binaries that another server offers: reads those listed in a tree and applies changes in bulk.

use std::collections::HashMap;

use super::file::FileState;
use super::import::{FILE_COLUMNS, LIFE_COLUMNS, RECORD_COLUMNS};
use super::{Conn, DbError, Value, ids};
use crate::db::engine::columns::{row, select};
use base::model::change::LifeState;
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, TreeId};

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedBinary from "life l JOIN file f ON f.id = l.file_id JOIN record r ON r.release_id = l.release_id \
        AND r.variant = l.variant" {
        pub package: PackageId = "l.package_id",
        pub release: ReleaseId = "l.release_id",
        pub file: FileId = "l.file_id",
        pub from_seq: Seq = "l.from_seq",
        pub platform: String = "f.platform",
        /// MD5 that the other server's index declared.
        pub md5: Option<Md5> = "f.md5",
        /// Digest that the index declared, or that of the fetched bytes.
        pub sha256: Option<Sha256> = "f.sha256",
        pub stanza: Vec<u8> = "r.stanza",
    }
}

/// Returns the binaries listed in a tree, by file id.
pub fn listed_binaries(c: &mut dyn Conn, tree: TreeId) -> Result<Vec<ListedBinary>, DbError> {
    const OPEN: &str = select!(ListedBinary, "WHERE l.tree_id = $1 AND l.state = 0 AND l.to_seq = $2");
    let mut rows: Vec<ListedBinary> = c.all(OPEN, &[tree.into(), Seq::OPEN.into()])?;
    rows.sort_unstable_by_key(|row| row.file);
    Ok(rows)
}

/// Releases by package and version.
pub type Releases = HashMap<String, Vec<(String, PackageId, ReleaseId)>>;

/// Returns the listed and archived releases of a source tree at a step, by package and version. If a version has
/// several revisions, only the newest is returned.
pub fn releases(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Releases, DbError> {
    const RELEASES: &str = "SELECT p.name, r.version, l.package_id, l.release_id FROM life l \
        JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.from_seq <= $2 AND l.to_seq > $2";
    let mut releases = Releases::new();
    c.each(RELEASES, &[tree.into(), seq.into()], &mut |row| {
        let (package, version, id, release): (String, String, PackageId, ReleaseId) = row.decode()?;
        let versions = releases.entry(package).or_default();
        match versions.iter_mut().find(|(other, ..)| *other == version) {
            // Later revisions have higher ids.
            Some(entry) => entry.2 = entry.2.max(release),
            None => versions.push((version, id, release)),
        }
        Ok(())
    })?;
    Ok(releases)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedBinary {
    pub package: PackageId,
    pub release: ReleaseId,
    pub platform: String,
    /// Its name in the URLs of this server.
    pub name: String,
    /// Its location on the other server: a path below that server's address, or a URL.
    pub locator: String,
    /// Size in bytes.
    pub size: Option<i64>,
    pub md5: Option<Md5>,
    pub sha256: Option<Sha256>,
    pub stanza: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BinaryChange {
    List(OfferedBinary),
    /// Removes a binary from the list; older snapshots still serve it.
    End {
        package: PackageId,
        release: ReleaseId,
        file: FileId,
        from_seq: Seq,
    },
}

/// Writes changes at the pending step of a tree, invisible before the publish. At most 2,000 in one call.
///
/// # Errors
/// [`DbError::Conflict`] if a binary to remove is not listed.
pub fn apply(c: &mut dyn Conn, tree: TreeId, pending: Seq, changes: &[BinaryChange]) -> Result<(), DbError> {
    const END: &str = "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND state = 0 AND package_id = $3 \
        AND release_id = $4 AND file_id = $5 AND from_seq = $6 AND to_seq = $7";
    let (mut ends, mut offers): (Vec<Vec<Value>>, Vec<&OfferedBinary>) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            BinaryChange::List(offer) => offers.push(offer),
            BinaryChange::End { package, release, file, from_seq } => ends.push(vec![
                pending.into(),
                tree.into(),
                (*package).into(),
                (*release).into(),
                (*file).into(),
                (*from_seq).into(),
                Seq::OPEN.into(),
            ]),
        }
    }
    let ended = if ends.is_empty() { 0 } else { c.execute_many(END, &ends)? };
    if ended != ends.len() as u64 {
        let missing = ends.len() as u64 - ended;
        return Err(DbError::Conflict(format!(
            "{missing} of the binaries to end in tree {tree} are not listed"
        )));
    }
    if offers.is_empty() {
        return Ok(());
    }
    let first = ids::reserve(c, ids::Sequence::File, offers.len())?;
    let state = FileState::Known.as_i64();
    let (mut files, mut records, mut lives) = (Vec::new(), Vec::new(), Vec::new());
    for (number, offer) in (first..).zip(offers) {
        // The id of the file is also the number of the binary and of its record, as in `binary::insert`.
        files.push(vec![
            number.into(),
            offer.release.into(),
            "binary".into(),
            offer.platform.as_str().into(),
            number.into(),
            offer.name.as_str().into(),
            offer.locator.as_str().into(),
            offer.size.into(),
            Value::opt_text(offer.md5),
            Value::opt_text(offer.sha256),
            state.into(),
        ]);
        records.push(vec![offer.release.into(), number.into(), offer.stanza.as_slice().into()]);
        lives.push(vec![
            tree.into(),
            LifeState::Listed.as_i64().into(),
            offer.package.into(),
            "".into(),
            pending.into(),
            Seq::OPEN.into(),
            offer.release.into(),
            number.into(),
            number.into(),
            0.into(),
        ]);
    }
    c.batch_insert("file", &FILE_COLUMNS, &files)?;
    c.batch_insert("record", &RECORD_COLUMNS, &records)?;
    c.batch_insert("life", &LIFE_COLUMNS, &lives)
}

/// Deletes up to `limit` rows of files of binaries that no tree lists, left by an abandoned import, and returns their
/// number. Call it until it returns 0, and only while no tree of binaries has a pending step.
pub fn sweep(c: &mut dyn Conn, limit: i64) -> Result<u64, DbError> {
    // Files of an abandoned import have the highest ids, so the search begins there. A binary discovered by a request
    // has the number 0 and is not deleted, although it is in no list yet.
    const SELECT: &str = "SELECT f.release_id, f.id FROM file f WHERE f.role = 'binary' AND f.build > 0 \
        AND NOT EXISTS (SELECT 1 FROM life l WHERE l.release_id = f.release_id AND l.file_id = f.id) \
        ORDER BY f.id DESC LIMIT $1";
    let unlisted: Vec<Vec<Value>> = c.query(SELECT, &[limit.into()])?.into_iter().map(|row| row.0).collect();
    if unlisted.is_empty() {
        return Ok(0);
    }
    let files: Vec<Vec<Value>> = unlisted.iter().map(|row| row[1..].to_vec()).collect();
    c.execute_many("DELETE FROM record WHERE release_id = $1 AND variant = $2", &unlisted)?;
    c.execute_many("DELETE FROM file WHERE id = $1", &files)
}
