//! The sweep: moves unreferenced objects to the trash of their class, deletes them after a grace period, and
//! removes the rows of abandoned imports. At the start only refillable classes are swept.

mod lost;
mod objects;
pub mod trash;

use std::time::{Duration, SystemTime};

use super::references::SWEPT_CLASSES;
use crate::upkeep::{Upkeep, claim_lease, ownership};
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db;
use store::storage::condition::PendingSweep;
use store::storage::{GRACE, GracePeriod, Ownership, day_of};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    pub objects: u64,
    pub bytes: u64,
    /// Removed releases of abandoned imports.
    pub releases: u64,
    /// Objects deleted from the trash after the grace period.
    pub deleted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Sweeps only classes that can be refilled from a mirror or by the server, and does not empty the trash.
    pub only_refillable: bool,
    pub classes: Vec<StorageClass>,
    /// Classes for which an administrator confirmed that any number of objects may be removed.
    pub confirmed: Vec<StorageClass>,
    /// Minimum age of the removed objects: rows that refer to younger ones may not be written yet.
    pub age: Duration,
    /// Time that objects remain in the trash.
    pub grace: Duration,
}

impl Default for SweepOptions {
    fn default() -> SweepOptions {
        // Longer than the lifetime of an upload.
        let age = Duration::from_secs(2 * 3600);
        let classes = SWEPT_CLASSES.to_vec();
        SweepOptions { only_refillable: false, classes, confirmed: Vec::new(), age, grace: GRACE }
    }
}

const PAGE: usize = 1000;
/// Classes whose objects can be fetched or generated again.
const REFILLABLE_CLASSES: [StorageClass; 4] =
    [StorageClass::Cran, StorageClass::Bioconductor, StorageClass::Pypi, StorageClass::Persistent];

/// Removes unreferenced objects from classes that belong to this database. Safe at any time: objects that an upload or
/// a sync needs are not removed. Fails during another sweep or a backup, and while the clock is not reliable.
pub async fn sweep(upkeep: &Upkeep, options: &SweepOptions) -> Result<SweepResult, RepoError> {
    let _guard = upkeep.trash_lock.lock().await;
    let state = &upkeep.state;
    let now = (state.clock)();
    // The age of objects decides what is removed.
    match state.db.read(move |c| db::clock::check(c, now)).await {
        Err(error @ (db::DbError::Skew(_) | db::DbError::ClockAhead { .. })) => {
            return Err(RepoError::Conflict(format!("nothing is removed from storage: {error}")));
        }
        other => other?,
    }
    refuse_while_held(state).await?;
    state.storage.remove_abandoned_spools().await?;
    let lease = claim_lease(&upkeep.state, "sweep", "is sweeping storage").await?;
    let result = sweep_under_lease(upkeep, options, &lease).await;
    lease.release().await;
    let result = result?;
    if result != SweepResult::default() {
        let SweepResult { objects, bytes, releases, deleted } = result;
        tracing::info!(objects, bytes, releases, deleted, "swept storage");
    }
    Ok(result)
}

/// Refuses to remove objects while a backup reads them.
pub(super) async fn refuse_while_held(state: &State) -> Result<(), RepoError> {
    let now = (state.clock)();
    match state.db.read(move |c| db::backup::held_until(c, now)).await? {
        None => Ok(()),
        Some(_) => Err(RepoError::Conflict(
            "nothing is removed from storage while a backup is made; try again when it is complete"
                .to_owned(),
        )),
    }
}

/// Counts the objects that [`sweep`] would move to the trash, and their size.
pub async fn preview(upkeep: &Upkeep, options: &SweepOptions) -> Result<SweepResult, RepoError> {
    let _guard = upkeep.trash_lock.lock().await;
    let lease = claim_lease(&upkeep.state, "sweep", "is sweeping storage").await?;
    let run = SweepRun { options, lease: &lease, grace: GracePeriod::new(options.grace, Vec::new()) };
    let mut result = SweepResult::default();
    let mut outcome = Ok(());
    for class in options.classes.iter().copied() {
        if upkeep.state.storage.condition().ownership(class) == Ownership::Own && outcome.is_ok() {
            outcome = objects::preview(upkeep, class, &mut result, &run).await;
        }
    }
    lease.release().await;
    outcome.map(|()| result)
}

async fn sweep_under_lease(
    upkeep: &Upkeep,
    options: &SweepOptions,
    lease: &Lease,
) -> Result<SweepResult, RepoError> {
    let today = day_of(SystemTime::now());
    let now = (upkeep.state.clock)();
    upkeep
        .state
        .db
        .write(move |c| {
            db::upload::remove_expired(c, now)?;
            db::storage_class::record_sweep_day(c, today)
        })
        .await?;
    let days = upkeep.state.db.read(db::storage_class::sweep_days).await?;
    let run = SweepRun { options, lease, grace: GracePeriod::new(options.grace, days) };
    let mut result = SweepResult { releases: sweep_releases(&upkeep.state).await?, ..SweepResult::default() };
    ownership::renew_markers(upkeep).await;
    for class in options.classes.iter().copied() {
        match upkeep.state.storage.condition().ownership(class) {
            Ownership::Own => {
                sweep_class(upkeep, class, &mut result, &run).await?;
                if !options.only_refillable {
                    trash::empty(&upkeep.state, class, &mut result, &run).await?;
                }
            }
            Ownership::Contested => drop(scan_class(upkeep, class, &run).await?),
            _ => {}
        }
    }
    Ok(result)
}

