//! Scheduled syncs: wait for the time of a schedule, run a missed sync, retry a failed one; and the status of each
//! schedule.

use tokio::sync::Notify;

use super::run::{SyncTrigger, success_key};
use super::{Sync, SyncError, SyncTarget, advisories, requirements};
use crate::config::Config;
use crate::db::upstream;
use crate::jobs::Started;
use crate::jobs::schedule::{Schedule, ScheduleStatus, sleep_until};
use crate::metrics;
use crate::model::ids::SourceId;
use crate::model::time::{SECOND, Timestamp};
use crate::state::State;

/// Delay before a failed sync is retried, unless the next scheduled run is due earlier.
const RETRY_DELAY: i64 = 3600 * SECOND;

/// One schedule.
struct ScheduledSync<'a> {
    state: &'a State,
    /// Name of the synced source, for the log.
    source: &'static str,
    /// Property with the schedule, for the log.
    property: &'static str,
    /// Returns the value of the property.
    schedule: fn(&Config) -> &str,
    /// Notified when the property changes.
    rescheduled: &'a Notify,
}

impl ScheduledSync<'_> {
    /// Runs until the task is dropped; `last` is the time of the last success.
    async fn run(&self, last: Result<Option<Timestamp>, SyncError>, begin: impl Fn() -> Started) {
        let (state, source) = (self.state, self.source);
        let last = last.unwrap_or_else(|error| {
            tracing::warn!(target: "sync", source, %error, "cannot determine the last sync time");
            None
        });
        metrics::sync_registered(source, last);
        let missed = |schedule: &Schedule| schedule.is_missed(last, (state.clock)());
        let mut now_due = self.schedule().as_ref().is_some_and(missed);
        if now_due {
            tracing::info!(target: "sync", source, "a scheduled sync was missed; it runs now");
        }
        let mut again = None;
        loop {
            if now_due {
                let ended = begin().job().wait_end().await;
                again = ended.is_err().then(|| Timestamp((state.clock)().0 + RETRY_DELAY));
            }
            let next = [self.next(), again].into_iter().flatten().min();
            let due = async {
                match next {
                    Some(next) => sleep_until(&state.clock, next).await,
                    None => std::future::pending().await,
                }
            };
            now_due = tokio::select! {
                () = due => true,
                () = self.rescheduled.notified() => {
                    self.log_next();
                    false
                }
            };
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        let text = (self.schedule)(&self.state.config.load()).to_owned();
        let parsed = text.parse();
        parsed
            .inspect_err(|error| tracing::error!(target: "sync", %error, "could not parse {}; no sync is scheduled", self.property))
            .ok()
    }

    fn next(&self) -> Option<Timestamp> {
        self.schedule().and_then(|schedule| schedule.next((self.state.clock)()))
    }

    fn log_next(&self) {
        let source = self.source;
        match self.next() {
            Some(next) => tracing::info!(target: "sync", source, "the next scheduled sync is at {next}"),
            None => tracing::info!(target: "sync", source, "no sync is scheduled any more"),
        }
    }
}

impl Sync {
    /// Runs the schedule of CRAN until the task is dropped; a sync missed while the server was down runs at once, and
    /// a failed one is retried after an hour.
    pub async fn run_schedules(&self) {
        let last = self.last_success().await;
        let scheduled = ScheduledSync {
            state: &self.state,
            source: "cran",
            property: "CRAN.SyncSchedule",
            schedule: |config| config.cran.sync_schedule.as_str(),
            rescheduled: &self.cran_rescheduled,
        };
        scheduled.run(last, || self.begin(SyncTarget::Cran, SyncTrigger::Schedule)).await;
    }

    /// As [`Sync::run_schedules`], for Bioconductor: while no repository offers it, its mirror gets no request.
    pub async fn run_bioconductor(&self) {
        let last = match self.is_bioconductor_offered() {
            true => self.success_time(success_key(SourceId::BIOCONDUCTOR)).await,
            // No sync was missed.
            false => Ok(Some((self.state.clock)())),
        };
        let scheduled = ScheduledSync {
            state: &self.state,
            source: "bioconductor",
            property: "Bioconductor.SyncSchedule",
            schedule: |config| config.bioconductor.sync_schedule.as_str(),
            rescheduled: &self.bioconductor_rescheduled,
        };
        scheduled.run(last, || self.begin(SyncTarget::Bioconductor(None), SyncTrigger::Schedule)).await;
    }

    /// As [`Sync::run_schedules`], for the rules of system requirements.
    pub async fn run_requirements(&self) {
        let last = self.state.db.read(|c| upstream::get(c, requirements::SUCCESS)).await;
        let scheduled = ScheduledSync {
            state: &self.state,
            source: "sysreqs",
            property: "SystemRequirements.SyncSchedule",
            schedule: |config| config.requirements.sync_schedule.as_str(),
            rescheduled: &self.rules_rescheduled,
        };
        let last = last.map(|row| row.map(|row| row.fetched_at)).map_err(SyncError::from);
        scheduled.run(last, || self.begin_requirements(SyncTrigger::Schedule)).await;
    }

    /// As [`Sync::run_schedules`], for the advisories.
    pub async fn run_advisories(&self) {
        let last = self.state.db.read(|c| upstream::get(c, advisories::SUCCESS)).await;
        let scheduled = ScheduledSync {
            state: &self.state,
            source: "vulns",
            property: "Vulnerabilities.SyncSchedule",
            schedule: |config| config.vulnerabilities.sync_schedule.as_str(),
            rescheduled: &self.advisories_rescheduled,
        };
        let last = last.map(|row| row.map(|row| row.fetched_at)).map_err(SyncError::from);
        scheduled.run(last, || self.begin_advisories(SyncTrigger::Schedule)).await;
    }

    /// Returns the schedules of all syncs, each with its last success and its next run.
    ///
    /// # Errors
    /// Database errors.
    pub async fn schedules(&self) -> Result<Vec<ScheduleStatus>, SyncError> {
        let (config, now) = (self.state.config.load_full(), (self.state.clock)());
        let rows = [
            ("cran", success_key(SourceId::CRAN), &config.cran.sync_schedule),
            ("bioconductor", success_key(SourceId::BIOCONDUCTOR), &config.bioconductor.sync_schedule),
            ("sysreqs", requirements::SUCCESS.to_owned(), &config.requirements.sync_schedule),
            ("vulns", advisories::SUCCESS.to_owned(), &config.vulnerabilities.sync_schedule),
        ];
        let mut all = Vec::with_capacity(rows.len());
        for (name, key, cron) in rows {
            let last = self.success_time(key).await?;
            let status = ScheduleStatus::at(name, cron, last, now);
            let rests = name == "bioconductor" && !self.is_bioconductor_offered();
            all.push(if rests { ScheduleStatus { next: None, ..status } } else { status });
        }
        Ok(all)
    }

    /// Applies a changed schedule of CRAN. A running sync continues.
    pub fn reschedule(&self) {
        // Stored until the scheduler waits again.
        self.cran_rescheduled.notify_one();
    }

    /// As [`Sync::reschedule`], for Bioconductor.
    pub fn reschedule_bioconductor(&self) {
        self.bioconductor_rescheduled.notify_one();
    }

    /// As [`Sync::reschedule`], for the rules of system requirements.
    pub fn reschedule_requirements(&self) {
        self.rules_rescheduled.notify_one();
    }

    /// As [`Sync::reschedule`], for the advisories.
    pub fn reschedule_advisories(&self) {
        self.advisories_rescheduled.notify_one();
    }
}
