//! Objects of a backup: those that cannot be fetched or generated again, and generated ones with bytes to preserve.

use super::{Conn, DbError};
use crate::db::engine::columns::row;
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;

/// The condition that no mirror has the object of a row `b` of the table `blob`: one of its files has no location on a
/// mirror (METADATA that was read from a wheel has the locator `wheel`), or is neither listed nor archived now. The life of a listed binary or Python file names the file; the life of a listed source package names only the release.
macro_rules! is_only_copy {
    () => {
        "EXISTS (SELECT 1 FROM file f WHERE f.sha256 = b.sha256 AND f.state = 1 AND (f.locator IN ('', 'wheel') \
         OR NOT EXISTS (SELECT 1 FROM life l JOIN tree t ON t.id = l.tree_id WHERE l.release_id = f.release_id \
         AND (f.role NOT IN ('binary', 'python', 'metadata', 'provenance') OR l.file_id = f.id \
         OR EXISTS (SELECT 1 FROM file d WHERE d.id = l.file_id AND d.role = 'python' \
         AND f.role IN ('metadata', 'provenance') AND d.build = f.build AND d.name = f.name)) \
         AND l.from_seq <= t.head AND l.to_seq > t.head)))"
    };
}
pub(in crate::db) use is_only_copy;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DurableObject {
        /// The first directory of its path, see [`crate::storage::Key::directory`].
        pub directory: String,
        pub sha256: Sha256,
        /// Its size in bytes, if a row states it.
        pub size: Option<u64> => size,
        /// Whether a server fetches or generates it again if it is missing.
        pub is_replaceable: bool,
    }
}

fn size(cells: &mut Cells) -> Result<Option<u64>, DbError> {
    Ok(Option::<i64>::decode(cells)?.and_then(|size| u64::try_from(size).ok()))
}

/// Calls `each` for every object that the database of packages refers to and that a server cannot replace (packages of
/// local sources, READMEs, build logs, files that their mirror no longer lists), and for stored indexes, rules and
/// advisories. With `with_cache`, also for files that a mirror has.
pub fn each_package_object(
    c: &mut dyn Conn,
    with_cache: bool,
    each: &mut dyn FnMut(DurableObject) -> Result<(), DbError>,
) -> Result<(), DbError> {
    const BLOBS: &str = concat!(
        "SELECT class, sha256, size, CAST(CASE WHEN class IN ('packages', 'readmes') OR ",
        is_only_copy!(),
        " THEN 0 ELSE 1 END AS BIGINT) FROM blob b ORDER BY class, sha256"
    );
    const GENERATED: &str = "SELECT DISTINCT 'indexes', sha256, size, CAST(1 AS BIGINT) FROM rendered \
        UNION SELECT 'sysreqs', sha256, CAST(NULL AS BIGINT), CAST(1 AS BIGINT) FROM upstream \
        WHERE url = 'sysreqs:rules' \
        UNION SELECT 'vulns', sha256, CAST(NULL AS BIGINT), CAST(1 AS BIGINT) FROM upstream \
        WHERE SUBSTR(url, 1, 6) = 'vulns:' \
        UNION SELECT 'build-logs', log_sha256, log_size, CAST(0 AS BIGINT) FROM git_build \
        WHERE log_sha256 IS NOT NULL ORDER BY 1, 2";
    c.each(BLOBS, &[], &mut |row| {
        let object: DurableObject = row.decode()?;
        if with_cache || !object.is_replaceable { each(object) } else { Ok(()) }
    })?;
    c.each(GENERATED, &[], &mut |row| each(row.decode()?))
}

/// Calls `each` for every object that the database of usage data refers to.
pub fn each_usage_object(
    c: &mut dyn Conn,
    each: &mut dyn FnMut(DurableObject) -> Result<(), DbError>,
) -> Result<(), DbError> {
    const AGGREGATES: &str = "SELECT DISTINCT 'usage', sha256, CAST(NULL AS BIGINT), CAST(0 AS BIGINT) \
        FROM usage_aggregate ORDER BY 2";
    c.each(AGGREGATES, &[], &mut |row| each(row.decode()?))
}
