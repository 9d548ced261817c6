//! Work of this room that comes by itself: it waits for the time of a schedule, runs what was missed, and tries again what
//! failed.

use tokio::sync::Notify;

use super::SyncError;
use crate::config::Config;
use crate::jobs::Started;
use crate::jobs::schedule::{Schedule, sleep_until};
use crate::metrics;
use crate::model::time::{SECOND, Timestamp};
use crate::state::State;

/// What failed is tried again after this time, if the next run is not due before.
const AGAIN: i64 = 3600 * SECOND;

/// One schedule.
pub(super) struct Scheduled<'a> {
    pub(super) state: &'a State,
    /// What is synced, for the log.
    pub(super) source: &'static str,
    /// The property that holds the schedule, for the log.
    pub(super) property: &'static str,
    /// Its value.
    pub(super) schedule: fn(&Config) -> &str,
    /// It has changed.
    pub(super) rescheduled: &'a Notify,
}

impl Scheduled<'_> {
    /// Runs until the task is dropped; `last` is the last success.
    pub(super) async fn run(&self, last: Result<Option<Timestamp>, SyncError>, begin: impl Fn() -> Started) {
        let (state, source) = (self.state, self.source);
        let last = last.unwrap_or_else(|error| {
            tracing::warn!(target: "sync", source, %error, "whether a sync was missed is not known");
            None
        });
        metrics::sync_known(source, last);
        let missed = |schedule: &Schedule| schedule.missed(last, (state.clock)());
        let mut now_due = self.schedule().as_ref().is_some_and(missed);
        if now_due {
            tracing::info!(target: "sync", source, "a scheduled sync was missed; it runs now");
        }
        let mut again = None;
        loop {
            if now_due {
                let ended = begin().job().ended().await;
                again = ended.is_err().then(|| Timestamp((state.clock)().0 + AGAIN));
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
                    self.tell_next();
                    false
                }
            };
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        let text = (self.schedule)(&self.state.config.load()).to_owned();
        let parsed = text.parse();
        parsed
            .inspect_err(|error| tracing::error!(target: "sync", %error, "{} is not run", self.property))
            .ok()
    }

    fn next(&self) -> Option<Timestamp> {
        self.schedule().and_then(|schedule| schedule.next((self.state.clock)()))
    }

    fn tell_next(&self) {
        let source = self.source;
        match self.next() {
            Some(next) => tracing::info!(target: "sync", source, "the next scheduled sync is at {next}"),
            None => tracing::info!(target: "sync", source, "no sync is scheduled any more"),
        }
    }
}
