//! On schedule: finished days are added up into storage, days beyond the retention go, and so does what nothing refers to.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::Digest;

use super::summary::UsageError;
use super::{Inner, Usage, aggregate, day_number};
use crate::config::StorageClass;
use crate::db::Db;
use crate::db::download::{self, Aggregate};
use crate::db::{clock, sweep};
use crate::jobs::schedule::{Schedule, ScheduleStatus, sleep_until};
use crate::model::digest::Sha256;
use crate::model::time::{SECOND, Timestamp};
use crate::storage::condition::Waiting;
use crate::storage::{Area, GRACE, Grace, Key, day_of};

/// The name under which it is noted when this was last done.
const WORK: &str = "night";
/// After the start: there is no hurry.
const FIRST: Duration = Duration::from_secs(1);
/// How long it is waited for a database that is away.
const AGAIN: Duration = Duration::from_secs(10);
/// Younger objects are left alone: their rows may still come.
const AGE: Duration = Duration::from_secs(2 * 3600);
/// Objects listed at a time.
const PAGE: usize = 1000;
/// Where days that were added up are.
const CLASS: StorageClass = StorageClass::Metrics;
/// Processes that have not written for so long are forgotten.
const FORGOTTEN: i64 = 7 * 86_400 * SECOND;

impl Usage {
    /// When days are added up; `None` where nothing is counted.
    pub async fn schedule(&self) -> Option<ScheduleStatus> {
        let inner = self.0.as_ref()?;
        let last = inner.last_night().await.ok().flatten();
        let config = inner.state.config.load();
        Some(ScheduleStatus::at(
            "usage data",
            &config.server.usage_data_schedule,
            last,
            (inner.state.clock)(),
        ))
    }

