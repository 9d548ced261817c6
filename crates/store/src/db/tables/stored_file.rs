//! Stored files by digest: their location on a mirror, their package, and their publisher.

use super::life::ReleaseFile;
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;
use base::model::ids::{FileId, ReleaseId};
use base::model::point::PointTree;
use base::model::time::Timestamp;

row! {
    /// A stored file that a mirror has.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MirroredFile from "file f JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
        JOIN blob b ON b.sha256 = f.sha256 JOIN life l ON l.release_id = f.release_id JOIN tree e ON e.id = l.tree_id" {
        /// The tree and the first step of the newest life in which the file is listed or archived.
        pub tree: PointTree = "e.source_id, l.tree_id, l.from_seq",
        pub package: String = "p.name",
        /// The platform of a binary, see [`super::binary::Binary::platform`]; empty for a source package.
        pub platform: String = "f.platform",
        pub file: ReleaseFile = "l.state, l.path, l.package_id, l.release_id, r.version, r.revision, r.published_at, f.id, \
            f.name, f.locator, f.size, f.md5, f.sha256, f.state, b.class",
    }
}

impl Columns for PointTree {
    fn decode(cells: &mut Cells) -> Result<PointTree, DbError> {
        let (source, tree, seq) = Columns::decode(cells)?;
        Ok(PointTree { source, tree, seq, base: None, rules: None })
    }
}

/// Returns the stored files with this digest that a mirror has, each with its newest life.
pub fn mirrored_files(c: &mut dyn Conn, sha256: Sha256) -> Result<Vec<MirroredFile>, DbError> {
    const FIND: &str = select!(
        MirroredFile,
        "WHERE f.sha256 = $1 AND f.state = 1 AND f.locator NOT IN ('', 'wheel') AND l.state IN (0, 1) \
         AND (f.platform = '' AND e.role = 'source' OR l.file_id = f.id) ORDER BY f.id, l.from_seq DESC"
    );
    let mut files: Vec<MirroredFile> = c.all(FIND, &[sha256.to_string().into()])?;
    files.dedup_by_key(|mirrored| mirrored.file.file);
    Ok(files)
}

row! {
    /// The package that stored bytes belong to.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FileOrigin {
        pub file: String,
        pub source: String,
        /// The language of its source, as stored in the database.
        pub language: String,
        pub package: String,
        pub version: String,
        /// The platform of a binary, see [`super::binary::Binary::platform`]; empty for a source package.
        pub platform: String,
        /// The user who published the file first, and the time.
        pub published: Option<(String, Timestamp)> = _,
    }
}

macro_rules! origin {
    ($rest:literal) => {
        concat!(
            "SELECT f.name, s.name, s.language, p.name, r.version, f.platform, f.release_id, f.id FROM file f \
             JOIN release r ON r.id = f.release_id JOIN package p ON p.id = r.package_id \
             JOIN source s ON s.id = r.origin_id ",
            $rest
        )
    };
}

/// Returns the package of a stored file with this digest.
pub fn origin(c: &mut dyn Conn, sha256: Sha256) -> Result<Option<FileOrigin>, DbError> {
    const FIND: &str = origin!("WHERE f.sha256 = $1 AND f.state = 1 ORDER BY f.id LIMIT 1");
    find_origin(c, FIND, sha256)
}

/// Returns the package of a README.
pub fn origin_of_readme(c: &mut dyn Conn, sha256: Sha256) -> Result<Option<FileOrigin>, DbError> {
    const FIND: &str = origin!(
        "JOIN detail d ON d.release_id = f.release_id WHERE d.readme_sha256 = $1 AND f.platform = '' \
         ORDER BY f.id LIMIT 1"
    );
    find_origin(c, FIND, sha256)
}

fn find_origin(c: &mut dyn Conn, sql: &'static str, sha256: Sha256) -> Result<Option<FileOrigin>, DbError> {
    const FIRST_TX: &str = "SELECT t.actor, t.at FROM life l JOIN tree e ON e.id = l.tree_id JOIN step s \
        ON s.tree_id = l.tree_id AND s.seq = l.from_seq JOIN tx t ON t.id = s.tx_id WHERE l.release_id = $1 \
        AND (l.file_id = $2 OR e.role = 'source' AND $3 = '') ORDER BY t.at LIMIT 1";
    let found = c.first::<(FileOrigin, ReleaseId, FileId)>(sql, &[sha256.to_string().into()])?;
    let Some((origin, release, file)) = found else { return Ok(None) };
    let params: [Value; 3] = [release.into(), file.into(), origin.platform.as_str().into()];
    Ok(Some(FileOrigin { published: c.first(FIRST_TX, &params)?, ..origin }))
}

/// Returns number and size in bytes of the stored objects that rows refer to, by directory, without usage data.
pub fn totals(c: &mut dyn Conn) -> Result<Vec<(String, i64, i64)>, DbError> {
    const BLOBS: &str = "SELECT class, count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM blob GROUP BY class ORDER BY class";
    const INDEXES: &str = "SELECT 'indexes', count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM \
        (SELECT sha256, min(size) AS size FROM rendered GROUP BY sha256) i";
    const LOGS: &str = "SELECT 'build-logs', count(*), CAST(coalesce(sum(log_size), 0) AS BIGINT) FROM git_build \
        WHERE log_sha256 IS NOT NULL";
    let mut rows = c.all(BLOBS, &[])?;
    rows.extend(c.all(INDEXES, &[])?);
    rows.extend(c.all(LOGS, &[])?);
    Ok(rows)
}

/// Returns the stored source packages whose README has this digest, as storage class and digest.
pub fn archives_of_readme(c: &mut dyn Conn, readme: Sha256) -> Result<Vec<(String, Sha256)>, DbError> {
    const FIND: &str = "SELECT b.class, b.sha256 FROM detail d JOIN file f ON f.release_id = d.release_id \
        JOIN blob b ON b.sha256 = f.sha256 WHERE d.readme_sha256 = $1 AND f.platform = '' AND f.state = 1 \
        ORDER BY f.id";
    c.all(FIND, &[readme.to_string().into()])
}
