//! One back-fill from start to end: plan, fetch descriptions, plan again, write.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fetch_descriptions::{CONNECTIONS, DescriptionFetcher};
use super::files::SourceState;
use super::plan::{BackfillSize, CranState, PlanOutcome, PlannedRows, Purpose, plan};
use super::rate_limit::{MAX_RATE, RateLimit};
use super::tables::{self, Tables};
use crate::db::backfill::{self, PendingBackfill};
use crate::db::backfill_write::{self, BackfillPublish, ReleaseHistory};
use crate::db::import::ImportTarget;
use crate::db::{Conn, DbError, step, tree};
use crate::jobs::Reporter;
use crate::jobs::lease::{ClaimError, Lease};
use crate::model::ids::{SourceId, TxId};
use crate::model::time::Day;
use crate::publish::transaction::{self, Rows, Transaction};
use crate::state::State;
use crate::sync::SyncError;
use crate::sync::bundle_digests;
use crate::sync::task::SourceLock;
use crate::upstream::Mirror;

/// Releases per write: most have two lives.
const CHUNK: usize = transaction::CHUNK / 2;
/// Number of stored descriptions deleted per write.
const FORGET: i64 = 1_000;
/// Interval at which a sync by another server is checked for its end.
const WAIT: Duration = Duration::from_secs(5);
/// Maximum number of omitted releases that the message names; the log has all of them.
const NAMED: usize = 10;

/// The context of a back-fill.
pub(super) struct BackfillRun<'a> {
    pub(super) state: &'a Arc<State>,
    pub(super) source_lock: &'a SourceLock,
    pub(super) request: &'a PendingBackfill,
    pub(super) report: &'a Reporter,
    pub(super) dry_run: bool,
}

/// The result of a back-fill; displayed as a sentence for people.
#[derive(Debug)]
pub(super) enum BackfillSummary {
    /// There is no older history; why.
    Nothing(String),
    /// The size of a dry run, and the rate in requests per second.
    DryRun(BackfillSize, Option<u32>),
    Published {
        size: BackfillSize,
        transactions: (TxId, TxId),
        left_out: Vec<(String, String)>,
    },
}

