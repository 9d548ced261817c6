//! Download counts of packages over days: past ones from storage, one compressed object each, others from the database.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Inner, QUERY_TIMEOUT, Usage};
use base::model::ids::SourceId;
use base::model::time::Day;
use store::db::download::{self, PackageCount};
use store::db::{Db, DbError};
use store::storage::{Key, StorageError};

/// Lifetime of cached results. They are cached because their computation is slow and any client can request them.
const CACHE_LIFETIME: Duration = Duration::from_secs(30);
/// Maximum number of cached results; there is one for each number of days.
const CACHE_CAPACITY: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("downloads are not counted (Server.UsageDataEnabled)")]
    Disabled,
    #[error("usage data is temporarily unavailable")]
    Unavailable,
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Cached results by number of days. The map is locked during a computation, so that concurrent requests share it.
pub(super) type Summaries = tokio::sync::Mutex<HashMap<i64, (Instant, Arc<[PackageCount]>)>>;

impl Usage {
    /// Returns the downloads per package in the last `days` days including today, most first, at most 30 seconds old.
    pub async fn packages(&self, days: i64) -> Result<Arc<[PackageCount]>, UsageError> {
        let inner = self.0.as_ref().ok_or(UsageError::Disabled)?;
        let db = inner.database.open_within(QUERY_TIMEOUT).await.ok_or(UsageError::Unavailable)?;
        let mut summaries = inner.summaries.lock().await;
        if let Some((at, summary)) = summaries.get(&days)
            && at.elapsed() < CACHE_LIFETIME
        {
            return Ok(Arc::clone(summary));
        }
        let new_summary = inner.summary(&db, days).await?;
        if summaries.len() >= CACHE_CAPACITY {
            summaries.clear();
        }
        summaries.insert(days, (Instant::now(), Arc::clone(&new_summary)));
        Ok(new_summary)
    }

    /// Returns the downloads of a package from a source on each of the last `days` days including today, without the
    /// last seconds; the oldest first. Empty for an unknown source.
    pub async fn days(
        &self,
        source: SourceId,
        package: &str,
        days: i64,
    ) -> Result<Vec<(Day, i64)>, UsageError> {
        let inner = self.0.as_ref().ok_or(UsageError::Disabled)?;
        let db = inner.database.open_within(QUERY_TIMEOUT).await.ok_or(UsageError::Unavailable)?;
        let catalog = inner.state.catalog.get();
        let Some(source) = catalog.source_by_id(source) else { return Ok(Vec::new()) };
        let (language, name) = (source.kind.language().as_str(), source.name.to_string());
        let package = package.to_owned();
        let end = (inner.state.clock)().day_number() + 1;
        let first = end.saturating_sub(days);
        let counts =
            db.read(move |c| download::package_days(c, language, &name, &package, first, end)).await?;
        Ok((first..end).map(Day::from_number).zip(counts).collect())
    }
}

impl Inner {
    async fn summary(&self, db: &Db, days: i64) -> Result<Arc<[PackageCount]>, UsageError> {
        let end_day = (self.state.clock)().day_number() + 1;
        let first_day = end_day.saturating_sub(days);
        // Both are read in one transaction, so that each day is in exactly one of the two results.
        let (aggregates, rows) = db
            .read(move |c| {
                Ok((
                    download::aggregates(c, first_day, end_day)?,
                    download::unaggregated_counts(c, first_day, end_day)?,
                ))
            })
            .await?;
        let mut sums: HashMap<(String, String, String), i64> = HashMap::new();
        let mut add = |counts: Vec<PackageCount>| {
            for PackageCount { language, source, package, count } in counts {
                *sums.entry((language, source, package)).or_default() += count;
            }
        };
        add(rows);
        for download::Aggregate { day, sha256, .. } in aggregates {
            let object = self.state.storage.read(&Key::Usage(sha256)).await;
            match object.ok().as_deref().and_then(parse) {
                Some(counts) => add(counts),
                None => {
                    tracing::warn!(target: "usage", day, %sha256, "could not read the counts of a day from storage; aggregating it again");
                    add(db.read(move |c| download::day_counts(c, day)).await?);
                    db.bulk(move |c| download::remove_aggregate(c, day)).await?;
                }
            }
        }
        let mut counts: Vec<PackageCount> = sums
            .into_iter()
            .map(|((language, source, package), count)| PackageCount { language, source, package, count })
            .collect();
        counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
        Ok(counts.into())
    }
}

/// Maximum decompressed size of a day in bytes.
const MAX_SIZE: usize = 64 << 20;

/// Renders the counts of a day in a Zstandard frame: lines of language, source, package and count, separated by tabs.
pub(super) fn render(counts: &[PackageCount]) -> Vec<u8> {
    let mut sorted_counts: Vec<&PackageCount> = counts.iter().collect();
    sorted_counts.sort_unstable();
    let mut text = String::new();
    for PackageCount { language, source, package, count } in sorted_counts {
        let _ = writeln!(text, "{language}\t{source}\t{package}\t{count}");
    }
    zstd::bulk::compress(text.as_bytes(), 3).unwrap_or_default()
}

/// Parses the output of [`render`]; `None` if it is damaged.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<PackageCount>> {
    let text = String::from_utf8(zstd::bulk::decompress(bytes, MAX_SIZE).ok()?).ok()?;
    let parse_line = |line: &str| {
        let mut parts = line.split('\t');
        let mut part = || parts.next().map(str::to_owned);
        let (language, source, package) = (part()?, part()?, part()?);
        let count = part()?.parse().ok()?;
        Some(PackageCount { language, source, package, count })
    };
    text.lines().map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package_count(package: &str, count: i64) -> PackageCount {
        PackageCount {
            language: "r".to_owned(),
            source: "cran".to_owned(),
            package: package.to_owned(),
            count,
        }
    }

    #[test]
    fn a_day_is_read_back_in_any_order() {
        let day = [package_count("a", 3), package_count("b", 1)];
        let bytes = render(&day);
        assert_eq!(parse(&bytes).expect("undamaged"), day);
        assert_eq!(render(&[day[1].clone(), day[0].clone()]), bytes);
        assert_eq!(parse(&render(&[])), Some(Vec::new()));
    }

    #[test]
    fn damage_is_detected() {
        let bytes = render(&[package_count("a", 3)]);
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(b"r\tcran\ta\t3\n"), None);
        let other = zstd::bulk::compress(b"r\tcran\ta\n", 3).expect("compressed");
        assert_eq!(parse(&other), None);
    }
}
