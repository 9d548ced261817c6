//! Binaries of a source's releases, in one tree for each operating system and version of R.

use super::file::FileState;
use super::tree::{Axis, Role};
use super::{Conn, DbError, Value, ids, tree};
use crate::db::engine::columns::{row, select};
use base::model::change::LifeState;
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Binary from "life l JOIN file f ON f.id = l.file_id JOIN step s ON s.tree_id = l.tree_id \
        AND s.seq = l.from_seq LEFT JOIN step e ON e.tree_id = l.tree_id AND e.seq = l.to_seq AND l.mark = 1 \
        JOIN record r ON r.release_id = l.release_id AND r.variant = l.variant LEFT JOIN blob b ON b.sha256 = f.sha256 \
        AND f.state = 1" {
        pub package: PackageId = "l.package_id",
        pub release: ReleaseId = "l.release_id",
        pub file: FileId = "f.id",
        /// The platform: `4.5-noble/x86_64`, `4.5-noble/any`.
        pub platform: String = "f.platform",
        /// Its number; a later binary of the release for the same platform has a higher one.
        pub number: i64 = "f.build",
        pub name: String = "f.name",
        /// Its location on another server ([`super::binary_list::OfferedBinary::locator`]); empty without one.
        pub locator: String = "f.locator",
        /// Size in bytes.
        pub size: Option<i64> = "f.size",
        /// MD5 that another server's index declares.
        pub md5: Option<Md5> = "f.md5",
        pub sha256: Option<Sha256> = "f.sha256",
        pub state: FileState = "f.state",
        /// The storage class of the blob, if it is stored.
        pub class: Option<String> = "b.class",
        pub at: Timestamp = "s.at",
        /// Time of its removal by an administrator; `None` for a replaced binary, which remains in older snapshots.
        pub removed_at: Option<Timestamp> = "e.at",
        pub stanza: Vec<u8> = "r.stanza",
    }
}

macro_rules! binaries {
    ($rest:literal) => {
        select!(Binary, concat!("WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 ", $rest))
    };
}

/// Returns every binary of a release in a tree up to a step, including replaced ones; oldest first.
pub fn of_release(
    c: &mut dyn Conn,
    tree: TreeId,
    head: Seq,
    package: PackageId,
    release: ReleaseId,
) -> Result<Vec<Binary>, DbError> {
    const SELECT: &str =
        binaries!("AND l.package_id = $3 AND l.release_id = $4 ORDER BY l.from_seq, f.build");
    c.all(SELECT, &[tree.into(), head.into(), package.into(), release.into()])
}

/// Returns every binary of a package's releases in a tree up to a step, oldest first.
pub fn of_package(
    c: &mut dyn Conn,
    tree: TreeId,
    head: Seq,
    package: PackageId,
) -> Result<Vec<Binary>, DbError> {
    const SELECT: &str = binaries!("AND l.package_id = $3 ORDER BY l.from_seq, f.build");
    c.all(SELECT, &[tree.into(), head.into(), package.into()])
}

/// Returns every binary in a tree up to a step, including replaced ones, sorted by release, then oldest first.
pub fn all(c: &mut dyn Conn, tree: TreeId, head: Seq) -> Result<Vec<Binary>, DbError> {
    const ALL: &str = binaries!("ORDER BY l.release_id, l.from_seq, f.build");
    let mut rows = Vec::new();
    c.each(ALL, &[tree.into(), head.into()], &mut |row| {
        rows.push(row.decode()?);
        Ok(())
    })?;
    Ok(rows)
}

/// Returns the archived releases of packages in a tree of source packages at a step, with their versions.
pub fn archived_releases(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    packages: impl IntoIterator<Item = PackageId>,
) -> Result<Vec<(PackageId, ReleaseId, String)>, DbError> {
    const ARCHIVED: &str = "SELECT l.package_id, l.release_id, r.version FROM life l \
        JOIN release r ON r.id = l.release_id WHERE l.tree_id = $1 AND l.state = 1 \
        AND l.from_seq <= $2 AND l.to_seq > $2 AND l.package_id = $3";
    let params: Vec<Vec<Value>> =
        packages.into_iter().map(|package| vec![tree.into(), seq.into(), package.into()]).collect();
    Ok(c.many(ARCHIVED, &params)?.into_iter().flatten().collect())
}

