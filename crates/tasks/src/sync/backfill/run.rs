//! One back-fill from start to end: plan, fetch descriptions, plan again, write.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fetch_descriptions::{CONNECTIONS, DescriptionFetcher, MAX_RATE, RateLimit};
use super::files::SourceState;
use super::plan::{BackfillSize, CranState, PlanOutcome, PlannedRows, Purpose, plan};
use super::tables::{self, Tables};
use crate::sync::error::task_result;
use crate::sync::task::SourceLock;
use crate::sync::{SyncError, plan};
use base::model::ids::{SourceId, TxId};
use base::model::time::Day;
use runtime::jobs::Reporter;
use runtime::jobs::lease::{ClaimError, Lease};
use runtime::publish::transaction::{self, Rows, Transaction};
use runtime::state::State;
use store::db::backfill::{self, PendingBackfill};
use store::db::backfill_write::{self, BackfillPublish, ReleaseHistory};
use store::db::import::ImportTarget;
use store::db::{Conn, DbError, tree};
use upstream::Mirror;

/// Releases per write: half of the usual chunk, because most releases have two lives.
const CHUNK: usize = transaction::CHUNK / 2;
/// Number of stored descriptions deleted per write.
const DELETE_CHUNK: i64 = 1_000;
/// Interval of the checks whether the sync of another server has ended.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of omitted releases that the message names; the log has all of them.
const MAX_NAMES: usize = 10;

pub(super) struct BackfillRun<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) source_lock: &'a SourceLock,
    pub(super) request: &'a PendingBackfill,
    pub(super) report: &'a Reporter,
    pub(super) dry_run: bool,
}

/// The result of a back-fill; displayed as a sentence.
#[derive(Debug)]
pub(super) enum BackfillSummary {
    /// There is no older history, for this reason.
    Nothing(String),
    /// The size of a dry run, and the rate in requests per second.
    DryRun(BackfillSize, Option<u32>),
    Published {
        size: BackfillSize,
        transactions: (TxId, TxId),
        unlisted_files: Vec<(String, String)>,
    },
}

pub(super) struct BackfillResult {
    pub(super) summary: BackfillSummary,
    /// Set if the digests of the releases could not be stored: the back-fill is then repeated, and stores them.
    pub(super) lacks_digests: bool,
}