/// The end of a back-fill.
pub(super) struct BackfillResult {
    pub(super) outcome: BackfillSummary,
    /// Set if the digests of the releases could not be stored: a repetition stores them.
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
            return Ok(BackfillResult { outcome: result, lacks_digests: false });
        }
        let lease = Lease::claim(&self.state.db, self.state.node, "backfill:cran").await?;
        let ended = self.fill(&mirror, &lease).await;
        let ended = match ended {
            Ok(result) => Ok(BackfillResult {
                outcome: result,
                lacks_digests: !self.has_digests(&mirror, &lease).await,
            }),
            Err(error) => Err(error),
        };
        lease.release().await;
        ended
    }

    /// Stores the digests of the published releases, also of those of an earlier run that could not; returns false, and
    /// logs why, if that fails.
    async fn has_digests(&self, mirror: &Mirror, lease: &Lease) -> bool {
        let Err(error) = self.set_digests(mirror, lease).await else { return true };
        tracing::warn!(
            target: "sync",
            source = "cran",
            %error,
            "could not store the digests of the releases that were filled in; tried again within ten minutes"
        );
        false
    }

    /// Stores the digests of the published releases, which a bundle declares.
    async fn set_digests(&self, mirror: &Mirror, lease: &Lease) -> Result<(), SyncError> {
        if let Some(view) = mirror.view().await? {
            bundle_digests::set_in_releases(&self.state.db, lease, SourceId::CRAN, &view).await?;
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

    /// The request rate; unlimited for directories.
    fn rate(&self, mirror: &Mirror) -> Option<u32> {
        let rate = u32::try_from(self.request.rate).unwrap_or(MAX_RATE);
        mirror.directory().is_none().then_some(rate)
    }

    async fn measure(&self, tables: &Arc<Tables>, mirror: &Mirror) -> Result<BackfillSummary, SyncError> {
        Ok(match self.plan(tables, Purpose::Measure).await? {
            PlanOutcome::Nothing(why) => BackfillSummary::Nothing(why),
            PlanOutcome::Plan(past) => BackfillSummary::DryRun(past.size, self.rate(mirror)),
        })
    }

    async fn fill(&self, mirror: &Mirror, lease: &Lease) -> Result<BackfillSummary, SyncError> {
        let tables = self.tables(mirror).await?;
        let mut warned = false;
        loop {
            let past = match self.plan(&tables, Purpose::Measure).await? {
                PlanOutcome::Nothing(why) => return Ok(BackfillSummary::Nothing(why)),
                PlanOutcome::Plan(past) => past,
            };
            for warning in past.warnings.iter().filter(|_| !warned) {
                tracing::warn!(target: "sync", source = "cran", "{warning}");
            }
            warned = true;
            if !past.missing.is_empty() {
                let looker = DescriptionFetcher {
                    mirror,
                    rate_limit: RateLimit::new(self.rate(mirror)),
                    db: &self.state.db,
                    lease,
                    source: SourceId::CRAN,
                    report: self.report,
                };
                looker.fetch_all(past.missing).await?;
            }
            if let Some(outcome) = self.publish(&tables).await? {
                self.delete_descriptions().await?;
                return Ok(outcome);
            }
        }
    }

    /// Publishes the plan if it needs no further descriptions; `None` if a sync meanwhile added releases that do.
    async fn publish(&self, tables: &Arc<Tables>) -> Result<Option<BackfillSummary>, SyncError> {
        self.report.progress("waiting for the running sync", 0, None);
        let lock = tokio::select! {
            lock = self.source_lock.lock() => lock,
            () = self.report.wait_halted() => return Err(SyncError::Halted),
        };
        let lease = self.sync_lease().await?;
        let published = self.publish_locked(tables, &lease).await;
        lease.release().await;
        drop(lock);
        published
    }

    /// Claims the lease to write the source; waits for running syncs.
    async fn sync_lease(&self) -> Result<Lease, SyncError> {
        loop {
            match Lease::claim(&self.state.db, self.state.node, "sync:cran").await {
                Err(ClaimError::HeldByOther(_)) => {}
                claimed => return Ok(claimed?),
            }
            tokio::select! {
                () = tokio::time::sleep(WAIT) => {}
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
        let work = Transaction::before_first(self.state, lease, self.report, (SourceId::CRAN, tree)).await?;
        let past = match self.plan(tables, Purpose::Write).await? {
            PlanOutcome::Nothing(why) => return Ok(Some(BackfillSummary::Nothing(why))),
            PlanOutcome::Plan(past) => past,
        };
        let Some(PlannedRows { rows, left_out }) = past.rows else { return Ok(None) };
        for (file, reason) in &left_out {
            tracing::warn!(target: "sync", source = "cran", file, "not in the index of older days: {reason}");
        }
        let publish = BackfillPublish {
            now: (self.state.clock)(),
            source: SourceId::CRAN,
            tree: past.tree,
            first: past.first,
            started_at: self.request.requested_at,
            actor: self.request.actor.clone(),
            steps: rows.steps,
        };
        let transactions = write(work, rows.releases, publish).await?;
        Ok(Some(BackfillSummary::Published { size: past.size, transactions, left_out }))
    }

    async fn plan(&self, tables: &Arc<Tables>, purpose: Purpose) -> Result<PlanOutcome, SyncError> {
        self.report.progress("computing the days", 0, None);
        let Some(known) = self.state.db.read(load_state).await? else {
            return Err(SyncError::Refused("cran was never synced; run `rspm sync` first".to_owned()));
        };
        let (tables, since) = (Arc::clone(tables), self.request.since.day());
        // Takes seconds of CPU: not on an async thread.
        let planned = tokio::task::spawn_blocking(move || plan(known, &tables, since, purpose)).await;
        planned.map_err(|_| SyncError::Stopping)?.map_err(SyncError::Refused)
    }

    /// Deletes stored descriptions, which are now in the rows.
    async fn delete_descriptions(&self) -> Result<(), SyncError> {
        while self.state.db.bulk(|c| backfill::delete_descriptions(c, SourceId::CRAN, FORGET)).await? > 0 {}
        Ok(())
    }
}

/// Writes releases below the first step and publishes one transaction per day; returns the first and the last.
async fn write(
    mut work: Transaction<'_>,
    releases: Vec<ReleaseHistory>,
    publish: BackfillPublish,
) -> Result<(TxId, TxId), SyncError> {
    let BackfillPublish { source: origin, tree, first: pending, .. } = publish;
    let target = ImportTarget { tree, pending, origin };
    let apply = move |c: &mut dyn Conn, chunk: &[_]| backfill_write::write(c, &target, chunk);
    if let Err(error) = work.write("writing old releases", releases, CHUNK, apply).await {
        work.roll_back().await;
        return Err(error.into());
    }
    Ok(work.publish_history(publish).await?)
}

/// Reads the state; `None` before the first sync.
fn load_state(c: &mut dyn Conn) -> Result<Option<CranState>, DbError> {
    let tree::Tree { id, first, .. } = tree::built_in(c, SourceId::CRAN)?;
    let first = match first {
        None => return Ok(None),
        Some(first) => first,
    };
    let Some(step) = step::get(c, id, first)? else { return Ok(None) };
    let mut ledger = SourceState {
        releases: Vec::new(),
        live: backfill_write::live_releases(c, id, first)?,
        first_at: step.at,
    };
    backfill_write::releases(c, SourceId::CRAN, &mut |release| {
        ledger.releases.push(release);
        Ok(())
    })?;
    let mut descriptions = HashMap::new();
    backfill::each_description(c, SourceId::CRAN, &mut |archive, result| {
        descriptions.insert(archive, result);
        Ok(())
    })?;
    // The plan must not depend on the order of rows.
    ledger.releases.sort_unstable_by_key(|known| known.release);
    ledger.live.sort_unstable_by_key(|live| (live.release, live.state));
    Ok(Some(CranState { tree: id, first, source: ledger, descriptions }))
}

/// Removes the rows of an unfinished back-fill; does nothing while another server writes.
pub(super) async fn abandon(state: &Arc<State>, turn: &SourceLock) -> Result<(), SyncError> {
    let _guard = turn.lock().await;
    let lease = match Lease::claim(&state.db, state.node, "sync:cran").await {
        Err(ClaimError::HeldByOther(_)) => return Ok(()),
        claimed => claimed?,
    };
    let tree = state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await;
    let undone = match tree {
        Ok(tree) => transaction::abandon(&state.db, &lease, Rows::History(SourceId::CRAN), &[tree.id]).await,
        Err(error) => Err(error),
    };
    lease.release().await;
    Ok(undone?)
}

impl fmt::Display for BackfillSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackfillSummary::Nothing(why) => f.write_str(why),
            BackfillSummary::DryRun(size, rate) => {
                write!(f, "{size} would be filled in; ")?;
                match (size.archives, rate) {
                    (0, _) => f.write_str("nothing more has to be read from the mirror"),
                    (descriptions, None) => write!(f, "{descriptions} archives have to be read"),
                    (descriptions, Some(rate)) => {
                        let minutes = descriptions.div_ceil(*rate as usize).div_ceil(60);
                        let megabytes = (descriptions * super::fetch_descriptions::FIRST_READ as usize)
                            .div_ceil(1_000_000);
                        write!(
                            f,
                            "{descriptions} archives have to be read, which at {rate} requests a second over \
                             {CONNECTIONS} connections takes about {} h {:02} min and reads about {megabytes} MB",
                            minutes / 60,
                            minutes % 60
                        )
                    }
                }
            }
            BackfillSummary::Published { size, transactions: (first, last), left_out } => {
                write!(f, "{size} were filled in (transactions {first} to {last})")?;
                if left_out.is_empty() {
                    return Ok(());
                }
                write!(f, "; {} releases are left out of the index of those days: ", left_out.len())?;
                for (number, (file, reason)) in left_out.iter().take(NAMED).enumerate() {
                    let comma = if number == 0 { "" } else { "; " };
                    write!(f, "{comma}{file} {reason}")?;
                }
                if left_out.len() > NAMED {
                    f.write_str("; the service log names the others")?;
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
