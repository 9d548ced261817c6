//! The scheduled work on usage data: aggregates past days into storage, and removes old days and unreferenced objects.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::summary::UsageError;
use super::{Inner, Usage, summary};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use base::model::text::count_of;
use base::model::time::Timestamp;
use runtime::jobs::schedule::{Schedule, ScheduleStatus, sleep_until};
use store::db::download::{self, Aggregate};
use store::db::{Db, backup, blocked_request, clock, storage_class};
use store::storage::condition::PendingSweep;
use store::storage::{Area, GRACE, GracePeriod, Key, day_of};

/// The key of the row with the time of the last successful run. Databases contain it, so it cannot be renamed.
const TASK: &str = "night";
/// Delay of the schedule after the start of the server.
const START_DELAY: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum age of unreferenced objects that are removed, because the row of a younger object may not be written yet.
const MIN_AGE: Duration = Duration::from_secs(2 * 3600);
const PAGE: usize = 1000;
const CLASS: StorageClass = StorageClass::Metrics;
/// Time after which the row of a process that no longer writes is removed.
const WRITER_EXPIRY: Duration = Duration::from_secs(7 * 86_400);

impl Usage {
    /// Returns the state of the schedule; `None` if downloads are not counted.
    pub async fn schedule(&self) -> Option<ScheduleStatus> {
        let inner = self.0.as_ref()?;
        let last_rollup = inner.last_rollup().await.ok().flatten();
        let config = inner.state.config.load();
        Some(ScheduleStatus::at(
            "usage data",
            &config.server.usage_data_schedule,
            last_rollup,
            (inner.state.clock)(),
        ))
    }

    /// Runs the schedule until the future is dropped. A run missed while the server was down starts immediately.
    pub async fn run_schedule(&self) {
        let Some(inner) = &self.0 else { return };
        let schedule: Schedule = match inner.state.config.load().server.usage_data_schedule.parse() {
            Ok(schedule) => schedule,
            Err(error) => {
                tracing::error!(target: "usage", %error, "invalid Server.UsageDataSchedule; usage data is not aggregated");
                return;
            }
        };
        let clock = &inner.state.clock;
        tokio::time::sleep(START_DELAY).await;
        let last_rollup = loop {
            match inner.last_rollup().await {
                Ok(last_rollup) => break last_rollup,
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        };
        let mut is_due = schedule.is_missed(last_rollup, clock());
        loop {
            if is_due && let Err(error) = inner.roll_up().await {
                tracing::warn!(target: "usage", %error, "could not aggregate usage data; retrying at the next scheduled time");
            }
            let Some(next) = schedule.next(clock()) else { return };
            sleep_until(clock, next).await;
            is_due = true;
        }
    }
}

impl Usage {
    /// Moves unreferenced objects to the trash, and returns their number; more than the daily limit only if
    /// `is_confirmed` by an administrator.
    pub async fn sweep(&self, is_confirmed: bool) -> Result<u64, UsageError> {
        match &self.0 {
            Some(inner) => inner.sweep(&inner.database.open().await?, is_confirmed).await,
            None => Ok(0),
        }
    }
}

impl Inner {
    async fn last_rollup(&self) -> Result<Option<Timestamp>, UsageError> {
        Ok(self.database.open().await?.read(|c| download::last_run(c, TASK)).await?)
    }

    async fn roll_up(&self) -> Result<(), UsageError> {
        let db = self.database.open().await?;
        let start = (self.state.clock)();
        // Days beyond the retention are removed permanently, so the clock is checked first.
        self.state.db.read(move |c| clock::check(c, start)).await?;
        let today = start.day_number();
        let mut aggregated_count = 0;
        for day in db.read(move |c| download::days_without_aggregate(c, today)).await? {
            aggregated_count += usize::from(self.aggregate_day(&db, day, start).await?);
        }
        let removed_days = self.remove_old(&db, today).await?;
        self.sweep(&db, false).await?;
        db.bulk(move |c| {
            download::remove_writers(c, start - WRITER_EXPIRY)?;
            download::record_run(c, TASK, start)
        })
        .await?;
        if aggregated_count + removed_days > 0 {
            let days = count_of(aggregated_count, "day", "days");
            tracing::info!(target: "usage", "usage data: {days} aggregated, {removed_days} removed");
        }
        Ok(())
    }

    /// Aggregates a day: the object first, then the row. Returns false if a process may still write counts of it.
    async fn aggregate_day(&self, db: &Db, day: i64, now: Timestamp) -> Result<bool, UsageError> {
        let counts = db.read(move |c| download::day_counts(c, day)).await?;
        let bytes = Bytes::from(summary::render(&counts));
        let sha256 = Sha256::of(&bytes);
        self.state.storage.put(&Key::Usage(sha256), bytes).await?;
        let aggregate = Aggregate { day, sha256, total: counts.iter().map(|n| n.count).sum() };
        Ok(db.bulk(move |c| download::put_aggregate(c, &aggregate, now)).await?)
    }