impl BackfillRun<'_> {
    pub(super) async fn run(&self) -> Result<BackfillResult, SyncError> {
        // One configuration for the whole run: a reload takes effect with the next run.
        let config = self.state.config.load_full();
        let mirror = self.state.upstream.load().mirror(&config.cran.url)?;
        if self.dry_run {
            let tables = self.tables(&mirror).await?;
            let result = self.measure(&tables, &mirror).await?;
            return Ok(BackfillResult { summary: result, lacks_digests: false });
        }
        let lease = Lease::claim(&self.state.db, self.state.node, "backfill:cran").await?;
        let result = self.fill(&mirror, &lease).await;
        let result = match result {
            Ok(result) => Ok(BackfillResult {
                summary: result,
                lacks_digests: !self.try_set_digests(&mirror, &lease).await,
            }),
            Err(error) => Err(error),
        };
        lease.release().await;
        result
    }

    /// Stores the digests of the published releases, and those that an earlier run could not store. Returns
    /// false, and logs the error, if that fails.
    async fn try_set_digests(&self, mirror: &Mirror, lease: &Lease) -> bool {
        let Err(error) = self.set_digests(mirror, lease).await else { return true };
        tracing::warn!(
            target: "sync",
            source = "cran",
            %error,
            "could not store the digests of the releases that were added; retrying within ten minutes"
        );
        false
    }

    /// Stores the digests of the published releases, which a bundle declares.
    async fn set_digests(&self, mirror: &Mirror, lease: &Lease) -> Result<(), SyncError> {
        if let Some(view) = mirror.view().await? {
            plan::set_in_releases(&self.state.db, lease, SourceId::CRAN, &view).await?;
        }
        Ok(())
    }

    async fn tables(&self, mirror: &Mirror) -> Result<Arc<Tables>, SyncError> {
        self.report.progress("reading the mirror's file tables", 0, None);
        tokio::select! {
            tables = tables::read(mirror) => tables.map(Arc::new),
            () = self.report.wait_halted() => Err(SyncError::Halted),
        }
    }

    /// Returns the maximum number of requests per second; `None`, for a directory, means no limit.
    fn rate(&self, mirror: &Mirror) -> Option<u32> {
        let rate = u32::try_from(self.request.rate).unwrap_or(MAX_RATE);
        mirror.directory().is_none().then_some(rate)
    }

    async fn measure(&self, tables: &Arc<Tables>, mirror: &Mirror) -> Result<BackfillSummary, SyncError> {
        Ok(match self.plan(tables, Purpose::Measure).await? {
            PlanOutcome::Nothing(reason) => BackfillSummary::Nothing(reason),
            PlanOutcome::Plan(plan) => BackfillSummary::DryRun(plan.size, self.rate(mirror)),
        })
    }

    async fn fill(&self, mirror: &Mirror, lease: &Lease) -> Result<BackfillSummary, SyncError> {
        let tables = self.tables(mirror).await?;
        let mut has_logged_warnings = false;
        loop {
            let plan = match self.plan(&tables, Purpose::Measure).await? {
                PlanOutcome::Nothing(reason) => return Ok(BackfillSummary::Nothing(reason)),
                PlanOutcome::Plan(plan) => plan,
            };
            for warning in plan.warnings.iter().filter(|_| !has_logged_warnings) {
                tracing::warn!(target: "sync", source = "cran", "{warning}");
            }
            has_logged_warnings = true;
            if !plan.pending_archives.is_empty() {
                let fetcher = DescriptionFetcher {
                    mirror,
                    rate_limit: RateLimit::new(self.rate(mirror)),
                    db: &self.state.db,
                    lease,
                    source: SourceId::CRAN,
                    report: self.report,
                };
                fetcher.fetch_all(plan.pending_archives).await?;
            }
            if let Some(summary) = self.publish(&tables).await? {
                self.delete_descriptions().await?;
                return Ok(summary);
            }
        }
    }

    /// Publishes the plan; `None` if a sync has meanwhile added releases whose descriptions are missing.
    async fn publish(&self, tables: &Arc<Tables>) -> Result<Option<BackfillSummary>, SyncError> {
        self.report.progress("waiting for the running sync", 0, None);
        let lock = tokio::select! {
            lock = self.source_lock.lock() => lock,
            () = self.report.wait_halted() => return Err(SyncError::Halted),
        };
        let lease = self.sync_lease().await?;
        let result = self.publish_locked(tables, &lease).await;
        lease.release().await;
        drop(lock);
        result
    }

    /// Claims the lease to write the source; waits for running syncs.
    async fn sync_lease(&self) -> Result<Lease, SyncError> {
        loop {
            match Lease::claim(&self.state.db, self.state.node, "sync:cran").await {
                Err(ClaimError::HeldByOther(_)) => {}
                result => return Ok(result?),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.report.wait_halted() => return Err(SyncError::Halted),
            }
        }
    }

    async fn publish_locked(
        &self,
        tables: &Arc<Tables>,
        lease: &Lease,
    ) -> Result<Option<BackfillSummary>, SyncError> {
        let tree = self.state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?.id;
        let transaction =
            Transaction::new_history(self.state, lease, self.report, SourceId::CRAN, tree).await?;
        let plan = match self.plan(tables, Purpose::Write).await? {
            PlanOutcome::Nothing(reason) => return Ok(Some(BackfillSummary::Nothing(reason))),
            PlanOutcome::Plan(plan) => plan,
        };
        let Some(PlannedRows { rows, unlisted_files }) = plan.rows else { return Ok(None) };
        for (file, reason) in &unlisted_files {
            tracing::warn!(target: "sync", source = "cran", file, "not in the index of older days: {reason}");
        }
        let publish = BackfillPublish {
            now: (self.state.clock)(),
            source: SourceId::CRAN,
            tree: plan.tree,
            first: plan.first_step,
            started_at: self.request.requested_at,
            actor: self.request.actor.clone(),
            steps: rows.steps,
        };
        let transactions = write(transaction, rows.releases, publish).await?;
        Ok(Some(BackfillSummary::Published { size: plan.size, transactions, unlisted_files }))
    }

    async fn plan(&self, tables: &Arc<Tables>, purpose: Purpose) -> Result<PlanOutcome, SyncError> {
        self.report.progress("computing the days", 0, None);
        let Some(state) = self.state.db.read(load_state).await? else {
            return Err(SyncError::Refused("cran was never synced; run `rspm sync` first".to_owned()));
        };
        let (tables, since) = (Arc::clone(tables), self.request.since.day());
        // Takes seconds of CPU time: not on an async thread.
        let result = tokio::task::spawn_blocking(move || plan(state, &tables, since, purpose)).await;
        task_result(result)?.map_err(SyncError::Refused)
    }

    /// Deletes stored descriptions, which are now in the rows.
    async fn delete_descriptions(&self) -> Result<(), SyncError> {
        while self.state.db.bulk(|c| backfill::delete_descriptions(c, SourceId::CRAN, DELETE_CHUNK)).await?
            > 0
        {}
        Ok(())
    }
}