/// Lists the objects of a class and records those that are lost.
async fn scan_class(
    upkeep: &Upkeep,
    class: StorageClass,
    run: &SweepRun<'_>,
) -> Result<objects::ClassScan, RepoError> {
    let conditions = upkeep.state.storage.begin_scan();
    let scan = objects::scan(upkeep, class, run).await?;
    lost::find(upkeep, class, &scan, conditions, run).await?;
    Ok(scan)
}

async fn sweep_class(
    upkeep: &Upkeep,
    class: StorageClass,
    result: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let is_confirmed = run.options.confirmed.contains(&class);
    loop {
        let scan = scan_class(upkeep, class, run).await?;
        if run.options.only_refillable && !REFILLABLE_CLASSES.contains(&class) {
            return Ok(());
        }
        let Some(limit) = allowance(upkeep, class, &scan, is_confirmed, run).await? else { return Ok(()) };
        let (mut remaining, previous_count, has_more) = (limit, result.objects, scan.has_more());
        // Before the first object is removed: after a killed sweep, the next one must not have the full allowance.
        if !is_confirmed {
            record_removed(upkeep, class, count(limit)).await?;
        }
        let mut removal = objects::sweep_rows(upkeep, class, &mut remaining, result, run).await;
        if removal.is_ok() {
            removal = objects::sweep_objects(upkeep, scan, &mut remaining, result, run).await;
        }
        let objects = result.objects - previous_count;
        if !is_confirmed {
            record_removed(upkeep, class, count(objects).saturating_sub(count(limit))).await?;
        }
        removal?;
        if !(is_confirmed && has_more && objects > 0) {
            return Ok(());
        }
    }
}

/// Adds to the number of objects of a class that were removed recently.
async fn record_removed(upkeep: &Upkeep, class: StorageClass, objects: i64) -> Result<(), RepoError> {
    let now = (upkeep.state.clock)();
    if objects != 0 {
        let record =
            move |c: &mut dyn db::Conn| db::storage_class::record_removed(c, class.as_str(), objects, now);
        upkeep.state.db.write(record).await?;
    }
    Ok(())
}

fn count(objects: u64) -> i64 {
    i64::try_from(objects).unwrap_or(i64::MAX)
}

/// Returns the number of objects to remove; `None` if a confirmation is needed. Those of the last day count too.
async fn allowance(
    upkeep: &Upkeep,
    class: StorageClass,
    scan: &objects::ClassScan,
    is_confirmed: bool,
    run: &SweepRun<'_>,
) -> Result<Option<u64>, RepoError> {
    let now = (upkeep.state.clock)();
    let recent_removals =
        upkeep.state.db.read(move |c| db::storage_class::recent_removals(c, class.as_str(), now)).await?;
    let objects = scan.unknown + objects::count_unreferenced(&upkeep.state, class, run).await?;
    let pending_sweep = PendingSweep { objects, total: scan.total.max(objects) };
    let limit = PendingSweep::daily_limit(scan.total).saturating_sub(recent_removals);
    if objects <= limit || is_confirmed {
        upkeep.state.storage.set_pending_sweep(class, None);
        return Ok(Some(if is_confirmed { u64::MAX } else { objects }));
    }
    if upkeep.state.storage.set_pending_sweep(class, Some(pending_sweep)) {
        tracing::warn!(
            class = class.as_str(),
            objects,
            of = pending_sweep.total,
            "the sweep needs a confirmation: it would remove more than {limit} objects; {recent_removals} were removed in the last 24 \
            hours. Check that this is the right database, then run: rspm storage sweep --confirm={}",
            class.as_str()
        );
    }
    Ok(None)
}

/// Removes releases that were never listed or archived in a tree; skips sources with an import in progress.
async fn sweep_releases(state: &State) -> Result<u64, RepoError> {
    let mut total = 0;
    for source in state.catalog.get().sources.iter() {
        let id = source.id;
        loop {
            let chunk = state.db.bulk(move |c| {
                if db::tree::of_source(c, id)?.iter().any(|tree| tree.pending.is_some()) {
                    return Ok(0);
                }
                db::release::sweep(c, id, PAGE as i64)
            });
            match chunk.await? {
                0 => break,
                count => total += count,
            }
        }
    }
    Ok(total)
}

fn row_limit(state: &State, run: &SweepRun<'_>) -> Timestamp {
    (state.clock)() - run.options.age
}

struct SweepRun<'a> {
    options: &'a SweepOptions,
    lease: &'a Lease,
    grace: GracePeriod,
}
