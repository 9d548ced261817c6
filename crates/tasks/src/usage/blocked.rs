//! Counts requests that block rules refused in memory; they are written together with those of downloads.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Usage;
use super::summary::UsageError;
use base::metrics;
use base::model::time::{Day, Timestamp};
use store::db::blocked_request::{self, BlockedCount};

/// Maximum number of counters. While the database is unavailable, counts that would need more are lost.
const MAX_COUNTERS: usize = 10_000;
/// Maximum length of a name or a version, in bytes.
const MAX_NAME: usize = 1024;
const MAX_TOTALS: i64 = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct BlockedRequest<'a> {
    pub at: Timestamp,
    pub rule: i64,
    pub package: &'a str,
    pub version: &'a str,
    pub client: &'static str,
}

/// Day, rule, package, version and kind of client.
type Key = (i64, i64, String, String, &'static str);

/// The counts that are not written yet.
#[derive(Default)]
pub(super) struct BlockedTally(Mutex<HashMap<Key, i64>>);

impl BlockedTally {
    /// Counts a request. Returns false if the maximum number of counters is reached, or if a name is too long.
    fn count(&self, request: &BlockedRequest<'_>) -> bool {
        let BlockedRequest { at, rule, package, version, client } = *request;
        if package.len() > MAX_NAME || version.len() > MAX_NAME {
            return false;
        }
        let key = (at.day_number(), rule, package.to_owned(), version.to_owned(), client);
        let mut counts = self.0.lock();
        if counts.len() >= MAX_COUNTERS && !counts.contains_key(&key) {
            return false;
        }
        *counts.entry(key).or_default() += 1;
        true
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(super) fn take(&self) -> Vec<BlockedCount> {
        let counts = std::mem::take(&mut *self.0.lock());
        let row = |((day, rule, package, version, client), count): (Key, i64)| BlockedCount {
            day,
            rule,
            package,
            version,
            client: client.to_owned(),
            count,
        };
        counts.into_iter().map(row).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockedReport {
    /// The number of all these requests.
    pub total: i64,
    /// The totals by rule, package, version and kind of client, the largest first.
    pub totals: Vec<BlockedCount>,
}

impl Usage {
    pub fn count_blocked(&self, request: &BlockedRequest<'_>) {
        let Some(inner) = &self.0 else { return };
        if !inner.blocked.count(request) {
            metrics::add_lost_downloads(1);
        }
    }

    /// Returns the requests that were refused since a day, except in the last seconds; `None` if nothing is counted.
    pub async fn blocked(&self, since: Day) -> Result<Option<BlockedReport>, UsageError> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let db = inner.database.open().await?;
        let since = since.number();
        let report = db.read(move |c| {
            let totals = blocked_request::totals(c, since, MAX_TOTALS)?;
            Ok(BlockedReport { total: blocked_request::sum(c, since)?, totals })
        });
        Ok(Some(report.await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(package: &str) -> BlockedRequest<'_> {
        BlockedRequest { at: Timestamp(0), rule: 7, package, version: "1.0", client: "R" }
    }

    #[test]
    fn equal_requests_are_one_row_and_the_number_of_rows_is_bounded() {
        let tally = BlockedTally::default();
        assert!(tally.count(&request("a")) && tally.count(&request("a")));
        let names: Vec<String> = (0..MAX_COUNTERS).map(|n| format!("p{n}")).collect();
        let counted = names.iter().filter(|name| tally.count(&request(name))).count();
        assert_eq!((counted, tally.len()), (MAX_COUNTERS - 1, MAX_COUNTERS));
        assert!(tally.count(&request("a")), "an existing counter is incremented");
        assert!(!tally.count(&request(&"x".repeat(MAX_NAME + 1))));
        let rows = tally.take();
        let a = rows.iter().find(|row| row.package == "a").expect("counted");
        assert_eq!((a.rule, a.version.as_str(), a.client.as_str(), a.count), (7, "1.0", "R", 3));
        assert_eq!((tally.len(), tally.take().len()), (0, 0));
    }
}
