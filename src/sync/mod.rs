//! From what a mirror declares to one published transaction: plan (pure), fetch, apply.

mod apply;
mod builds;
pub mod error;
mod fetch;
pub mod known;
mod lease;
mod package;
pub mod plan;
mod read;
mod run;
mod wanted;

pub use error::SyncError;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::db::upstream;
use crate::jobs::Started;
use crate::jobs::schedule::{Schedule, sleep_until};
use crate::model::ids::SourceId;
use crate::model::source::SourceKind;
use crate::model::time::{SECOND, Timestamp};
use crate::state::State;
use builds::Built;
use run::{Cause, Outcome};

/// A scheduled sync that failed is tried again after this time, if the next one is not due before.
const AGAIN: i64 = 3600 * SECOND;

/// Syncs sources from their mirrors; cloning shares it.
#[derive(Clone)]
pub struct Sync {
    state: Arc<State>,
    /// Why the sync was begun that was halted.
    halted: Arc<Mutex<Option<Cause>>>,
    /// Schedules have changed.
    rescheduled: Arc<Notify>,
}

/// A sync that was halted, to be begun again.
pub struct Halted(Cause);

impl Halted {
    /// The administrator who asked for it. Others begin by themselves again.
    #[must_use]
    pub fn administrator(&self) -> Option<&str> {
        match &self.0 {
            Cause::Administrator(actor) => Some(actor),
            Cause::Schedule | Cause::Mismatch => None,
        }
    }
}

impl Sync {
    /// On the shared handles.
    #[must_use]
    pub fn new(state: Arc<State>) -> Sync {
        Sync { state, halted: Arc::default(), rescheduled: Arc::default() }
    }

    /// Starts (or attaches to) the sync of the built-in source of `kind` for an administrator.
    pub fn start(&self, kind: SourceKind) -> Result<Started, SyncError> {
        self.start_by(kind, "rspm sync")
    }

    /// As [`Sync::start`]; the transaction names `actor`.
    ///
    /// # Errors
    /// [`SyncError::NotSynced`] for sources that have no mirror.
    pub fn start_by(&self, kind: SourceKind, actor: &str) -> Result<Started, SyncError> {
        match kind {
            SourceKind::Cran => Ok(self.begin(Cause::Administrator(actor.to_owned()))),
            SourceKind::CranSnapshot
            | SourceKind::CuratedCran
            | SourceKind::Bioconductor
            | SourceKind::Local
            | SourceKind::Git
            | SourceKind::Pypi
            | SourceKind::CuratedPypi
            | SourceKind::LocalPython
            | SourceKind::GitPython => Err(SyncError::NotSynced(kind)),
        }
    }

    /// Syncs a source whose mirror turned out to differ from what is known of it. Unlike an administrator's word,
    /// this never confirms an index that shrank. Sources without a mirror are left alone.
    pub fn mismatch(&self, source: SourceId) {
        if source == SourceId::CRAN {
            self.begin(Cause::Mismatch);
        }
    }

    /// Undoes what a sync left behind that was killed. The daemon calls it before it serves; each sync does the same
    /// before it writes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recover(&self) -> Result<(), SyncError> {
        let state = &self.state;
        let (tree, lists) = state.db.read(|c| Ok((run::cran_tree(c)?, builds::pending(c)?))).await?;
        if tree.pending.is_none() && lists.is_empty() {
            return Ok(());
        }
        match lease::Lease::claim(&state.db, &state.config.load_full(), &state.clock, "sync:cran").await {
            // Another server is writing at this moment.
            Err(SyncError::Elsewhere(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(lease) => {
                let undone = async {
                    builds::abandon(&state.db, &lease, lists).await?;
                    apply::abandon(&state.db, &lease, SourceId::CRAN, tree.id).await
                };
                let undone = undone.await;
                lease.release(&state.db).await;
                undone
            }
        }
    }

    /// When the built-in CRAN source was last synced with success, changes or not; `None` before the first time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_success(&self) -> Result<Option<Timestamp>, SyncError> {
        let key = run::success_key(SourceId::CRAN);
        let row = self.state.db.read(move |c| upstream::get(c, &key)).await?;
        Ok(row.map(|row| row.fetched_at))
    }

