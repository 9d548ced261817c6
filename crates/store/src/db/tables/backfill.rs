//! Pending back-fills of sources, and the index records that back-fills have read from archives of a mirror so far.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::ids::SourceId;
use base::model::time::Timestamp;

row! {
    /// The request of a back-fill that is not finished.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PendingBackfill from "backfill" {
        /// The first instant of the oldest day to add.
        pub since: Timestamp,
        /// Maximum number of requests to the mirror per second.
        pub rate: i64,
        pub actor: String,
        pub requested_at: Timestamp = "asked_at",
    }
}

/// Writes the request for a back-fill of a source, replacing an earlier one.
pub fn put(c: &mut dyn Conn, source: SourceId, request: &PendingBackfill) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO backfill (source_id, since, rate, actor, asked_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (source_id) DO UPDATE SET since = excluded.since, rate = excluded.rate, actor = excluded.actor, \
        asked_at = excluded.asked_at";
    let params = [
        source.into(),
        request.since.into(),
        request.rate.into(),
        request.actor.as_str().into(),
        request.requested_at.into(),
    ];
    c.execute(PUT, &params).map(drop)
}

/// Returns the request of a source; `None` if no back-fill is pending.
pub fn get(c: &mut dyn Conn, source: SourceId) -> Result<Option<PendingBackfill>, DbError> {
    const GET: &str = select!(PendingBackfill, "WHERE source_id = $1");
    c.first(GET, &[source.into()])
}

/// Deletes the request of a source; returns true if there was one.
pub fn delete(c: &mut dyn Conn, source: SourceId) -> Result<bool, DbError> {
    Ok(c.execute("DELETE FROM backfill WHERE source_id = $1", &[source.into()])? == 1)
}

/// A source package of a mirror, identified by the data in the mirror's tables of files (`Meta/*.rds`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Archive {
    /// The file's name: `{package}_{version}.tar.gz`.
    pub file: String,
    /// Size in bytes.
    pub size: i64,
    pub published_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DescriptionResult {
    /// The index record: DCF text without the terminating blank line.
    Record(Vec<u8>),
    /// The reason why there is no record; reading the same file again would fail in the same way.
    Failure(String),
}

/// Writes results, at most 2,000 per call.
pub fn put_descriptions(
    c: &mut dyn Conn,
    source: SourceId,
    results: &[(Archive, DescriptionResult)],
) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO backfill_record (source_id, file, size, published_at, stanza, error) VALUES ($1, \
        $2, $3, $4, $5, $6) ON CONFLICT (source_id, file, size, published_at) DO UPDATE SET stanza = excluded.stanza, \
        error = excluded.error";
    let row = |(archive, result): &(Archive, DescriptionResult)| {
        let (stanza, error): (&[u8], &str) = match result {
            DescriptionResult::Record(stanza) => (stanza, ""),
            DescriptionResult::Failure(error) => (b"", error),
        };
        let Archive { file, size, published_at } = archive;
        vec![
            source.into(),
            file.as_str().into(),
            (*size).into(),
            (*published_at).into(),
            stanza.into(),
            error.into(),
        ]
    };
    let rows: Vec<Vec<Value>> = results.iter().map(row).collect();
    c.execute_many(PUT, &rows).map(drop)
}

/// Calls `each` for every stored result of a source, in unspecified order.
pub fn each_description(
    c: &mut dyn Conn,
    source: SourceId,
    each: &mut dyn FnMut(Archive, DescriptionResult) -> Result<(), DbError>,
) -> Result<(), DbError> {
    const ALL: &str =
        "SELECT file, size, published_at, stanza, error FROM backfill_record WHERE source_id = $1";
    c.each(ALL, &[source.into()], &mut |row| {
        let (file, size, published_at, stanza, error): (_, _, _, _, String) = row.decode()?;
        let result = match error.is_empty() {
            true => DescriptionResult::Record(stanza),
            false => DescriptionResult::Failure(error),
        };
        each(Archive { file, size, published_at }, result)
    })
}

/// Deletes up to `limit` stored results of a source and returns their number. Call it until it returns 0.
pub fn delete_descriptions(c: &mut dyn Conn, source: SourceId, limit: i64) -> Result<u64, DbError> {
    const PAGE: &str =
        "SELECT source_id, file, size, published_at FROM backfill_record WHERE source_id = $1 LIMIT $2";
    const DELETE: &str = "DELETE FROM backfill_record WHERE source_id = $1 AND file = $2 AND size = $3 \
        AND published_at = $4";
    let rows = c.query(PAGE, &[source.into(), limit.into()])?;
    let keys: Vec<Vec<Value>> = rows.into_iter().map(|row| row.0).collect();
    if keys.is_empty() { Ok(0) } else { c.execute_many(DELETE, &keys) }
}
