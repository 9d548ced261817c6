//! Progress of the scrub, by storage directory and first byte of the digests, and the objects of such a range.

use super::{Conn, DbError};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// Value of `directory` in the row that records the start of an unfinished scrub of all objects.
const PASS: &str = "";

row! {
    /// The objects of a storage directory whose digests begin with one byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ScrubRange from "scrub" {
        /// The storage directory: `cran`, `readmes`.
        pub directory: String,
        /// The first byte of the digests.
        pub prefix: u8,
        /// The digest of the last object that was read, while the range is being read.
        pub position: Option<Sha256> => |cells| String::decode(cells).map(|digest| digest.parse().ok()),
        /// Time at which the range was last read to its end.
        pub read_at: Option<Timestamp> = "nullif(read_at, 0)",
        /// Number of objects that were read at `read_at`.
        pub objects: i64,
        /// Number of bad objects among them that could not be repaired.
        pub bad: i64,
    }
}

impl ScrubRange {
    /// Returns a range that was never read.
    pub fn new(directory: &str, prefix: u8) -> ScrubRange {
        ScrubRange {
            directory: directory.to_owned(),
            prefix,
            position: None,
            read_at: None,
            objects: 0,
            bad: 0,
        }
    }

    /// Returns the bounds, both exclusive, of the digests that have not been read yet.
    fn bounds(&self) -> [String; 2] {
        let from = self.position.map_or_else(|| format!("{:02x}", self.prefix), |digest| digest.to_string());
        // "g" is greater than every digit.
        let until = self.prefix.checked_add(1).map_or_else(|| "g".to_owned(), |next| format!("{next:02x}"));
        [from, until]
    }
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReferencedObject {
        pub sha256: Sha256,
        /// Its size, if it is recorded.
        pub size: Option<u64> => |cells| i64::decode(cells).map(|size| u64::try_from(size).ok()),
    }
}

/// Returns the ranges that were read completely or partly.
pub fn ranges(c: &mut dyn Conn) -> Result<Vec<ScrubRange>, DbError> {
    c.all(select!(ScrubRange, "WHERE directory <> ''"), &[])
}

/// Records the progress of a range.
pub fn put(c: &mut dyn Conn, range: &ScrubRange) -> Result<(), DbError> {
    let position = range.position.map(|digest| digest.to_string()).unwrap_or_default();
    let read_at = range.read_at.unwrap_or(Timestamp(0));
    write(c, &range.directory, range.prefix, &position, read_at, [range.objects, range.bad])
}

/// Returns the start time of the unfinished scrub of all objects; `None` if there is none.
pub fn pass_begin(c: &mut dyn Conn) -> Result<Option<Timestamp>, DbError> {
    c.first("SELECT read_at FROM scrub WHERE directory = ''", &[])
}

/// Records the start of a scrub of all objects, which reads partly read ranges from their beginning again.
pub fn begin_pass(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    c.execute("UPDATE scrub SET position = '' WHERE position <> ''", &[])?;
    write(c, PASS, 0, "", now, [0, 0])
}

/// Records that the scrub of all objects is finished.
pub fn end_pass(c: &mut dyn Conn) -> Result<(), DbError> {
    c.execute("DELETE FROM scrub WHERE directory = ''", &[]).map(drop)
}

fn write(
    c: &mut dyn Conn,
    directory: &str,
    prefix: u8,
    position: &str,
    read_at: Timestamp,
    [objects, bad]: [i64; 2],
) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO scrub (directory, prefix, position, read_at, objects, bad) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (directory, prefix) DO UPDATE SET position = excluded.position, \
        read_at = excluded.read_at, objects = excluded.objects, bad = excluded.bad";
    let params = [
        directory.into(),
        i64::from(prefix).into(),
        position.into(),
        read_at.into(),
        objects.into(),
        bad.into(),
    ];
    c.execute(PUT, &params).map(drop)
}

/// Returns at most `limit` blobs of a range after its position, by digest.
pub fn blobs(c: &mut dyn Conn, range: &ScrubRange, limit: i64) -> Result<Vec<ReferencedObject>, DbError> {
    const FIND: &str = "SELECT sha256, size FROM blob WHERE class = $1 AND sha256 > $2 AND sha256 < $3 \
        ORDER BY sha256 LIMIT $4";
    let [from, until] = range.bounds();
    let params = [range.directory.as_str().into(), from.into(), until.into(), limit.into()];
    c.all(FIND, &params)
}

/// Like [`blobs`], for the stored bytes of rendered indexes.
pub fn indexes(c: &mut dyn Conn, range: &ScrubRange, limit: i64) -> Result<Vec<ReferencedObject>, DbError> {
    const FIND: &str = "SELECT sha256, min(size) FROM rendered WHERE sha256 > $1 AND sha256 < $2 \
        GROUP BY sha256 ORDER BY sha256 LIMIT $3";
    let [from, until] = range.bounds();
    c.all(FIND, &[from.into(), until.into(), limit.into()])
}
