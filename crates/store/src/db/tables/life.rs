//! Lives: which releases are listed or archived in a tree at a step.

use std::cmp::Ordering;

use super::file::FileState;
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::change::{LifeKey, LifeState};
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, TreeId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedRelease from "life l JOIN package p ON p.id = l.package_id JOIN record r \
        ON r.release_id = l.release_id AND r.variant = l.variant" {
        pub name: String = "p.name",
        /// The name in lower case.
        pub normalized_name: String = "p.normalized_name",
        /// Field `Path` of the record: a subdirectory such as `4.6.0/Recommended`; empty for `src/contrib` itself.
        pub path: String = "l.path",
        pub package: PackageId = "l.package_id",
        pub release: ReleaseId = "l.release_id",
        /// The record: DCF text without the terminating blank line.
        pub stanza: Vec<u8> = "r.stanza",
    }
}

impl ListedRelease {
    /// Compares in the order of an index, the same for both databases: lower-case name, name, path, release.
    pub fn order(&self, other: &ListedRelease) -> Ordering {
        let key = |l: &ListedRelease| (l.release, l.package);
        (&self.normalized_name, &self.name, &self.path)
            .cmp(&(&other.normalized_name, &other.name, &other.path))
            .then_with(|| key(self).cmp(&key(other)))
    }
}

macro_rules! listed {
    ($rest:literal) => {
        select!(
            ListedRelease,
            concat!("WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 ", $rest)
        )
    };
}

