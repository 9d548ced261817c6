//! The clean-up: moves unreferenced objects to the trash of their class, deletes them after a grace period, and removes
//! the rows of abandoned imports. At the start only refillable classes are cleaned.

mod lost;
mod objects;
mod pages;
pub mod trash;

use std::time::{Duration, SystemTime};

use super::references::SWEPT_CLASSES;
use crate::db;
use crate::jobs::lease::Lease;
use crate::model::storage_class::StorageClass;
use crate::model::time::Timestamp;
use crate::serve::RepoError;
use crate::state::State;
use crate::storage::condition::PendingSweep;
use crate::storage::{GRACE, GracePeriod, Ownership, day_of};
use crate::upkeep::Upkeep;
use crate::upkeep::lease;
use crate::upkeep::ownership;

/// The result of a clean-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Objects moved to the trash.
    pub objects: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Removed releases of abandoned imports.
    pub releases: u64,
    /// Objects deleted from the trash after the grace period.
    pub deleted: u64,
}

/// The options of a clean-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Cleans only classes that can be refilled from a mirror or by the server itself, and keeps the trash.
    pub only_refillable: bool,
    /// Classes for which an administrator confirmed that any number of objects may be removed.
    pub confirmed: Vec<StorageClass>,
    /// Younger objects are kept: their rows may not be written yet.
    pub age: Duration,
    /// Objects that were in the trash for longer are deleted.
    pub grace: Duration,
}

impl Default for SweepOptions {
    fn default() -> SweepOptions {
        // Longer than the lifetime of an upload.
        let age = Duration::from_secs(2 * 3600);
        SweepOptions { only_refillable: false, confirmed: Vec::new(), age, grace: GRACE }
    }
}

/// Objects or rows per page.
const PAGE: usize = 1000;
/// Classes whose objects can be fetched or generated again.
const REFILLABLE_CLASSES: [StorageClass; 4] =
    [StorageClass::Cran, StorageClass::Bioconductor, StorageClass::Pypi, StorageClass::Persistent];

/// Removes unreferenced objects from classes that belong to this database. Safe at any time; keeps what an upload
/// or a sync still needs.
///
/// # Errors
/// [`RepoError::Conflict`] while another server that uses this database does it, and while the clock cannot be
/// trusted; the database or storage.
pub async fn sweep(upkeep: &Upkeep, asked: &SweepOptions) -> Result<SweepResult, RepoError> {
    let _one = upkeep.trash_lock.lock().await;
    let state = &upkeep.state;
    let now = (state.clock)();
    // The age of objects decides what is removed.
    match state.db.read(move |c| db::clock::check(c, now)).await {
        Err(error @ (db::DbError::Skew(_) | db::DbError::ClockAhead { .. })) => {
            return Err(RepoError::Conflict(format!("nothing is removed from storage: {error}")));
        }
        trusted => trusted?,
    }
    state.storage.sweep().await?;
    let lease = lease::claim(&upkeep.state, "sweep", "is cleaning up").await?;
    let swept = sweep_under_lease(upkeep, asked, &lease).await;
    lease.release(&state.db).await;
    let swept = swept?;
    if swept != SweepResult::default() {
        let SweepResult { objects, bytes, releases, deleted } = swept;
        tracing::info!(objects, bytes, releases, deleted, "removed unreferenced objects");
    }
    Ok(swept)
}

async fn sweep_under_lease(
    upkeep: &Upkeep,
    asked: &SweepOptions,
    lease: &Lease,
) -> Result<SweepResult, RepoError> {
    let today = day_of(SystemTime::now());
    upkeep.state.db.write(move |c| db::sweep::record_day(c, today)).await?;
    let days = upkeep.state.db.read(db::sweep::days).await?;
    let run = SweepRun { options: asked, lease, grace: GracePeriod::new(asked.grace, days) };
    let mut swept = SweepResult { releases: sweep_releases(&upkeep.state).await?, ..SweepResult::default() };
    ownership::renew_markers(upkeep).await;
    for class in SWEPT_CLASSES {
        match upkeep.state.storage.condition().ownership(class) {
            Ownership::Own => {
                sweep_class(upkeep, class, &mut swept, &run).await?;
                if !asked.only_refillable {
                    trash::empty(&upkeep.state, class, &mut swept, &run).await?;
                }
            }
            Ownership::Contested => drop(scan_class(upkeep, class, &run).await?),
            _ => {}
        }
    }
    Ok(swept)
}

