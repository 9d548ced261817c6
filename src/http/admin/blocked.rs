//! Counts of the requests that block rules refused.

use super::call::{Answer, Call};
use crate::http::error::Failure;
use api::block_rule::{BlockedCount, BlockedRequests, CountBlocked};
use base::model::time::{Day, SECOND, Timestamp};

/// Default number of days of a report, if the parameter `since` is absent.
const DEFAULT_DAYS: i64 = 7;

pub(super) async fn list(call: Call<'_>, query: CountBlocked) -> Answer<BlockedRequests> {
    let app = call.app;
    let since: Day = match query.since {
        Some(text) => text.parse().map_err(|_| {
            let excerpt: String = text.chars().take(60).collect();
            Failure::bad_request(format!("'{excerpt}' is not a day (YYYY-MM-DD)"))
        })?,
        None => Timestamp((app.state.clock)().0 - (DEFAULT_DAYS - 1) * 86_400 * SECOND).day(),
    };
    let report = app.usage.blocked(since).await.map_err(|error| {
        tracing::warn!(%error, "could not read the counts of refused requests");
        Failure::unavailable("the database of usage data is not available", 10)
    })?;
    let report = report.ok_or_else(|| {
        Failure::not_found("refused requests are not counted, because Server.UsageDataEnabled is false")
    })?;
    let wire = |count: store::db::blocked_request::BlockedCount| BlockedCount {
        rule: count.rule,
        package: count.package,
        version: count.version,
        client: count.client,
        count: count.count,
        last: Timestamp(count.day.saturating_mul(86_400 * SECOND)).day().to_string(),
    };
    Ok(BlockedRequests {
        since: since.to_string(),
        total: report.total,
        requests: report.totals.into_iter().map(wire).collect(),
    })
}
