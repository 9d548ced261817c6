//! Counts of the requests that block rules refused, in the database of usage data.

use super::{Conn, DbError, Value, download};
use crate::db::engine::columns::{row, select};
use base::model::time::Timestamp;

row! {
    /// Refused requests for one version of a package on one day.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct BlockedCount from "usage_blocked" {
        /// Days since the epoch, UTC; in a total, the last day.
        pub day: i64 = "max(day)",
        pub rule: i64,
        pub package: String,
        pub version: String,
        /// The kind of client: `R`, `pip`.
        pub client: String,
        pub count: i64 = "CAST(sum(count) AS BIGINT)",
    }
}

/// Adds counts as a batch of a writer, see [`download::add`]. Returns false if the batch was added before.
pub fn add(
    c: &mut dyn Conn,
    writer: &str,
    batch: i64,
    now: Timestamp,
    counts: &[BlockedCount],
) -> Result<bool, DbError> {
    const ADD: &str = "INSERT INTO usage_blocked (day, rule, package, version, client, count) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (day, rule, package, version, client) \
        DO UPDATE SET count = usage_blocked.count + excluded.count";
    if !download::begin_batch(c, writer, batch, now)? {
        return Ok(false);
    }
    let mut sorted: Vec<&BlockedCount> = counts.iter().collect();
    sorted.sort_unstable();
    let row = |n: &&BlockedCount| -> Vec<Value> {
        let BlockedCount { day, rule, package, version, client, count } = n;
        let texts = [package.as_str().into(), version.as_str().into(), client.as_str().into()];
        let numbers = [(*day).into(), (*rule).into()];
        numbers.into_iter().chain(texts).chain([(*count).into()]).collect()
    };
    let rows: Vec<Vec<Value>> = sorted.iter().map(row).collect();
    c.execute_many(ADD, &rows)?;
    Ok(true)
}

/// Returns at most `limit` totals since a day, the largest first.
pub fn totals(c: &mut dyn Conn, since: i64, limit: i64) -> Result<Vec<BlockedCount>, DbError> {
    const TOTALS: &str = select!(
        BlockedCount,
        "WHERE day >= $1 GROUP BY rule, package, version, client ORDER BY 6 DESC, rule, package, version, client \
        LIMIT $2"
    );
    c.all(TOTALS, &[since.into(), limit.into()])
}

pub fn sum(c: &mut dyn Conn, since: i64) -> Result<i64, DbError> {
    const SUM: &str = "SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM usage_blocked WHERE day >= $1";
    Ok(c.first(SUM, &[since.into()])?.unwrap_or_default())
}

pub fn remove_before(c: &mut dyn Conn, day: i64) -> Result<(), DbError> {
    c.execute("DELETE FROM usage_blocked WHERE day < $1", &[day.into()]).map(drop)
}
