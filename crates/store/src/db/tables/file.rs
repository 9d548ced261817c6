//! Files of releases: the state, digest and size of their bytes.

use super::{Conn, DbError, Value, tlog, tlog_event};
use crate::db::engine::columns::{numbers, row, select};
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, ReleaseId, SourceId};

numbers! {
    pub enum FileState: "a file state" {
        /// Upstream has it; it was never fetched.
        Known = 0,
        Stored = 1,
        /// The blob was removed to save space; upstream still has it.
        Evicted = 2,
        /// The bytes from upstream failed the checks.
        Refused = 3,
    }
}

/// Facts about a file that a fetch has determined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFacts {
    pub file: FileId,
    /// Digest of its bytes; `None` leaves the known digest unchanged.
    pub sha256: Option<Sha256>,
    /// Size in bytes; `None` leaves the known size unchanged.
    pub size: Option<i64>,
    /// Its state. `Stored` only if the blob is in storage.
    pub state: FileState,
    /// `Built` of a binary; `None` leaves the known value unchanged.
    pub built: Option<String>,
}

/// Returns whether a stored file with this digest is on no mirror.
pub fn is_local(c: &mut dyn Conn, sha256: Sha256) -> Result<bool, DbError> {
    const FIND: &str =
        "SELECT 1 FROM file WHERE sha256 = $1 AND state = 1 AND locator IN ('', 'wheel') LIMIT 1";
    c.finds(FIND, &[sha256.to_string().into()])
}

/// Returns the name of a stored file with this digest.
pub fn name_of(c: &mut dyn Conn, sha256: Sha256) -> Result<Option<String>, DbError> {
    const FIND: &str = "SELECT name FROM file WHERE sha256 = $1 AND state = 1 ORDER BY id LIMIT 1";
    c.first(FIND, &[sha256.to_string().into()])
}

/// Writes facts about many files. The column `facts` of a binary contains its field `Built`.
pub fn update(c: &mut dyn Conn, updates: &[FetchedFacts]) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE file SET sha256 = coalesce($1, sha256), size = coalesce($2, size), state = $3, \
        facts = coalesce($4, facts) WHERE id = $5";
    let row = |update: &FetchedFacts| -> Vec<Value> {
        let built = update.built.as_ref().map_or(Value::Null, |built| built.as_bytes().into());
        let (sha256, state) = (Value::opt_text(update.sha256), update.state.as_i64().into());
        vec![sha256, update.size.into(), state, built, update.file.into()]
    };
    let rows: Vec<Vec<Value>> = updates.iter().map(row).collect();
    log_new_digests(c, updates)?;
    c.execute_many(UPDATE, &rows).map(drop)
}

row! {
    /// A package whose digest is not known yet, as the log names it.
    struct UnknownFile from "file f JOIN release r ON r.id = f.release_id JOIN source o ON o.id = r.origin_id" {
        source: String = "o.name",
        /// Several binaries have one file name, so that theirs has platform and build too.
        name: String = "CASE WHEN f.platform = '' THEN f.name ELSE f.platform || '/' || f.build || '/' || f.name END",
        size: Option<i64> = "f.size",
        md5: Option<Md5> = "f.md5",
    }
}

/// Adds an event of the log for each package whose SHA-256 was unknown: source, name, size, MD5, SHA-256; `-` is unknown.
fn log_new_digests(c: &mut dyn Conn, updates: &[FetchedFacts]) -> Result<(), DbError> {
    const FIND: &str = select!(UnknownFile, "WHERE f.sha256 IS NULL AND f.role <> 'metadata' AND f.id = $1");
    if !tlog::exists(c)? {
        return Ok(());
    }
    let known: Vec<(&FetchedFacts, Sha256)> =
        updates.iter().filter_map(|update| Some((update, update.sha256?))).collect();
    let ids: Vec<Vec<Value>> = known.iter().map(|(update, _)| vec![update.file.into()]).collect();
    let found = c.many::<UnknownFile>(FIND, &ids)?;
    let text = |((update, sha256), mut found): ((&FetchedFacts, Sha256), Vec<UnknownFile>)| {
        let UnknownFile { source, name, size, md5 } = found.pop()?;
        let size = update.size.or(size).map_or_else(|| "-".to_owned(), |size| size.to_string());
        let md5 = md5.map_or_else(|| "-".to_owned(), |md5| md5.to_string());
        Some(format!("file {source} {name} {size} {md5} {sha256}\n"))
    };
    let texts: Vec<String> = known.into_iter().zip(found).filter_map(text).collect();
    tlog_event::add(c, "files", &texts)
}