/// Returns the source's tree of binaries with the given label, and creates it if it is missing. The publish of the
/// caller makes all servers reload their catalogs.
pub fn get_or_create_tree(c: &mut dyn Conn, source: SourceId, label: &str) -> Result<TreeId, DbError> {
    let trees = tree::of_source(c, source)?;
    match trees.into_iter().find(|tree| tree.role == Role::Binary && tree.label == label) {
        Some(tree) => Ok(tree.id),
        None => tree::create(c, source, label, Role::Binary, Axis::Step),
    }
}

#[derive(Clone, Debug)]
pub struct NewBinary<'a> {
    pub package: PackageId,
    pub release: ReleaseId,
    pub platform: &'a str,
    pub name: &'a str,
    /// Size in bytes.
    pub size: i64,
    pub md5: Md5,
    /// Digest of the bytes, which are in storage.
    pub sha256: Sha256,
    pub stanza: &'a [u8],
}

/// Inserts a binary at the pending step of a tree; an earlier one for the same platform remains in older snapshots.
pub fn insert(c: &mut dyn Conn, tree: TreeId, pending: Seq, binary: &NewBinary<'_>) -> Result<(), DbError> {
    const FILE: &str = "INSERT INTO file (id, release_id, role, platform, build, name, locator, size, md5, sha256, \
        state) VALUES ($1, $2, 'binary', $3, $4, $5, '', $6, $7, $8, $9)";
    const RECORD: &str = "INSERT INTO record (release_id, variant, stanza) VALUES ($1, $2, $3)";
    const CLOSE: &str = "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND state = 0 AND package_id = $3 \
        AND release_id = $4 AND to_seq = $5 AND file_id IN (SELECT id FROM file WHERE release_id = $4 \
        AND role = 'binary' AND platform = $6)";
    const LIFE: &str = "INSERT INTO life (tree_id, state, package_id, path, from_seq, to_seq, release_id, variant, \
        file_id, mark) VALUES ($1, $2, $3, '', $4, $5, $6, $7, $8, 0)";
    // The file's id also serves as binary number and variant: it is unique and ascending.
    let file = FileId(ids::reserve(c, ids::Sequence::File, 1)?);
    let open: Value = Seq::OPEN.into();
    let close = [
        pending.into(),
        tree.into(),
        binary.package.into(),
        binary.release.into(),
        open.clone(),
        binary.platform.into(),
    ];
    c.execute(CLOSE, &close)?;
    c.execute(
        FILE,
        &[
            file.into(),
            binary.release.into(),
            binary.platform.into(),
            file.into(),
            binary.name.into(),
            binary.size.into(),
            binary.md5.to_string().into(),
            binary.sha256.to_string().into(),
            FileState::Stored.as_i64().into(),
        ],
    )?;
    c.execute(RECORD, &[binary.release.into(), file.into(), binary.stanza.into()])?;
    let state = LifeState::Listed.as_i64();
    c.execute(
        LIFE,
        &[
            tree.into(),
            state.into(),
            binary.package.into(),
            pending.into(),
            open,
            binary.release.into(),
            file.into(),
            file.into(),
        ],
    )
    .map(drop)
}

/// Removes binaries of a release from a tree at its pending step: later snapshots list none of them, older ones are
/// unchanged. `files` includes replaced binaries, which would otherwise reappear.
pub fn remove(
    c: &mut dyn Conn,
    tree: TreeId,
    pending: Seq,
    package: PackageId,
    release: ReleaseId,
    files: &[FileId],
) -> Result<(), DbError> {
    const REMOVE: &str = "UPDATE life SET mark = 1, to_seq = CASE WHEN to_seq = $1 THEN $2 ELSE to_seq END \
        WHERE tree_id = $3 AND state = 0 AND package_id = $4 AND release_id = $5 AND file_id = $6 AND mark = 0";
    let rows: Vec<Vec<Value>> = files
        .iter()
        .map(|file| {
            let open: Value = Seq::OPEN.into();
            vec![open, pending.into(), tree.into(), package.into(), release.into(), (*file).into()]
        })
        .collect();
    c.execute_many(REMOVE, &rows).map(drop)
}
