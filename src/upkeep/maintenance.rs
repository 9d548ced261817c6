//! Scheduled maintenance. At the start: removes unreferenced objects of refillable classes. After midnight: closes the
//! day, renders its indexes in advance, cleans up, and verifies the digests of stored packages.

use std::time::{Duration, Instant};

use super::Upkeep;
use super::scrub::ScrubLimits;
use super::sweep::SweepOptions;
use crate::catalog::Repository;
use crate::catalog::resolve::Unresolved;
use crate::jobs::lease::{ClaimError, Lease};
use crate::model::repository::RepoKind;
use crate::model::snapshot::Snapshot;
use crate::model::time::{SECOND, Timestamp};
use crate::serve::RepoError;
use crate::serve::index::{Document, DocumentRequest};

/// The delay after midnight UTC, in microseconds, in which transactions begun before midnight complete.
const AFTER_MIDNIGHT: i64 = 5 * SECOND;
/// The longest sleep, so that changes of the clock are noticed.
const MAX_SLEEP: Duration = Duration::from_secs(600);
/// The interval of comparisons of storage with the database. While there is a warning, the interval is [`MAX_SLEEP`].
const COMPARE_INTERVAL: Duration = Duration::from_secs(3600);

/// The documents that are rendered in advance for a day.
const PRERENDERED: [Document; 3] = [Document::PackagesRds, Document::PackagesGz, Document::ArchiveRds];

impl Upkeep {
    /// Runs until the task is dropped. Errors are logged and the work is retried the next night.
    pub async fn run_maintenance(&self) {
        self.clean_up(&SweepOptions { only_refillable: true, ..SweepOptions::default() }).await;
        let (mut done, mut compared) = ((self.state.clock)().day(), Instant::now());
        loop {
            let now = (self.state.clock)();
            let due = Timestamp(done.end().0 + AFTER_MIDNIGHT);
            if now < due {
                let micros = u64::try_from(due.0 - now.0).unwrap_or(0);
                tokio::time::sleep(Duration::from_micros(micros).min(MAX_SLEEP)).await;
                let due = compared.elapsed() + MAX_SLEEP / 2 > COMPARE_INTERVAL;
                if due || !self.state.storage.condition().warnings().is_empty() {
                    self.claim_storage().await;
                    compared = Instant::now();
                }
                continue;
            }
            done = now.day();
            self.run_night().await;
        }
    }

    /// The work of one night.
    pub async fn run_night(&self) {
        self.repositories.close_finished_days().await;
        let yesterday = Timestamp((self.state.clock)().day().start().0 - 1).day();
        let names: Vec<String> = self
            .state
            .catalog
            .get()
            .repos
            .iter()
            .filter(has_one_index)
            .map(|repo| repo.name.to_string())
            .collect();
        for name in names {
            match self.render_indexes(&name, Snapshot::Date(yesterday)).await {
                Ok(()) | Err(RepoError::NotFound(_)) => {}
                // Nothing was published yet.
                Err(RepoError::Unresolved(Unresolved::Empty | Unresolved::BeforeHistory { .. })) => {}
                Err(error) => {
                    tracing::warn!(repo = name, %error, "could not render the indexes of {yesterday}")
                }
            }
        }
        self.clean_up(&SweepOptions::default()).await;
        match self.scrub(ScrubLimits::default()).await {
            Ok(_) => {}
            Err(RepoError::Conflict(why)) => tracing::info!("skipped the scrub of stored packages: {why}"),
            Err(error) => tracing::warn!(%error, "could not scrub stored packages"),
        }
    }

    /// Claims a lease for work that one server of a database does at a time. `what` completes the error text "another
    /// server that uses this database …".
    ///
    /// # Errors
    /// [`RepoError::Conflict`] while another server does it; the database.
    pub(super) async fn claim_lease(&self, name: &str, what: &str) -> Result<Lease, RepoError> {
        let state = &self.state;
        match Lease::claim(&state.db, &state.config.load_full(), &state.clock, name).await {
            Ok(lease) => Ok(lease),
            Err(ClaimError::Db(error)) => Err(error.into()),
            Err(ClaimError::HeldByOther(_)) => {
                let text = format!("another server that uses this database {what} at this moment");
                Err(RepoError::Conflict(text))
            }
        }
    }

    async fn clean_up(&self, asked: &SweepOptions) {
        match self.sweep(asked).await {
            Ok(_) => {}
            Err(RepoError::Conflict(why)) => tracing::info!("skipped the clean-up of storage: {why}"),
            Err(error) => tracing::warn!(%error, "could not clean up storage"),
        }
    }

    async fn render_indexes(&self, repo: &str, snapshot: Snapshot) -> Result<(), RepoError> {
        let point = self.repositories.point(repo, snapshot).await?;
        for document in PRERENDERED {
            self.repositories.document(&DocumentRequest::new(point.clone(), document)).await?;
        }
        Ok(())
    }
}

/// False for Bioconductor: each version has its own indexes, and most are never requested.
fn has_one_index(repo: &&Repository) -> bool {
    repo.kind != RepoKind::Bioconductor
}