/// Lists the objects of a class and records those that are lost.
async fn scan_class(
    upkeep: &Upkeep,
    class: StorageClass,
    run: &SweepRun<'_>,
) -> Result<objects::ClassScan, RepoError> {
    let conditions = upkeep.state.storage.begin_scan();
    let found = objects::scan(upkeep, class, run).await?;
    lost::find(upkeep, class, &found, conditions, run).await?;
    Ok(found)
}

async fn sweep_class(
    upkeep: &Upkeep,
    class: StorageClass,
    swept: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let confirmed = run.options.confirmed.contains(&class);
    loop {
        let found = scan_class(upkeep, class, run).await?;
        if run.options.only_refillable && !REFILLABLE_CLASSES.contains(&class) {
            return Ok(());
        }
        let Some(most) = allowance(upkeep, class, &found, confirmed, run).await? else { return Ok(()) };
        let (mut left, before, more) = (most, swept.objects, found.has_more());
        let mut removed = objects::sweep_rows(upkeep, class, &mut left, swept, run).await;
        if removed.is_ok() {
            removed = objects::sweep_objects(upkeep, found, &mut left, swept, run).await;
        }
        let (objects, now) = (swept.objects - before, (upkeep.state.clock)());
        if !confirmed && objects > 0 {
            let noted =
                upkeep.state.db.write(move |c| db::sweep::record_removed(c, class.as_str(), objects, now));
            noted.await?;
        }
        removed?;
        if !(confirmed && more && objects > 0) {
            return Ok(());
        }
    }
}

/// How many objects of a class may be removed; `None` when the sweep must wait for a confirmation. Objects removed
/// within the last day count.
async fn allowance(
    upkeep: &Upkeep,
    class: StorageClass,
    found: &objects::ClassScan,
    confirmed: bool,
    run: &SweepRun<'_>,
) -> Result<Option<u64>, RepoError> {
    let now = (upkeep.state.clock)();
    let removed = upkeep.state.db.read(move |c| db::sweep::recent_removals(c, class.as_str(), now)).await?;
    let objects = found.unknown + objects::count_unreferenced(&upkeep.state, class, run).await?;
    let waiting = PendingSweep { objects, total: found.total };
    let left = PendingSweep::daily_limit(found.total).saturating_sub(removed);
    if objects <= left || confirmed {
        upkeep.state.storage.set_pending_sweep(class, None);
        return Ok(Some(if confirmed { u64::MAX } else { left }));
    }
    if upkeep.state.storage.set_pending_sweep(class, Some(waiting)) {
        tracing::warn!(
            class = class.as_str(),
            objects,
            of = found.total,
            "the clean-up needs a confirmation: it would remove more than {left} objects, after {removed} on the last day; \
            check that the database is the right one, then run: rspm storage sweep --confirm={}",
            class.as_str()
        );
    }
    Ok(None)
}

/// Removes releases that no tree ever showed; skips sources with an import in progress.
async fn sweep_releases(state: &State) -> Result<u64, RepoError> {
    let mut removed = 0;
    for source in &state.catalog.get().sources {
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
                some => removed += some,
            }
        }
    }
    Ok(removed)
}

/// Blob rows written after this instant are too young to be removed.
fn rows_before(state: &State, run: &SweepRun<'_>) -> Timestamp {
    let age = i64::try_from(run.options.age.as_micros()).unwrap_or(i64::MAX);
    Timestamp((state.clock)().0.saturating_sub(age))
}

/// A running clean-up.
struct SweepRun<'a> {
    options: &'a SweepOptions,
    lease: &'a Lease,
    grace: GracePeriod,
}
