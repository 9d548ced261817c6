//! Scheduled syncs: wait for their time, run a missed one, retry a failed one; and the status of each schedule.

use std::time::Duration;

use super::task::{Subject, SyncTrigger, Task};
use super::{Sync, SyncError};
use base::metrics;
use base::model::ids::SourceId;
use base::model::time::Timestamp;
use runtime::jobs::schedule::{Schedule, ScheduleStatus, sleep_until};

/// Delay before a failed sync is retried, unless the next scheduled run is due earlier.
const RETRY_DELAY: Duration = Duration::from_secs(3600);

impl Sync {
    /// Runs the schedule of a task until the future is dropped; a run missed while the server was down starts
    /// immediately, and a failed one is retried after an hour. While no repository offers Bioconductor or PyPI,
    /// scheduled runs for it send no request to the mirror.
    pub async fn run_schedule(&self, task: Task) {
        let (state, source) = (&self.state, task.as_str());
        let is_idle = self.is_idle(task);
        let last_success = match is_idle {
            // While no repository offers the source, no run is missed.
            true => Ok(Some((state.clock)())),
            false => self.success_time(task).await,
        };
        let last_success = last_success.unwrap_or_else(|error| {
            tracing::warn!(target: "sync", source, %error, "could not read the time of the last sync");
            None
        });
        metrics::sync_registered(source, last_success.filter(|_| !is_idle));
        let is_missed = |schedule: &Schedule| schedule.is_missed(last_success, (state.clock)());
        let mut is_missed = self.schedule(task).as_ref().is_some_and(is_missed);
        let mut is_due = is_missed;
        if is_missed {
            tracing::info!(target: "sync", source, "a scheduled sync was missed; it runs now");
        }
        let mut retry_at = None;
        loop {
            if is_due {
                let result = self.begin(task, None, SyncTrigger::Schedule).job().wait_end().await;
                // The frequent syncs of advisories log only changes, but this one was announced.
                if let (true, Task::Advisories, Ok(message)) = (is_missed, task, &result) {
                    tracing::info!(target: "sync", source, "{message}");
                }
                is_missed = false;
                retry_at = result.is_err().then(|| (state.clock)() + RETRY_DELAY);
            }
            let next_time = [self.next_run(task), retry_at].into_iter().flatten().min();
            let wait = async {
                match next_time {
                    Some(next_time) => sleep_until(&state.clock, next_time).await,
                    None => std::future::pending().await,
                }
            };
            is_due = tokio::select! {
                () = wait => true,
                () = self.task_state(task).schedule_changed.notified() => {
                    match self.next_run(task) {
                        Some(next_time) => tracing::info!(target: "sync", source, "the next scheduled sync is at {next_time}"),
                        None => tracing::info!(target: "sync", source, "no sync is scheduled any more"),
                    }
                    false
                }
            };
        }
    }

    /// Applies a changed schedule. A running sync continues.
    pub fn reschedule(&self, task: Task) {
        // The notification is stored until the scheduler waits again.
        self.task_state(task).schedule_changed.notify_one();
    }

    /// Returns the schedules of all tasks, each with its last success and its next run.
    pub async fn schedules(&self) -> Result<Vec<ScheduleStatus>, SyncError> {
        let (config, now) = (self.state.config.load_full(), (self.state.clock)());
        let mut schedules = Vec::with_capacity(Task::ALL.len());
        for task in Task::ALL.into_iter().filter(|task| task.is_listed()) {
            let last_success = self.success_time(task).await?;
            let status = ScheduleStatus::at(task.as_str(), task.schedule(&config), last_success, now);
            schedules.push(if self.is_idle(task) { ScheduleStatus { next: None, ..status } } else { status });
        }
        Ok(schedules)
    }

    /// Returns whether scheduled runs of a task do nothing: no repository offers its source.
    pub(super) fn is_idle(&self, task: Task) -> bool {
        match task.subject() {
            Subject::Bioconductor => !self.is_offered(SourceId::BIOCONDUCTOR),
            Subject::Projects(index) => !self.is_offered(index),
            Subject::Cran | Subject::Requirements | Subject::Advisories => false,
        }
    }

    fn schedule(&self, task: Task) -> Option<Schedule> {
        let schedule = task.schedule(&self.state.config.load()).parse();
        schedule
            .inspect_err(|error| tracing::error!(target: "sync", %error, "could not parse {}; no sync is scheduled", task.property()))
            .ok()
    }

    fn next_run(&self, task: Task) -> Option<Timestamp> {
        self.schedule(task).and_then(|schedule| schedule.next((self.state.clock)()))
    }
}