    /// Removes the days beyond the retention, one transaction per day: rows first, then objects. Returns their number.
    async fn remove_old(&self, db: &Db, today: i64) -> Result<usize, UsageError> {
        let retention = self.state.config.load().server.usage_data_retention;
        if retention.is_zero() {
            return Ok(0);
        }
        let days = i64::try_from(retention.as_secs().div_ceil(86_400)).unwrap_or(i64::MAX);
        let first_day = today.saturating_sub(days);
        db.bulk(move |c| blocked_request::remove_before(c, first_day)).await?;
        let mut removed_count = 0;
        while let Some(day) = db.read(move |c| download::oldest_day(c, first_day)).await? {
            let aggregates = db
                .bulk(move |c| {
                    let aggregates = download::aggregates(c, day, day + 1)?;
                    download::remove_day(c, day)?;
                    Ok(aggregates)
                })
                .await?;
            for Aggregate { sha256, .. } in aggregates {
                // If the object is not deleted here and no row refers to it, the sweep removes it later.
                if !self.is_held().await? && !db.read(move |c| download::has_aggregate(c, sha256)).await? {
                    self.state.storage.delete(&Key::Usage(sha256)).await?;
                }
            }
            removed_count += 1;
        }
        Ok(removed_count)
    }

    /// Moves unreferenced objects to the trash: of a day that was aggregated again, or of an interrupted run.
    async fn sweep(&self, db: &Db, is_confirmed: bool) -> Result<u64, UsageError> {
        let storage = &self.state.storage;
        if !storage.is_own(CLASS) || self.is_held().await? {
            return Ok(0);
        }
        let (total, unreferenced_objects) = self.unreferenced_objects(db).await?;
        let (objects, now) = (unreferenced_objects.len() as u64, (self.state.clock)());
        let removal_count =
            self.state.db.read(move |c| storage_class::recent_removals(c, CLASS.as_str(), now)).await?;
        if objects > PendingSweep::daily_limit(total).saturating_sub(removal_count) && !is_confirmed {
            if storage.set_pending_sweep(CLASS, Some(PendingSweep { objects, total })) {
                tracing::warn!(
                    target: "usage",
                    objects,
                    of = total,
                    "old usage data is not deleted without a confirmation; check that the database is the right one, then run: rspm storage \
                     sweep --confirm={}",
                    CLASS.as_str()
                );
            }
            return Ok(0);
        }
        storage.set_pending_sweep(CLASS, None);
        // Recorded before the first object is moved. Otherwise the run after a killed one could exceed the limit.
        if objects > 0 && !is_confirmed {
            let count = i64::try_from(objects).unwrap_or(i64::MAX);
            self.state
                .db
                .write(move |c| storage_class::record_removed(c, CLASS.as_str(), count, now))
                .await?;
        }
        for key in unreferenced_objects {
            storage.move_to_trash(&key).await?;
        }
        self.empty_trash(db).await?;
        Ok(objects)
    }

    /// Returns whether nothing may be removed, because a backup is running.
    async fn is_held(&self) -> Result<bool, UsageError> {
        let now = (self.state.clock)();
        Ok(self.state.db.read(move |c| backup::held_until(c, now)).await?.is_some())
    }

    /// Returns the number of all objects, and the unreferenced objects that are older than [`MIN_AGE`].
    async fn unreferenced_objects(&self, db: &Db) -> Result<(u64, Vec<Key>), UsageError> {
        let (mut total, mut unreferenced_objects) = (0, Vec::new());
        let Some(max_modified) = SystemTime::now().checked_sub(MIN_AGE) else {
            return Ok((total, unreferenced_objects));
        };
        let mut last_key: Option<Key> = None;
        loop {
            let page = self.state.storage.list(CLASS, last_key.as_ref(), PAGE).await?;
            let Some(last_object) = page.last() else { return Ok((total, unreferenced_objects)) };
            last_key = Some(last_object.key);
            total += page.len() as u64;
            for object in page.iter().filter(|object| object.modified < max_modified) {
                let Key::Usage(sha256) = object.key else { continue };
                if !db.read(move |c| download::has_aggregate(c, sha256)).await? {
                    unreferenced_objects.push(object.key);
                }
            }
        }
    }

    /// Processes objects whose grace period is over: restores those to which a row refers, and deletes the others.
    async fn empty_trash(&self, db: &Db) -> Result<(), UsageError> {
        let today = day_of(SystemTime::now());
        self.state.db.write(move |c| storage_class::record_sweep_day(c, today)).await?;
        let grace = GracePeriod::new(GRACE, self.state.db.read(storage_class::sweep_days).await?);
        let mut last_key: Option<Key> = None;
        loop {
            let page = self.state.storage.list_in(Area::Trash, CLASS, last_key.as_ref(), PAGE).await?;
            let Some(last_object) = page.last() else { return Ok(()) };
            last_key = Some(last_object.key);
            for object in page.iter().filter(|object| grace.is_over(object.modified)) {
                let Key::Usage(sha256) = object.key else { continue };
                if !db.read(move |c| download::has_aggregate(c, sha256)).await?
                    || !self.state.storage.restore(&object.key).await?
                {
                    self.state.storage.delete_from(Area::Trash, &object.key).await?;
                }
            }
        }
    }
}
