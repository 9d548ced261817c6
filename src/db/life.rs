//! Lives: which releases are listed or archived in a tree at a step.

use std::cmp::Ordering;

use super::file::FileState;
use super::{Conn, DbError, Row};
use crate::model::change::{LifeKey, LifeState};
use crate::model::digest::{Md5, Sha256};
use crate::model::ids::{FileId, PackageId, ReleaseId, Seq, TreeId};
use crate::model::time::Timestamp;

/// A record of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The package's name.
    pub name: String,
    /// The name in lower case.
    pub fold: String,
    /// Sub-directory of a second record, else empty.
    pub path: String,
    /// The package.
    pub package: PackageId,
    /// The release.
    pub release: ReleaseId,
    /// Its record, DCF text without the blank line that ends it.
    pub stanza: Vec<u8>,
    /// SHA-256 of its file, where known.
    pub sha256: Option<Sha256>,
}

impl Listed {
    /// The order of an index on both databases: lower-case name, name, path, release.
    #[must_use]
    pub fn order(&self, other: &Listed) -> Ordering {
        let key = |l: &Listed| (l.release, l.package);
        (&self.fold, &self.name, &self.path)
            .cmp(&(&other.fold, &other.name, &other.path))
            .then_with(|| key(self).cmp(&key(other)))
    }
}

fn listed_row(row: &mut Row) -> Result<Listed, DbError> {
    Ok(Listed {
        name: row.text(0)?,
        fold: row.text(1)?,
        path: row.text(2)?,
        package: PackageId(row.int(3)?),
        release: ReleaseId(row.int(4)?),
        stanza: row.bytes(5)?,
        sha256: row.opt_parsed(6, "a digest")?,
    })
}

/// The records listed in a tree at a step, in the order of [`Listed::order`]. Sorted here: a sort in the database
/// would drag the stanzas along, and each database folds case in its own way.
pub fn listed(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<Listed>, DbError> {
    let _ = (c, tree, seq, listed_row);
    todo!()
}

/// As [`listed`], only these packages.
pub fn listed_of(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    packages: &[PackageId],
) -> Result<Vec<Listed>, DbError> {
    let _ = (c, tree, seq, packages);
    todo!()
}

/// A name listed in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The package's name.
    pub name: String,
    /// The name in lower case.
    pub fold: String,
    /// The package.
    pub package: PackageId,
    /// The listed version (of the plain record where there is one with a path beside it).
    pub version: String,
    /// When that was published, where known.
    pub published_at: Option<Timestamp>,
}

/// The names listed in a tree at a step, each once, by lower-case name and name.
pub fn names(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<Named>, DbError> {
    let _ = (c, tree, seq);
    todo!()
}

/// As [`names`], where the lower-case name holds `part` (any case), `limit` of them after the first `offset`.
pub fn page(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    part: &str,
    limit: i64,
    offset: i64,
) -> Result<Vec<Named>, DbError> {
    let _ = (c, tree, seq, part, limit, offset);
    todo!()
}

/// A file that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Listed or archived at that step.
    pub state: LifeState,
    /// Sub-directory of a second record, else empty.
    pub path: String,
    /// The package.
    pub package: PackageId,
    /// The release.
    pub release: ReleaseId,
    /// Its version.
    pub version: String,
    /// Its revision.
    pub revision: i64,
    /// When it was published upstream, where known.
    pub published_at: Option<Timestamp>,
    /// The file.
    pub file: FileId,
    /// Its name in URLs.
    pub name: String,
    /// Where upstream keeps it, relative to `src/contrib`.
    pub locator: String,
    /// Bytes, where known.
    pub size: Option<i64>,
    /// What upstream's index declares.
    pub md5: Option<Md5>,
    /// Digest of the bytes, where known.
    pub sha256: Option<Sha256>,
    /// What became of the bytes.
    pub file_state: FileState,
    /// The storage class of the blob, when it is stored.
    pub class: Option<String>,
}

/// The file of that name alive in a tree at a step: `package` as written, `file` as in URLs
/// (`pkg_1.0.tar.gz`). `state` limits it to listed or archived; else listed goes first, then the one without path.
pub fn find_file(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    state: Option<LifeState>,
    package: &str,
    file: &str,
) -> Result<Option<FoundFile>, DbError> {
    let _ = (c, tree, seq, state, package, file);
    todo!()
}

/// Every release of a package alive in a tree at a step: listed ones first, then by publication, newest first.
pub fn package_detail(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: &str,
) -> Result<Vec<FoundFile>, DbError> {
    let _ = (c, tree, seq, package);
    todo!()
}

/// A row of `Meta/archive.rds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The package's name.
    pub name: String,
    /// The name in lower case.
    pub fold: String,
    /// The file's name in URLs.
    pub file: String,
    /// Bytes, where known.
    pub size: Option<i64>,
    /// When it was published, where known.
    pub published_at: Option<Timestamp>,
}

/// The archived files of a tree at a step: by lower-case name, name, publication, file name.
pub fn archived(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<Archived>, DbError> {
    let _ = (c, tree, seq);
    todo!()
}

/// A life as a sync compares it with what upstream declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The key of the row: what [`crate::model::change::Change::Close`] takes.
    pub key: LifeKey,
    /// The package's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The revision.
    pub revision: i64,
    /// The record shown.
    pub variant: i64,
    /// When it was published upstream, where known.
    pub published_at: Option<Timestamp>,
    /// The release's own file.
    pub file: FileId,
    /// Its name in URLs.
    pub file_name: String,
    /// Where upstream keeps it.
    pub locator: String,
    /// Bytes, where known.
    pub size: Option<i64>,
    /// What upstream's index declared.
    pub md5: Option<Md5>,
    /// Digest of the bytes, where known.
    pub sha256: Option<Sha256>,
    /// What became of the bytes.
    pub file_state: FileState,
    /// The record, for listed lives.
    pub stanza: Option<Vec<u8>>,
}

/// Calls `each` for every life of a tree at a step, in no order that means anything.
pub fn current(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    each: &mut dyn FnMut(Current) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let _ = (c, tree, seq, each);
    todo!()
}

/// The highest revision of a version of a package from a source, alive or not: the next bytes get one more.
pub fn newest_revision(
    c: &mut dyn Conn,
    origin: crate::model::ids::SourceId,
    package: PackageId,
    version: &str,
) -> Result<Option<(ReleaseId, i64)>, DbError> {
    const NEWEST: &str = "SELECT id, revision FROM release WHERE origin_id = $1 AND package_id = $2 \
        AND version = $3 ORDER BY revision DESC LIMIT 1";
    let rows = c.query(NEWEST, &[origin.into(), package.into(), version.into()])?;
    rows.first().map(|row| Ok((ReleaseId(row.int(0)?), row.int(1)?))).transpose()
}
