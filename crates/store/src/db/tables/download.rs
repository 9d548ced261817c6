//! Download counts, in the database of usage data.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// Downloads of one package file on one day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// Days since the epoch, UTC.
    pub day: i64,
    /// `r`, `python`.
    pub language: String,
    pub source: String,
    pub package: String,
    pub version: String,
    /// `source`, or the platform of a binary: `4.5-noble`, `4.5-noble-arm64`.
    pub platform: String,
    pub count: i64,
}

row! {
    /// Downloads of a package, the sum of all its versions and platforms.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct PackageCount from "usage_download" {
        /// `r`, `python`.
        pub language: String,
        pub source: String,
        pub package: String,
        pub count: i64 = "CAST(sum(count) AS BIGINT)",
    }
}

row! {
    /// The aggregate of a past day, an object in storage.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Aggregate from "usage_aggregate" {
        /// Days since the epoch.
        pub day: i64,
        /// The digest that names the object.
        pub sha256: Sha256,
        /// All downloads of the day.
        pub total: i64,
    }
}

/// Records that a batch of a writer is added in this transaction. Returns false if it was added before.
pub(in crate::db) fn begin_batch(
    c: &mut dyn Conn,
    writer: &str,
    batch: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    const BATCH: &str = "INSERT INTO usage_writer (name, batch, at) VALUES ($1, $2, $3) ON CONFLICT (name) \
        DO UPDATE SET batch = excluded.batch, at = excluded.at WHERE usage_writer.batch < excluded.batch";
    Ok(c.execute(BATCH, &[writer.into(), batch.into(), now.into()])? > 0)
}

/// Adds counts, in the order of their keys, so that two servers cannot deadlock. `writer` numbers its batches in
/// ascending order. Returns false and changes nothing if the batch was added before: a writer repeats a batch if the
/// response to its commit was lost.
pub fn add(
    c: &mut dyn Conn,
    writer: &str,
    batch: i64,
    now: Timestamp,
    counts: &[Count],
) -> Result<bool, DbError> {
    const DAY: &str = "INSERT INTO usage_download (day, language, source, package, version, platform, count) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (day, language, source, package, version, platform) \
        DO UPDATE SET count = usage_download.count + excluded.count";
    const PACKAGE: &str = "INSERT INTO usage_package (language, source, package, count) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (language, source, package) DO UPDATE SET count = usage_package.count + excluded.count";
    // The aggregate of the day is obsolete now; the next nightly run creates another.
    const DELETE_AGGREGATE: &str = "DELETE FROM usage_aggregate WHERE day = $1";
    if !begin_batch(c, writer, batch, now)? {
        return Ok(false);
    }
    let mut sorted: Vec<&Count> = counts.iter().collect();
    sorted.sort_unstable();
    let rows: Vec<Vec<Value>> = sorted
        .iter()
        .map(|row| {
            vec![
                row.day.into(),
                row.language.as_str().into(),
                row.source.as_str().into(),
                row.package.as_str().into(),
                row.version.as_str().into(),
                row.platform.as_str().into(),
                row.count.into(),
            ]
        })
        .collect();
    c.execute_many(DAY, &rows)?;
    let mut packages: std::collections::BTreeMap<(&str, &str, &str), i64> = std::collections::BTreeMap::new();
    for row in &sorted {
        *packages.entry((&row.language, &row.source, &row.package)).or_default() += row.count;
    }
    let rows: Vec<Vec<Value>> = packages
        .into_iter()
        .map(|((language, source, package), count)| {
            vec![language.into(), source.into(), package.into(), count.into()]
        })
        .collect();
    c.execute_many(PACKAGE, &rows)?;
    let mut days: Vec<i64> = sorted.iter().map(|row| row.day).collect();
    days.dedup();
    let days: Vec<Vec<Value>> = days.into_iter().map(|day| vec![day.into()]).collect();
    c.execute_many(DELETE_AGGREGATE, &days)?;
    Ok(true)
}

/// Returns the downloads of each package since counting began. `packages` states the language, source and name of each.
pub fn totals(c: &mut dyn Conn, packages: &[(&str, String, String)]) -> Result<Vec<i64>, DbError> {
    const TOTAL: &str =
        "SELECT count FROM usage_package WHERE language = $1 AND source = $2 AND package = $3";
    let params = |(language, source, package): &(&str, String, String)| {
        vec![(*language).into(), source.as_str().into(), package.as_str().into()]
    };
    let packages: Vec<Vec<Value>> = packages.iter().map(params).collect();
    let results = c.many(TOTAL, &packages)?.into_iter();
    Ok(results.map(|rows| rows.into_iter().next().unwrap_or(0)).collect())
}

/// Returns the downloads of a package on each of the days from `from` up to, not including, `until`.
pub fn package_days(
    c: &mut dyn Conn,
    language: &str,
    source: &str,
    package: &str,
    from: i64,
    until: i64,
) -> Result<Vec<i64>, DbError> {
    // The key begins with the day, so that each day is one search.
    const DAY: &str = "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM usage_download \
        WHERE day = $1 AND language = $2 AND source = $3 AND package = $4";
    let params = |day: i64| vec![day.into(), language.into(), source.into(), package.into()];
    let days: Vec<Vec<Value>> = (from..until).map(params).collect();
    let results = c.many(DAY, &days)?.into_iter();
    Ok(results.map(|rows| rows.into_iter().next().unwrap_or(0)).collect())
}

