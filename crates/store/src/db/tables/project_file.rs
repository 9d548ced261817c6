//! Files of Python packages. A release has several files, each with its own lives; the METADATA of a wheel is a file of
//! role `metadata` with the name of the wheel, and so are signatures and provenance objects, with roles of their own.

use std::collections::HashMap;

use super::life::{ReleaseFile, yanked};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{or_default, row, select};
use base::model::change::LifeKey;
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId};
use base::model::project_path::FilePart;
use base::model::time::Timestamp;

pub(in crate::db) const DISTRIBUTION: &str = "python";
pub(in crate::db) const METADATA: &str = "metadata";
pub(in crate::db) const PROVENANCE: &str = "provenance";
pub(in crate::db) const SIGNATURE: &str = "signature";
/// The locator of METADATA that this server read from a wheel of an index, because the index declares none. Queries of
/// other modules contain it as text.
pub const METADATA_OF_WHEEL: &str = "wheel";

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedFile {
        pub key: LifeKey,
        /// The reason why it is yanked; `None` if it is not yanked.
        pub yanked: Option<String> => yanked,
        /// The normalized name of the project.
        pub project: String,
        pub version: String,
        /// Number of earlier files of this name with other bytes.
        pub revision: i64,
        pub name: String,
        /// Size in bytes; -1 if the index does not state it.
        pub size: i64,
        pub sha256: Sha256,
        /// Facts for the page of the project, as JSON.
        pub facts: Vec<u8> => or_default,
        /// The number of the facts; 0 for the first ones.
        pub variant: i64,
        /// Digest of the METADATA of an uploaded wheel. For a wheel of an index, the digest is in `facts`.
        pub metadata: Option<Sha256>,
    }
}

row! {
    /// What the page of a project states about a listed file; see [`ListedFile`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PageRow from "life l JOIN release r ON r.id = l.release_id \
        JOIN file f ON f.id = l.file_id AND f.role = 'python'" {
        pub file: FileId = "l.file_id",
        pub version: String = "r.version",
        pub name: String = "f.name",
        /// Size in bytes; -1 if the index does not state it.
        pub size: i64 = "coalesce(f.size, -1)",
        pub sha256: Sha256 = "f.sha256",
        // Most lives have the first facts, for which the other table is not searched.
        pub facts: Vec<u8> = "CASE WHEN l.variant = 0 THEN f.facts ELSE coalesce((SELECT v.facts FROM file_fact v \
            WHERE v.file_id = l.file_id AND v.variant = l.variant), f.facts) END" => or_default,
        /// The reason why it is yanked; `None` if it is not yanked.
        pub yanked: Option<String> = "l.mark, l.note" => yanked,
        /// Digest of the METADATA of an uploaded wheel.
        pub metadata: Option<Sha256> = _,
        /// The beginning of its first life, if the facts have no upload time and it was read: [`first_listed`].
        pub listed_at: Option<Timestamp> = _,
    }
}

impl From<ListedFile> for PageRow {
    fn from(listed: ListedFile) -> PageRow {
        let ListedFile { key, version, name, size, sha256, facts, yanked, metadata, .. } = listed;
        PageRow { file: key.file, version, name, size, sha256, facts, yanked, metadata, listed_at: None }
    }
}

macro_rules! listed {
    ($rest:literal) => {
        listed!(
            "m.sha256",
            "LEFT JOIN file m ON m.release_id = f.release_id AND m.role = 'metadata' AND m.platform = '' \
             AND m.build = f.build AND m.name = f.name AND m.locator = '' ",
            $rest
        )
    };
    ($metadata:literal, $join:literal, $rest:literal) => {
        concat!(
            "SELECT l.state, l.package_id, '', l.release_id, l.file_id, l.from_seq, l.mark, l.note, p.name, r.version, \
             f.build, f.name, coalesce(f.size, -1), f.sha256, coalesce(v.facts, f.facts), l.variant, ",
            $metadata,
            " FROM life l JOIN package p ON p.id = l.package_id \
             JOIN release r ON r.id = l.release_id JOIN file f ON f.id = l.file_id AND f.role = 'python' \
             LEFT JOIN file_fact v ON v.file_id = l.file_id AND v.variant = l.variant ",
            $join,
            "WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 ",
            $rest
        )
    };
}