    /// Runs schedules until the task is dropped; syncs missed while the server was down run at once. A sync that
    /// failed is tried again after an hour.
    pub async fn run_schedules(&self) {
        let state = &self.state;
        let last = self.last_success().await.unwrap_or_else(|error| {
            tracing::warn!(target: "sync", %error, "whether a sync was missed is not known");
            None
        });
        let missed = |schedule: &Schedule| schedule.missed(last, (state.clock)());
        let mut now_due = self.schedule().as_ref().is_some_and(missed);
        if now_due {
            tracing::info!(target: "sync", source = "cran", "a scheduled sync was missed; it runs now");
        }
        let mut again = None;
        loop {
            if now_due {
                let ended = self.begin(Cause::Schedule).job().ended().await;
                again = ended.is_err().then(|| Timestamp((state.clock)().0 + AGAIN));
            }
            let scheduled = self.schedule().and_then(|schedule| schedule.next((state.clock)()));
            let next = [scheduled, again].into_iter().flatten().min();
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

    /// Looks at the schedules of the configuration again. A sync under way goes on.
    pub fn reschedule(&self) {
        // Kept until the schedules are waited for again.
        self.rescheduled.notify_one();
    }

    fn schedule(&self) -> Option<Schedule> {
        let text = self.state.config.load().cran.sync_schedule.clone();
        let parsed = text.parse();
        parsed
            .inspect_err(|error| tracing::error!(target: "sync", %error, "CRAN.SyncSchedule is not run"))
            .ok()
    }

    fn tell_next(&self) {
        match self.schedule().and_then(|schedule| schedule.next((self.state.clock)())) {
            Some(next) => {
                tracing::info!(target: "sync", source = "cran", "the next scheduled sync is at {next}")
            }
            None => tracing::info!(target: "sync", source = "cran", "no sync is scheduled any more"),
        }
    }

    /// The sync that was halted since this was asked last.
    #[must_use]
    pub fn halted(&self) -> Option<Halted> {
        self.halted.lock().take().map(Halted)
    }

    /// Begins a sync again that was halted, perhaps of another `Sync`.
    pub fn go_on(&self, halted: Halted) {
        self.begin(halted.0);
    }

    fn begin(&self, cause: Cause) -> Started {
        let (state, halted) = (self.state.clone(), self.halted.clone());
        let now = (state.clock)();
        self.state.jobs.start("sync:cran", now, |report| async move {
            let ended = run::cran(&state, &cause, &report).await;
            if let Err(SyncError::Halted) = ended {
                *halted.lock() = Some(cause);
            }
            ended.map(|(outcome, built)| sentence(&outcome, &built)).map_err(|error| failed(&error))
        })
    }
}

fn failed(error: &SyncError) -> String {
    match error {
        SyncError::Halted => tracing::info!(target: "sync", source = "cran", "{error}"),
        error => {
            tracing::error!(target: "sync", source = "cran", %error, "the sync failed; the last good state is served");
        }
    }
    error.to_string()
}

/// For people: what a sync did.
fn sentence(outcome: &Outcome, built: &Built) -> String {
    let (said, held) = match outcome {
        Outcome::Nothing(held) if built.tx.is_some() => {
            ("cran is up to date; no package changed".to_owned(), *held)
        }
        Outcome::Nothing(held) => ("cran is up to date; nothing changed".to_owned(), *held),
        Outcome::Published(tx, counts, held) => (
            format!(
                "cran was synced (transaction {tx}): {} packages added, {} updated, {} removed, {} releases archived",
                counts.added, counts.updated, counts.removed, counts.archived
            ),
            *held,
        ),
    };
    let mut said = match held {
        0 => said,
        held => format!("{said}; {held} packages have releases younger than CRAN.DelaySyncDuration"),
    };
    if let Some(tx) = built.tx {
        said.push_str(&format!("; builds were synced (transaction {tx}): {} new", built.listed));
    }
    for trouble in &built.troubles {
        said.push_str("; ");
        said.push_str(trouble);
    }
    said
}