/// Writes releases below the first step and publishes one transaction per day; returns the first and the last.
async fn write(
    mut transaction: Transaction<'_>,
    releases: Vec<ReleaseHistory>,
    publish: BackfillPublish,
) -> Result<(TxId, TxId), SyncError> {
    let BackfillPublish { source: origin, tree, first: pending, .. } = publish;
    let target = ImportTarget { tree, pending, origin };
    let apply = move |c: &mut dyn Conn, chunk: &[_]| backfill_write::write(c, &target, chunk);
    if let Err(error) = transaction.write("writing old releases", releases, CHUNK, apply).await {
        transaction.roll_back().await;
        return Err(error.into());
    }
    Ok(transaction.publish_history(publish).await?)
}

/// Reads the state; `None` before the first sync.
fn load_state(c: &mut dyn Conn) -> Result<Option<CranState>, DbError> {
    let tree::Tree { id, first, .. } = tree::built_in(c, SourceId::CRAN)?;
    let first = match first {
        None => return Ok(None),
        Some(first) => first,
    };
    let Some(step) = tree::step(c, id, first)? else { return Ok(None) };
    let mut source = SourceState {
        releases: Vec::new(),
        first_lives: backfill_write::live_releases(c, id, first)?,
        first_at: step.at,
    };
    backfill_write::releases(c, SourceId::CRAN, &mut |release| {
        source.releases.push(release);
        Ok(())
    })?;
    let mut descriptions = HashMap::new();
    backfill::each_description(c, SourceId::CRAN, &mut |archive, result| {
        descriptions.insert(archive, result);
        Ok(())
    })?;
    // The plan must not depend on the order of rows.
    source.releases.sort_unstable_by_key(|release| release.release);
    source.first_lives.sort_unstable_by_key(|life| (life.release, life.state));
    Ok(Some(CranState { tree: id, first_step: first, source, descriptions }))
}

/// Removes the rows of an unfinished back-fill; does nothing while another server writes.
pub(super) async fn abandon(state: &Arc<State>, source_lock: &SourceLock) -> Result<(), SyncError> {
    let _guard = source_lock.lock().await;
    let lease = match Lease::claim(&state.db, state.node, "sync:cran").await {
        Err(ClaimError::HeldByOther(_)) => return Ok(()),
        result => result?,
    };
    let tree = state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await;
    let result = match tree {
        Ok(tree) => transaction::abandon(&state.db, &lease, Rows::History(SourceId::CRAN), &[tree.id]).await,
        Err(error) => Err(error),
    };
    lease.release().await;
    Ok(result?)
}

impl fmt::Display for BackfillSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackfillSummary::Nothing(reason) => f.write_str(reason),
            BackfillSummary::DryRun(size, rate) => {
                write!(f, "{size} would be added; ")?;
                match (size.archives, rate) {
                    (0, _) => f.write_str("nothing more has to be read from the mirror"),
                    (archives, None) => write!(f, "{archives} archives have to be read"),
                    (archives, Some(rate)) => {
                        let minutes = archives.div_ceil(*rate as usize).div_ceil(60);
                        let megabytes =
                            (archives * super::fetch_descriptions::FIRST_READ as usize).div_ceil(1_000_000);
                        write!(
                            f,
                            "{archives} archives have to be read, which at {rate} requests a second over \
                             {CONNECTIONS} connections takes about {} h {:02} min and reads about {megabytes} MB",
                            minutes / 60,
                            minutes % 60
                        )
                    }
                }
            }
            BackfillSummary::Published { size, transactions: (first, last), unlisted_files } => {
                write!(f, "{size} were added (transactions {first} to {last})")?;
                if unlisted_files.is_empty() {
                    return Ok(());
                }
                write!(f, "; {} releases are left out of the index of those days: ", unlisted_files.len())?;
                for (number, (file, reason)) in unlisted_files.iter().take(MAX_NAMES).enumerate() {
                    let comma = if number == 0 { "" } else { "; " };
                    write!(f, "{comma}{file} {reason}")?;
                }
                if unlisted_files.len() > MAX_NAMES {
                    f.write_str("; the server log names the others")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for BackfillSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last): (Day, Day) = self.span;
        write!(f, "{} days of cran from {first} to {last}, {} releases,", self.days, self.releases)
    }
}