/// Returns the records listed in a tree at a step, in the order of [`ListedRelease::order`]. The database does not sort
/// them, because it would also move the stanzas, and the two databases have different collations.
pub fn listed(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<ListedRelease>, DbError> {
    let mut rows = c.all(listed!(""), &[tree.into(), seq.into()])?;
    rows.sort_unstable_by(ListedRelease::order);
    Ok(rows)
}

/// Calls `f` with each record listed in a tree at a step, in any order.
pub fn each_listed(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    f: &mut dyn FnMut(ListedRelease),
) -> Result<(), DbError> {
    c.each(listed!(""), &[tree.into(), seq.into()], &mut |row| {
        f(row.decode()?);
        Ok(())
    })
}

/// Like [`listed`], for the given packages only.
pub fn listed_of(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    packages: &[PackageId],
) -> Result<Vec<ListedRelease>, DbError> {
    let params: Vec<Vec<Value>> =
        packages.iter().map(|package| vec![tree.into(), seq.into(), (*package).into()]).collect();
    let mut rows: Vec<ListedRelease> =
        c.many(listed!("AND l.package_id = $3"), &params)?.into_iter().flatten().collect();
    rows.sort_unstable_by(ListedRelease::order);
    Ok(rows)
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedName {
        pub name: String,
        /// The name in lower case.
        pub normalized_name: String,
        pub package: PackageId,
        /// The listed version (that of the record without a path, if there are several).
        pub version: String,
        pub published_at: Option<Timestamp>,
        pub release: ReleaseId,
    }
}

/// Returns the names listed in a tree at a step, each once, by lower-case name and name.
pub fn names(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<ListedName>, DbError> {
    const NAMES: &str = "SELECT p.name, p.normalized_name, l.package_id, r.version, r.published_at, r.id, l.path \
        FROM life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2";
    let mut names: Vec<(ListedName, String)> = c.all(NAMES, &[tree.into(), seq.into()])?;
    names.sort_unstable_by(|(a, x), (b, y)| {
        (&a.normalized_name, &a.name, x).cmp(&(&b.normalized_name, &b.name, y))
    });
    names.dedup_by(|(later, _), (first, _)| later.package == first.package);
    Ok(names.into_iter().map(|(name, _)| name).collect())
}

pub fn name_count(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<usize, DbError> {
    const COUNT: &str = "SELECT count(*) FROM (SELECT DISTINCT package_id FROM life \
        WHERE tree_id = $1 AND state = 0 AND from_seq <= $2 AND to_seq > $2) AS listed";
    let count: i64 = c.first(COUNT, &[tree.into(), seq.into()])?.unwrap_or_default();
    Ok(usize::try_from(count).unwrap_or(0))
}

row! {
    /// The source file of a release that is listed or archived at a step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReleaseFile from "package p JOIN life l ON l.tree_id = $1 AND l.state IN (0, 1) AND l.package_id = p.id \
        AND l.from_seq <= $2 AND l.to_seq > $2 JOIN release r ON r.id = l.release_id JOIN file f \
        ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = '' LEFT JOIN blob b \
        ON b.sha256 = f.sha256 AND f.state = 1" {
        pub state: LifeState = "l.state",
        pub path: String = "l.path",
        pub package: PackageId = "l.package_id",
        pub release: ReleaseId = "l.release_id",
        pub version: String = "r.version",
        pub revision: i64 = "r.revision",
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp> = "r.published_at",
        pub file: FileId = "f.id",
        pub name: String = "f.name",
        /// Its location upstream, relative to `src/contrib`.
        pub locator: String = "f.locator",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// MD5 that the upstream index declares.
        pub md5: Option<Md5> = "f.md5",
        pub sha256: Option<Sha256> = "f.sha256",
        pub file_state: FileState = "f.state",
        /// The storage class of the blob, if it is stored.
        pub class: Option<String> = "b.class",
    }
}

macro_rules! release_files {
    ($rest:literal) => {
        select!(
            ReleaseFile,
            concat!(
                "WHERE p.name = $3 AND p.language = \
                 (SELECT s.language FROM source s JOIN tree t ON t.source_id = s.id WHERE t.id = $1) ",
                $rest
            )
        )
    };
}

impl Columns for LifeState {
    fn decode(cells: &mut Cells) -> Result<LifeState, DbError> {
        let number = i64::decode(cells)?;
        let state = [LifeState::Listed, LifeState::Archived].into_iter().find(|s| s.as_i64() == number);
        state.ok_or_else(|| cells.shape("another number", "a life's state"))
    }
}

impl Columns for LifeKey {
    /// Decodes the columns `state`, `package_id`, `path`, `release_id`, `file_id` and `from_seq` of a life.
    fn decode(cells: &mut Cells) -> Result<LifeKey, DbError> {
        let (state, package, path, release, file, from_seq) = Columns::decode(cells)?;
        Ok(LifeKey { state, package, path, release, file, from_seq })
    }
}

/// Decodes the columns `mark` and `note` of a life: the reason why a file is yanked; `None` if it is not yanked.
pub(in crate::db) fn yanked(cells: &mut Cells) -> Result<Option<String>, DbError> {
    let (is_yanked, reason): (bool, Option<String>) = Columns::decode(cells)?;
    Ok(is_yanked.then(|| reason.unwrap_or_default()))
}

/// Returns a file of a tree at a step: `package` is case-sensitive, `file` as in URLs (`pkg_1.0.tar.gz`, or
/// `4.6.0/Recommended/pkg_1.0.tar.gz` for a record with a path). `state` limits the search to listed or archived files.
/// If several files match, one with exactly that path is preferred, then a listed one, then the newest revision.
pub fn find_file(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    state: Option<LifeState>,
    package: &str,
    file: &str,
) -> Result<Option<ReleaseFile>, DbError> {
    let (path, file) = file.rsplit_once('/').unwrap_or(("", file));
    let params = [tree.into(), seq.into(), package.into(), file.into()];
    let files: Vec<ReleaseFile> = c.all(release_files!("AND f.name = $4"), &params)?;
    let matching = files.into_iter().filter(|f| state.is_none_or(|s| s == f.state));
    // The newest revision compares greatest, so that `max_by` selects it among files of equal path and state.
    Ok(matching.max_by(|a, b| {
        (b.path != path, b.state, &b.path)
            .cmp(&(a.path != path, a.state, &a.path))
            .then_with(|| (a.revision, a.release).cmp(&(b.revision, b.release)))
    }))
}

/// Returns every listed or archived release of a package in a tree at a step: listed ones first, then newest first.
pub fn package_detail(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: &str,
) -> Result<Vec<ReleaseFile>, DbError> {
    let params = [tree.into(), seq.into(), package.into()];
    let mut files: Vec<ReleaseFile> = c.all(release_files!(""), &params)?;
    files.sort_by(|a, b| {
        let newest = (b.published_at, b.revision, b.release).cmp(&(a.published_at, a.revision, a.release));
        a.state.cmp(&b.state).then(newest)
    });
    Ok(files)
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedSpan from "life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id" {
        pub version: String = "r.version",
        pub from: Seq = "l.from_seq",
        /// The first step without it.
        pub to: Seq = "l.to_seq",
    }
}

/// Returns the steps up to `seq` at which a tree lists versions of a package, the newest first.
pub fn listed_spans(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: &str,
) -> Result<Vec<ListedSpan>, DbError> {
    const SPANS: &str =
        select!(ListedSpan, "WHERE l.tree_id = $1 AND p.name = $2 AND l.state = 0 AND l.from_seq <= $3");
    let mut spans: Vec<ListedSpan> = c.all(SPANS, &[tree.into(), package.into(), seq.into()])?;
    spans.sort_unstable_by(|a, b| (b.from, b.to, &b.version).cmp(&(a.from, a.to, &a.version)));
    Ok(spans)
}

row! {
    /// A row of the tables under `Meta/`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FileInfo from "life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        JOIN file f ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = ''" {
        pub name: String = "p.name",
        /// The name in lower case.
        pub normalized_name: String = "p.normalized_name",
        pub file: String = "f.name",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        pub published_at: Option<Timestamp> = "r.published_at",
    }
}

impl FileInfo {
    /// Compares in the order of the tables under `Meta/`: lower-case name, name, publication, file name.
    pub fn order(&self, other: &FileInfo) -> Ordering {
        (&self.normalized_name, &self.name)
            .cmp(&(&other.normalized_name, &other.name))
            .then(self.published_at.cmp(&other.published_at))
            .then_with(|| self.file.cmp(&other.file))
    }
}

macro_rules! files {
    ($rest:literal) => {
        select!(FileInfo, concat!("WHERE l.tree_id = $1 AND l.from_seq <= $2 AND l.to_seq > $2 ", $rest))
    };
}

/// Returns the archived files of a tree at a step, in the order of [`FileInfo::order`].
pub fn archived_files(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<FileInfo>, DbError> {
    files(c, files!("AND l.state = 1"), tree, seq)
}

/// Returns the listed files of a tree at a step, except those in a subdirectory, in the order of [`FileInfo::order`].
pub fn listed_files(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<FileInfo>, DbError> {
    files(c, files!("AND l.state = 0 AND l.path = ''"), tree, seq)
}

fn files(c: &mut dyn Conn, sql: &'static str, tree: TreeId, seq: Seq) -> Result<Vec<FileInfo>, DbError> {
    let mut rows: Vec<FileInfo> = c.all(sql, &[tree.into(), seq.into()])?;
    rows.sort_unstable_by(FileInfo::order);
    Ok(rows)
}

row! {
    /// A life at a step, for comparison with the lists of upstream.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CurrentLife from "life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        JOIN file f ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = '' \
        LEFT JOIN record c ON c.release_id = l.release_id AND c.variant = l.variant AND l.state = 0" {
        /// The key of the row, for [`base::model::change::Change::EndLife`].
        pub key: LifeKey = "l.state, l.package_id, l.path, l.release_id, l.file_id, l.from_seq",
        pub name: String = "p.name",
        pub version: String = "r.version",
        pub revision: i64 = "r.revision",
        /// Number of the record that is served.
        pub variant: i64 = "l.variant",
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp> = "r.published_at",
        pub file: FileId = "f.id",
        pub file_name: String = "f.name",
        pub locator: String = "f.locator",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// MD5 that the upstream index declared.
        pub md5: Option<Md5> = "f.md5",
        pub sha256: Option<Sha256> = "f.sha256",
        pub file_state: FileState = "f.state",
        /// The record, for listed lives.
        pub stanza: Option<Vec<u8>> = "c.stanza",
    }
}

macro_rules! current {
    ($rest:literal) => {
        select!(CurrentLife, concat!("WHERE l.tree_id = $1 AND l.from_seq <= $2 AND l.to_seq > $2 ", $rest))
    };
}

/// Calls `each` for every life of a tree at a step, in unspecified order.
pub fn current(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    each: &mut dyn FnMut(CurrentLife) -> Result<(), DbError>,
) -> Result<(), DbError> {
    c.each(current!(""), &[tree.into(), seq.into()], &mut |row| each(row.decode()?))
}

/// Returns the lives of one package in a tree at a step. The duration does not depend on the size of the tree.
pub fn current_of(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Vec<CurrentLife>, DbError> {
    const SELECT: &str = current!("AND l.state IN (0, 1) AND l.package_id = $3");
    c.all(SELECT, &[tree.into(), seq.into(), package.into()])
}

/// Returns the state of a package in a tree at a step: listed, else archived, else `None`.
pub fn presence(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: PackageId,
) -> Result<Option<LifeState>, DbError> {
    const PRESENCE: &str = "SELECT state FROM life WHERE tree_id = $1 AND state IN (0, 1) AND package_id = $2 \
        AND from_seq <= $3 AND to_seq > $3 ORDER BY state LIMIT 1";
    c.first(PRESENCE, &[tree.into(), package.into(), seq.into()])
}

/// Returns the release with the highest revision of a package's version from a source, and that revision. It may have
/// no life now. Different bytes of this version get the next revision. `None` if the source never had the version.
pub fn newest_revision(
    c: &mut dyn Conn,
    origin: base::model::ids::SourceId,
    package: PackageId,
    version: &str,
) -> Result<Option<(ReleaseId, i64)>, DbError> {
    const NEWEST: &str = "SELECT id, revision FROM release WHERE origin_id = $1 AND package_id = $2 \
        AND version = $3 ORDER BY revision DESC LIMIT 1";
    c.first(NEWEST, &[origin.into(), package.into(), version.into()])
}