    /// Runs the schedule until the task is dropped; what was missed while the server was down is done at once.
    pub async fn run_schedule(&self) {
        let Some(inner) = &self.0 else { return };
        let schedule: Schedule = match inner.state.config.load().server.usage_data_schedule.parse() {
            Ok(schedule) => schedule,
            Err(error) => {
                tracing::error!(target: "usage", %error, "Server.UsageDataSchedule is not run");
                return;
            }
        };
        let clock = &inner.state.clock;
        tokio::time::sleep(FIRST).await;
        let last = loop {
            match inner.last_night().await {
                Ok(last) => break last,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        let mut due = schedule.missed(last, clock());
        loop {
            if due && let Err(error) = inner.night().await {
                tracing::warn!(target: "usage", %error, "usage data could not be added up; it is tried again when it is next due");
            }
            let Some(next) = schedule.next(clock()) else { return };
            sleep_until(clock, next).await;
            due = true;
        }
    }
}

impl Usage {
    /// Removes what no row names; the number of objects. `confirmed`: however many they are.
    ///
    /// # Errors
    /// The stores.
    pub async fn sweep(&self, confirmed: bool) -> Result<u64, UsageError> {
        match &self.0 {
            Some(inner) => inner.sweep(&inner.book.open().await?, confirmed).await,
            None => Ok(0),
        }
    }
}

impl Inner {
    async fn last_night(&self) -> Result<Option<Timestamp>, UsageError> {
        Ok(self.book.open().await?.read(|c| download::last_done(c, WORK)).await?)
    }

    async fn night(&self) -> Result<(), UsageError> {
        let db = self.book.open().await?;
        let began = (self.state.clock)();
        // What is older than the retention goes for good.
        self.state.db.read(move |c| clock::trusted(c, began)).await?;
        let today = day_number(began);
        let mut added_up = 0;
        for day in db.read(move |c| download::not_aggregated(c, today)).await? {
            added_up += usize::from(self.add_up(&db, day, began).await?);
        }
        let removed = self.remove_old(&db, today).await?;
        self.sweep(&db, false).await?;
        db.bulk(move |c| {
            download::forget_writers(c, Timestamp(began.0 - FORGOTTEN))?;
            download::done(c, WORK, began)
        })
        .await?;
        if added_up + removed > 0 {
            tracing::info!(target: "usage", "usage data: {added_up} days added up, {removed} removed");
        }
        Ok(())
    }

    /// Bytes first, row second. False when somebody still counts for that day: the next time will do.
    async fn add_up(&self, db: &Db, day: i64, now: Timestamp) -> Result<bool, UsageError> {
        let counts = db.read(move |c| download::of_day(c, day)).await?;
        let bytes = Bytes::from(aggregate::render(&counts));
        let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
        self.state.storage.put(&Key::Usage(sha256), bytes).await?;
        let made = Aggregate { day, sha256, total: counts.iter().map(|n| n.count).sum() };
        Ok(db.bulk(move |c| download::put_aggregate(c, &made, now)).await?)
    }

    /// One day in one transaction: rows first, bytes second.
    async fn remove_old(&self, db: &Db, today: i64) -> Result<usize, UsageError> {
        let kept = self.state.config.load().server.usage_data_retention;
        if kept.is_zero() {
            return Ok(0);
        }
        let days = i64::try_from(kept.as_secs().div_ceil(86_400)).unwrap_or(i64::MAX);
        let first = today.saturating_sub(days);
        let mut removed = 0;
        while let Some(day) = db.read(move |c| download::oldest(c, first)).await? {
            let stored = db
                .bulk(move |c| {
                    let stored = download::aggregates(c, day, day + 1)?;
                    download::remove_day(c, day)?;
                    Ok(stored)
                })
                .await?;
            for Aggregate { sha256, .. } in stored {
                if !db.read(move |c| download::is_kept(c, sha256)).await? {
                    self.state.storage.delete(&Key::Usage(sha256)).await?;
                }
            }
            removed += 1;
        }
        Ok(removed)
    }

    /// Objects that no row names go to the trash: of a day that was counted for again, or of a night that was cut short.
    async fn sweep(&self, db: &Db, confirmed: bool) -> Result<u64, UsageError> {
        let storage = &self.state.storage;
        if !storage.is_own(CLASS) {
            return Ok(0);
        }
        let (of, unwanted) = self.unwanted(db).await?;
        let (objects, now) = (unwanted.len() as u64, (self.state.clock)());
        let gone = self.state.db.read(move |c| sweep::removed(c, CLASS.as_str(), now)).await?;
        if objects > Waiting::limit(of).saturating_sub(gone) && !confirmed {
            if storage.set_waiting(CLASS, Some(Waiting { objects, of })) {
                tracing::warn!(
                    target: "usage",
                    objects,
                    of,
                    "the clean-up of usage data waits; check that the database is the right one, then: rspm storage \
                     sweep --confirm={}",
                    CLASS.as_str()
                );
            }
            return Ok(0);
        }
        storage.set_waiting(CLASS, None);
        for key in unwanted {
            storage.discard(&key).await?;
        }
        if objects > 0 && !confirmed {
            self.state.db.write(move |c| sweep::note_removed(c, CLASS.as_str(), objects, now)).await?;
        }
        self.empty_trash(db).await?;
        Ok(objects)
    }

    /// How many objects there are, and the old ones that no row names.
    async fn unwanted(&self, db: &Db) -> Result<(u64, Vec<Key>), UsageError> {
        let (mut of, mut unwanted) = (0, Vec::new());
        let Some(before) = SystemTime::now().checked_sub(AGE) else { return Ok((of, unwanted)) };
        let mut after: Option<Key> = None;
        loop {
            let page = self.state.storage.list(CLASS, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok((of, unwanted)) };
            after = Some(last.key);
            of += page.len() as u64;
            for object in page.iter().filter(|object| object.modified < before) {
                let Key::Usage(sha256) = object.key else { continue };
                if !db.read(move |c| download::is_kept(c, sha256)).await? {
                    unwanted.push(object.key);
                }
            }
        }
    }

    /// Deletes what has been in the trash for the grace period; what a row names is brought back.
    async fn empty_trash(&self, db: &Db) -> Result<(), UsageError> {
        let today = day_of(SystemTime::now());
        self.state.db.write(move |c| sweep::note_day(c, today)).await?;
        let grace = Grace::new(GRACE, self.state.db.read(sweep::days).await?);
        let mut after: Option<Key> = None;
        loop {
            let page = self.state.storage.list_in(Area::Trash, CLASS, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key);
            for object in page.iter().filter(|object| grace.is_over(object.modified)) {
                let Key::Usage(sha256) = object.key else { continue };
                if !db.read(move |c| download::is_kept(c, sha256)).await?
                    || !self.state.storage.restore(&object.key).await?
                {
                    self.state.storage.delete_from(Area::Trash, &object.key).await?;
                }
            }
        }
    }
}
