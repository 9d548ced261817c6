//! The clean-up: moves unreferenced objects to the trash of their class, deletes them after a grace period, and removes
//! the rows of abandoned imports. At the start only refillable classes are cleaned.

mod lost;
mod objects;
mod pages;
mod trash;

use std::time::{Duration, SystemTime};

use super::Upkeep;
use crate::config::StorageClass;
use crate::db;
use crate::jobs::lease::Lease;
use crate::model::time::Timestamp;
use crate::serve::RepoError;
use crate::storage::condition::PendingSweep;
use crate::storage::{GRACE, GracePeriod, Key, Ownership, day_of};

pub use trash::TrashSummary;

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
/// All swept classes. The usage room sweeps its own data.
const SWEPT_CLASSES: [StorageClass; 6] = [
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
];

impl Upkeep {
    /// Removes unreferenced objects from classes that belong to this database. Safe at any time; keeps what an upload
    /// or a sync still needs.
    ///
    /// # Errors
    /// [`RepoError::Conflict`] while another server that uses this database does it, and while the clock cannot be
    /// trusted; the database or storage.
    pub async fn sweep(&self, asked: &SweepOptions) -> Result<SweepResult, RepoError> {
        let _one = self.trash_lock.lock().await;
        let state = &self.state;
        let now = (state.clock)();
        // The age of objects decides what is removed.
        match state.db.read(move |c| db::clock::check(c, now)).await {
            Err(error @ (db::DbError::Skew(_) | db::DbError::ClockAhead { .. })) => {
                return Err(RepoError::Conflict(format!("nothing is removed from storage: {error}")));
            }
            trusted => trusted?,
        }
        state.storage.sweep().await?;
        let lease = self.claim_lease("sweep", "is cleaning up").await?;
        let swept = self.sweep_under_lease(asked, &lease).await;
        lease.release(&state.db).await;
        let swept = swept?;
        if swept != SweepResult::default() {
            let SweepResult { objects, bytes, releases, deleted } = swept;
            tracing::info!(objects, bytes, releases, deleted, "removed unreferenced objects");
        }
        Ok(swept)
    }

    async fn sweep_under_lease(&self, asked: &SweepOptions, lease: &Lease) -> Result<SweepResult, RepoError> {
        let today = day_of(SystemTime::now());
        self.state.db.write(move |c| db::sweep::record_day(c, today)).await?;
        let days = self.state.db.read(db::sweep::days).await?;
        let run = SweepRun { options: asked, lease, grace: GracePeriod::new(asked.grace, days) };
        let mut swept = SweepResult { releases: self.sweep_releases().await?, ..SweepResult::default() };
        self.renew_markers().await;
        for class in SWEPT_CLASSES {
            match self.state.storage.condition().ownership(class) {
                Ownership::Own => {
                    self.sweep_class(class, &mut swept, &run).await?;
                    if !asked.only_refillable {
                        self.empty_trash(class, &mut swept, &run).await?;
                    }
                }
                Ownership::Contested => {
                    let found = self.scan_class(class, &run).await?;
                    self.find_lost(class, &found, &run).await?;
                }
                _ => {}
            }
        }
        Ok(swept)
    }

    async fn sweep_class(
        &self,
        class: StorageClass,
        swept: &mut SweepResult,
        run: &SweepRun<'_>,
    ) -> Result<(), RepoError> {
        let confirmed = run.options.confirmed.contains(&class);
        loop {
            let found = self.scan_class(class, run).await?;
            self.find_lost(class, &found, run).await?;
            if run.options.only_refillable && !REFILLABLE_CLASSES.contains(&class) {
                return Ok(());
            }
            let Some(most) = self.allowance(class, &found, confirmed, run).await? else { return Ok(()) };
            let (mut left, before, more) = (most, swept.objects, found.has_more());
            let mut removed = self.sweep_rows(class, &mut left, swept, run).await;
            if removed.is_ok() {
                removed = self.sweep_objects(found, &mut left, swept, run).await;
            }
            let (objects, now) = (swept.objects - before, (self.state.clock)());
            if !confirmed && objects > 0 {
                let noted =
                    self.state.db.write(move |c| db::sweep::record_removed(c, class.as_str(), objects, now));
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
        &self,
        class: StorageClass,
        found: &objects::ClassScan,
        confirmed: bool,
        run: &SweepRun<'_>,
    ) -> Result<Option<u64>, RepoError> {
        let now = (self.state.clock)();
        let removed = self.state.db.read(move |c| db::sweep::recent_removals(c, class.as_str(), now)).await?;
        let objects = found.unknown + self.unreferenced(class, run).await?;
        let waiting = PendingSweep { objects, total: found.total };
        let left = PendingSweep::daily_limit(found.total).saturating_sub(removed);
        if objects <= left || confirmed {
            self.state.storage.set_pending_sweep(class, None);
            return Ok(Some(if confirmed { u64::MAX } else { left }));
        }
        if self.state.storage.set_pending_sweep(class, Some(waiting)) {
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
    async fn sweep_releases(&self) -> Result<u64, RepoError> {
        let mut removed = 0;
        for source in &self.state.catalog.get().sources {
            let id = source.id;
            loop {
                let chunk = self.state.db.bulk(move |c| {
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
    fn rows_before(&self, run: &SweepRun<'_>) -> Timestamp {
        let age = i64::try_from(run.options.age.as_micros()).unwrap_or(i64::MAX);
        Timestamp((self.state.clock)().0.saturating_sub(age))
    }
}

/// A running clean-up.
struct SweepRun<'a> {
    options: &'a SweepOptions,
    lease: &'a Lease,
    grace: GracePeriod,
}

/// Whether a row refers to the object in its class.
pub(super) fn is_referenced(c: &mut dyn db::Conn, key: &Key) -> Result<bool, db::DbError> {
    match key {
        Key::Package(..) | Key::Readme(_) => {
            Ok(db::blob::get(c, *key.digest())?.is_some_and(|blob| blob.class == key.directory()))
        }
        Key::Index(sha256) => db::rendered::is_referenced(c, *sha256),
        Key::Rules(sha256) => {
            Ok(db::upstream::get(c, db::upstream::RULES)?.is_some_and(|kept| kept.sha256 == *sha256))
        }
        Key::Advisories(sha256) => {
            Ok(db::upstream::advisories(c)?.iter().any(|(_, kept)| kept.sha256 == *sha256))
        }
        // Its rows are in another database; the usage room sweeps its own objects.
        Key::Usage(_) => Ok(true),
    }
}

/// The object key of a blob's row.
pub(super) fn object_key(shelf: &str, sha256: crate::model::digest::Sha256) -> Option<Key> {
    let class = StorageClass::ALL.into_iter().find(|class| class.as_str() == shelf);
    match class {
        Some(class) => Some(Key::Package(class, sha256)),
        None => (Key::Readme(sha256).directory() == shelf).then_some(Key::Readme(sha256)),
    }
}