/// A package as the log names it, in a line of an entry with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedFile {
    pub source: String,
    /// Of binaries with platform and build before it.
    pub name: String,
    pub md5: Md5,
    pub sha256: Sha256,
}

/// Returns those of these packages of which the database has a file with another SHA-256.
pub fn differing(c: &mut dyn Conn, logged: &[LoggedFile]) -> Result<Vec<LoggedFile>, DbError> {
    const FIND: &str = "SELECT f.sha256 FROM file f JOIN release r ON r.id = f.release_id \
        JOIN source o ON o.id = r.origin_id WHERE f.name = $1 AND f.sha256 IS NOT NULL AND f.role <> 'metadata' \
        AND o.name = $2 AND f.md5 = $3 \
        AND CASE WHEN f.platform = '' THEN f.name ELSE f.platform || '/' || f.build || '/' || f.name END = $4";
    let params = logged.iter().map(|file| {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        vec![name.into(), file.source.as_str().into(), file.md5.to_string().into(), file.name.as_str().into()]
    });
    let found = c.many::<Sha256>(FIND, &params.collect::<Vec<Vec<Value>>>())?;
    let is_other = |file: &LoggedFile, found: &[Sha256]| found.iter().any(|sha256| *sha256 != file.sha256);
    let pairs = logged.iter().zip(found).filter(|(file, found)| is_other(file, found));
    Ok(pairs.map(|(file, _)| file.clone()).collect())
}

/// Records the digest of the uploaded bytes from which this server made a stored source package of R, in hexadecimal digits in
/// the column `facts`. Does nothing if no file has the digest `sha256`.
pub fn set_original(c: &mut dyn Conn, sha256: Sha256, original: Sha256) -> Result<(), DbError> {
    const UPDATE: &str =
        "UPDATE file SET facts = $1 WHERE sha256 = $2 AND role = 'source' AND platform = '' AND locator = ''";
    c.execute(UPDATE, &[original.to_string().as_bytes().into(), sha256.to_string().into()]).map(drop)
}

row! {
    /// A source package whose digest is not known yet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FileWithoutDigest from "file f JOIN release r ON r.id = f.release_id JOIN package p \
        ON p.id = r.package_id" {
        pub file: FileId = "f.id",
        pub package: String = "p.name",
        pub name: String = "f.name",
        pub locator: String = "f.locator",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// MD5 that the index declares.
        pub md5: Option<Md5> = "f.md5",
        pub state: FileState = "f.state",
    }
}

/// Returns the source packages without a known SHA-256 that come from the source `origin`.
pub fn files_without_digest(c: &mut dyn Conn, origin: SourceId) -> Result<Vec<FileWithoutDigest>, DbError> {
    const FIND: &str = select!(
        FileWithoutDigest,
        "WHERE f.sha256 IS NULL AND r.origin_id = $1 AND f.role = 'source' AND f.platform = ''"
    );
    c.all(FIND, &[origin.into()])
}

/// Returns the storage class and the digest of a file's blob, if it is in storage.
pub fn stored_blob(c: &mut dyn Conn, file: FileId) -> Result<Option<(String, Sha256)>, DbError> {
    const FIND: &str = "SELECT b.class, b.sha256 FROM file f JOIN blob b ON b.sha256 = f.sha256 \
        WHERE f.id = $1 AND f.state = 1";
    c.first(FIND, &[file.into()])
}

pub fn is_evicted(c: &mut dyn Conn, file: FileId) -> Result<bool, DbError> {
    c.finds("SELECT 1 FROM file WHERE id = $1 AND state = 2", &[file.into()])
}

/// Returns whether a release has a stored file with this digest.
pub fn is_stored(c: &mut dyn Conn, release: ReleaseId, sha256: Sha256) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM file WHERE release_id = $1 AND sha256 = $2 AND state = 1 LIMIT 1";
    c.finds(FIND, &[release.into(), sha256.to_string().into()])
}