/// Returns the files of a project that a tree lists at a step, in unspecified order.
pub fn of_project(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Vec<ListedFile>, DbError> {
    const FIND: &str = listed!("AND l.package_id = $3");
    c.all(FIND, &[tree.into(), seq.into(), package.into()])
}

/// Like [`of_project`], for the tree of an index: the facts of its files have the digests of METADATA, so the query does
/// not search for uploaded METADATA. A third of its time for a project with thousands of files.
pub fn of_index_project(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Vec<ListedFile>, DbError> {
    const FIND: &str = listed!("CAST(NULL AS TEXT)", "", "AND l.package_id = $3");
    c.all(FIND, &[tree.into(), seq.into(), package.into()])
}

/// Like [`of_index_project`], with only the columns of a page, because a project may have thousands of rows.
pub fn page_of_index(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Vec<PageRow>, DbError> {
    const FIND: &str = select!(
        PageRow,
        "WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 AND l.package_id = $3"
    );
    c.all(FIND, &[tree.into(), seq.into(), package.into()])
}

/// Returns the beginning of the first life of each file of a project in the tree of an index. It never changes.
pub fn first_listed(
    c: &mut dyn Conn,
    tree: TreeId,
    package: PackageId,
) -> Result<HashMap<FileId, Timestamp>, DbError> {
    const FIRST: &str = "SELECT file_id, min(from_seq) FROM life \
        WHERE tree_id = $1 AND state = 0 AND package_id = $2 GROUP BY file_id";
    Ok(c.all(FIRST, &[tree.into(), package.into()])?.into_iter().collect())
}

/// Like [`of_project`], for several projects, in their order.
pub fn of_projects(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    packages: &[PackageId],
) -> Result<Vec<Vec<ListedFile>>, DbError> {
    let params: Vec<Vec<Value>> =
        packages.iter().map(|package| vec![tree.into(), seq.into(), (*package).into()]).collect();
    c.many(listed!("AND l.package_id = $3"), &params)
}

/// Returns all files that a tree lists at a step, in unspecified order.
pub fn all(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<ListedFile>, DbError> {
    c.all(listed!(""), &[tree.into(), seq.into()])
}

/// Returns the time from which the tree of an index has each file of a project, yanked or not: the beginning of its first
/// life, or the first reading with the file if that is later and an earlier reading lacked the file. A yank ends a life
/// and begins another, so [`ListedFile::key`] of a yanked file has a later beginning.
pub fn discovered_at(
    c: &mut dyn Conn,
    tree: TreeId,
    package: PackageId,
) -> Result<HashMap<FileId, Timestamp>, DbError> {
    const FIRST: &str = "SELECT l.file_id, min(l.from_seq), min(n.read_at) FROM life l \
        LEFT JOIN file_reading n ON n.file_id = l.file_id \
        WHERE l.tree_id = $1 AND l.state = 0 AND l.package_id = $2 GROUP BY l.file_id";
    let rows = c.all::<(FileId, Timestamp, Option<Timestamp>)>(FIRST, &[tree.into(), package.into()])?;
    Ok(rows
        .into_iter()
        .map(|(file, from, read_at)| (file, read_at.map_or(from, |at| at.max(from))))
        .collect())
}

row! {
    /// A period in which a tree lists a file; in all of it, the file is either yanked or not.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FileLife from "life l JOIN release r ON r.id = l.release_id \
        JOIN file f ON f.id = l.file_id AND f.role = 'python' LEFT JOIN file_reading n ON n.file_id = l.file_id" {
        pub name: String = "f.name",
        pub version: String = "r.version",
        pub from: Seq = "l.from_seq",
        /// The first sequence number that does not list it any more; [`Seq::OPEN`] if it is listed now.
        pub to: Seq = "l.to_seq",
        /// The reason why it is yanked; `None` if it is not yanked.
        pub yanked: Option<String> = "l.mark, l.note" => yanked,
        /// Time of the first reading with the file, if an earlier reading lacked it.
        pub read_at: Option<Timestamp> = "n.read_at",
    }
}

/// Returns all periods of the files of a project in a tree, by name and beginning.
pub fn lives(c: &mut dyn Conn, tree: TreeId, package: PackageId) -> Result<Vec<FileLife>, DbError> {
    const LIST: &str = select!(
        FileLife,
        "WHERE l.tree_id = $1 AND l.state = 0 AND l.package_id = $2 ORDER BY f.name, l.from_seq"
    );
    c.all(LIST, &[tree.into(), package.into()])
}

/// A project that a tree listed at a step or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeProject {
    pub name: String,
    pub is_listed: bool,
    /// The newest step, up to the requested one, that changed it; see [`last_change`].
    pub changed: Seq,
}

/// Returns the projects that a tree listed at a step or before.
pub fn projects(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<TreeProject>, DbError> {
    const FIND: &str = "SELECT p.name, max(l.to_seq), max(CASE WHEN l.to_seq <= $1 THEN l.to_seq ELSE l.from_seq END) \
        FROM life l JOIN package p ON p.id = l.package_id \
        WHERE l.tree_id = $2 AND l.state = 0 AND l.from_seq <= $1 GROUP BY p.name";
    let rows = c.all::<(String, Seq, Seq)>(FIND, &[seq.into(), tree.into()])?.into_iter();
    Ok(rows.map(|(name, to, changed)| TreeProject { name, is_listed: to > seq, changed }).collect())
}

/// The newest step up to a sequence number that changed a project in a tree.
const LAST_CHANGE: &str = "SELECT max(CASE WHEN to_seq <= $1 THEN to_seq ELSE from_seq END) FROM life \
    WHERE tree_id = $2 AND state = 0 AND package_id = $3 AND from_seq <= $1";

/// Returns the newest step up to `seq` that changed a project in a tree; `None` if it was never listed.
pub fn last_change(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Option<Seq>, DbError> {
    Ok(c.first(LAST_CHANGE, &[seq.into(), tree.into(), package.into()])?.flatten())
}

/// Like [`last_change`], for several projects, in their order.
pub fn last_changes(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    packages: &[PackageId],
) -> Result<Vec<Option<Seq>>, DbError> {
    let params: Vec<Vec<Value>> =
        packages.iter().map(|package| vec![seq.into(), tree.into(), (*package).into()]).collect();
    let results = c.many::<Option<Seq>>(LAST_CHANGE, &params)?;
    Ok(results.into_iter().map(|rows| rows.into_iter().next().flatten()).collect())
}

row! {
    /// A file of a project that a source has or had.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct KnownFile from "release r JOIN file f ON f.release_id = r.id AND f.role = 'python'" {
        pub name: String = "f.name",
        pub version: String = "r.version",
        pub release: ReleaseId = "f.release_id",
        pub file: FileId = "f.id",
        /// Number of earlier files of this name with other bytes.
        pub revision: i64 = "f.build",
        pub sha256: Sha256 = "f.sha256",
    }
}

/// Returns every file of a project that a source has or had, higher revisions first.
pub fn known(c: &mut dyn Conn, origin: SourceId, package: PackageId) -> Result<Vec<KnownFile>, DbError> {
    const FIND: &str =
        select!(KnownFile, "WHERE r.package_id = $1 AND r.origin_id = $2 ORDER BY f.build DESC, f.id DESC");
    c.all(FIND, &[package.into(), origin.into()])
}

/// Returns whether a tree lists now the distribution to which a file belongs.
pub fn is_listed(c: &mut dyn Conn, tree: TreeId, file: &ReleaseFile) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM file f JOIN life l ON l.release_id = f.release_id AND l.file_id = f.id \
        WHERE f.release_id = $1 AND f.role = 'python' AND f.name = $2 AND f.build = $3 AND l.tree_id = $4 \
        AND l.state = 0 AND l.to_seq = $5 LIMIT 1";
    let params =
        [file.release.into(), file.name.as_str().into(), file.revision.into(), tree.into(), Seq::OPEN.into()];
    c.finds(FIND, &params)
}

/// Returns the word for a part in the column `role`.
pub(in crate::db) fn role(part: FilePart) -> &'static str {
    match part {
        FilePart::Distribution => DISTRIBUTION,
        FilePart::Metadata => METADATA,
        FilePart::Signature => SIGNATURE,
        FilePart::Provenance => PROVENANCE,
    }
}

row! {
    /// A stored file, or a file that belongs to it, found by the digest of the distribution.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FoundFile from "file f JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
        JOIN file g ON g.release_id = f.release_id AND g.role = $1 AND g.platform = '' AND g.build = f.build \
        AND g.name = f.name LEFT JOIN blob b ON b.sha256 = g.sha256 AND g.state = 1" {
        /// The normalized name of the project.
        pub project: String = "p.name",
        /// The facts of the file, as JSON.
        pub facts: Vec<u8> = "f.facts" => or_default,
        pub row: ReleaseFile = "0, '', r.package_id, r.id, r.version, g.build, r.published_at, g.id, g.name, g.locator, \
            g.size, CAST(NULL AS TEXT), g.sha256, g.state, b.class",
    }
}

/// Returns the part that belongs to the distribution with this digest and name. A tree must list the
/// distribution now or have listed it before, or, if `step` is given, list it at this step.
pub fn find(
    c: &mut dyn Conn,
    tree: TreeId,
    sha256: Sha256,
    name: &str,
    part: FilePart,
    step: Option<Seq>,
) -> Result<Option<FoundFile>, DbError> {
    const FIND: &str = select!(
        FoundFile,
        "WHERE f.sha256 = $2 AND f.role = 'python' AND f.name = $3 AND EXISTS (SELECT 1 FROM life l JOIN tree t \
         ON t.id = l.tree_id WHERE l.release_id = f.release_id AND l.file_id = f.id AND l.tree_id = $4 \
         AND l.from_seq <= t.head AND (CAST($5 AS BIGINT) IS NULL OR (l.from_seq <= $5 AND l.to_seq > $5))) \
         ORDER BY f.id LIMIT 1"
    );
    let params = [role(part).into(), sha256.to_string().into(), name.into(), tree.into(), step.into()];
    c.first(FIND, &params)
}