/// Returns the downloads of a day, per package.
pub fn day_counts(c: &mut dyn Conn, day: i64) -> Result<Vec<PackageCount>, DbError> {
    const DAY: &str = select!(
        PackageCount,
        "WHERE day = $1 GROUP BY language, source, package ORDER BY language, source, package"
    );
    c.all(DAY, &[day.into()])
}

/// Returns the downloads per package of days without an aggregate from `from` up to, not including, `until`.
pub fn unaggregated_counts(c: &mut dyn Conn, from: i64, until: i64) -> Result<Vec<PackageCount>, DbError> {
    const DAYS: &str = select!(
        PackageCount,
        "WHERE day >= $1 AND day < $2 AND day NOT IN (SELECT day FROM usage_aggregate) GROUP BY language, source, \
        package"
    );
    c.all(DAYS, &[from.into(), until.into()])
}

/// Returns the days before `before` that have no aggregate, oldest first.
pub fn days_without_aggregate(c: &mut dyn Conn, before: i64) -> Result<Vec<i64>, DbError> {
    const DAYS: &str = "SELECT DISTINCT day FROM usage_download WHERE day < $1 \
        AND day NOT IN (SELECT day FROM usage_aggregate) ORDER BY day";
    c.all(DAYS, &[before.into()])
}

/// Returns the aggregates of days from `from` up to, not including, `until`.
pub fn aggregates(c: &mut dyn Conn, from: i64, until: i64) -> Result<Vec<Aggregate>, DbError> {
    const BETWEEN: &str = select!(Aggregate, "WHERE day >= $1 AND day < $2 ORDER BY day");
    c.all(BETWEEN, &[from.into(), until.into()])
}

/// Records the aggregate of a day; returns false without recording it if downloads were added meanwhile.
pub fn put_aggregate(c: &mut dyn Conn, aggregate: &Aggregate, now: Timestamp) -> Result<bool, DbError> {
    const SUM: &str = "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM usage_download WHERE day = $1";
    const PUT: &str = "INSERT INTO usage_aggregate (day, sha256, total, at) VALUES ($1, $2, $3, $4) ON CONFLICT (day) \
        DO UPDATE SET sha256 = excluded.sha256, total = excluded.total, at = excluded.at";
    if c.first::<i64>(SUM, &[aggregate.day.into()])?.unwrap_or_default() != aggregate.total {
        return Ok(false);
    }
    c.execute(
        PUT,
        &[aggregate.day.into(), aggregate.sha256.to_string().into(), aggregate.total.into(), now.into()],
    )?;
    Ok(true)
}

pub fn has_aggregate(c: &mut dyn Conn, sha256: Sha256) -> Result<bool, DbError> {
    const FIND: &str = "SELECT 1 FROM usage_aggregate WHERE sha256 = $1 LIMIT 1";
    c.finds(FIND, &[sha256.to_string().into()])
}

pub fn remove_aggregate(c: &mut dyn Conn, day: i64) -> Result<(), DbError> {
    c.execute("DELETE FROM usage_aggregate WHERE day = $1", &[day.into()]).map(drop)
}

/// Returns the oldest day before `before` that has counts or an aggregate.
pub fn oldest_day(c: &mut dyn Conn, before: i64) -> Result<Option<i64>, DbError> {
    const OLDEST: &str = "SELECT min(day) FROM usage_download WHERE day < $1";
    const OLDEST_AGGREGATE: &str = "SELECT min(day) FROM usage_aggregate WHERE day < $1";
    let mut oldest: Option<i64> = None;
    for sql in [OLDEST, OLDEST_AGGREGATE] {
        oldest = [oldest, c.first(sql, &[before.into()])?.flatten()].into_iter().flatten().min();
    }
    Ok(oldest)
}

pub fn remove_day(c: &mut dyn Conn, day: i64) -> Result<(), DbError> {
    c.execute("DELETE FROM usage_download WHERE day = $1", &[day.into()])?;
    remove_aggregate(c, day)
}

/// Deletes writers that have not written since `before`.
pub fn remove_writers(c: &mut dyn Conn, before: Timestamp) -> Result<(), DbError> {
    c.execute("DELETE FROM usage_writer WHERE at < $1", &[before.into()]).map(drop)
}

/// Returns the time of the last run of a scheduled task.
pub fn last_run(c: &mut dyn Conn, task: &str) -> Result<Option<Timestamp>, DbError> {
    c.first("SELECT at FROM usage_work WHERE name = $1", &[task.into()])
}

pub fn record_run(c: &mut dyn Conn, task: &str, at: Timestamp) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO usage_work (name, at) VALUES ($1, $2) ON CONFLICT (name) \
        DO UPDATE SET at = excluded.at";
    c.execute(PUT, &[task.into(), at.into()]).map(drop)
}
