//! The clean-up: bytes that no row refers to go to the trash of their class, and out of it after a grace period; what
//! an abandoned import left is removed. At start only what a mirror can give again.

mod lost;
mod objects;
mod pages;
mod trash;

use std::time::{Duration, SystemTime};

use super::{Repo, RepoError};
use crate::config::StorageClass;
use crate::db;
use crate::jobs::lease::Lease;
use crate::model::time::Timestamp;
use crate::storage::condition::Waiting;
use crate::storage::{GRACE, Grace, Key, Standing, day_of};

pub use trash::Trash;

/// What a clean-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects moved to the trash.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Releases of abandoned imports removed.
    pub releases: u64,
    /// Objects deleted from the trash after the grace period.
    pub deleted: u64,
}

/// What a clean-up is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Only classes that a mirror or the server itself can fill again; the trash stays.
    pub only_refillable: bool,
    /// Classes of which an administrator has said that any number of objects may go.
    pub confirmed: Vec<StorageClass>,
    /// Younger bytes are left alone: their rows may still come.
    pub age: Duration,
    /// What has been in the trash for longer is deleted.
    pub grace: Duration,
}

impl Default for Asked {
    fn default() -> Asked {
        // Longer than an upload waits to be added.
        let age = Duration::from_secs(2 * 3600);
        Asked { only_refillable: false, confirmed: Vec::new(), age, grace: GRACE }
    }
}

/// Objects listed, rows read, at a time.
const PAGE: usize = 1000;
/// Classes whose objects come from a mirror, or are made again by the server.
const REFILLABLE: [StorageClass; 4] =
    [StorageClass::Cran, StorageClass::Bioconductor, StorageClass::Pypi, StorageClass::Persistent];
/// All that are swept. Usage data is swept by its own room.
const SWEPT: [StorageClass; 6] = [
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
];

impl Repo {
    /// Removes what nothing refers to, from classes that belong to this database. Safe at any time; does nothing to
    /// what an upload or a sync still needs.
    ///
    /// # Errors
    /// [`RepoError::Conflict`] while another server that uses this database does it, and while the clock cannot be
    /// trusted; the stores.
    pub async fn sweep(&self, asked: &Asked) -> Result<Swept, RepoError> {
        let _one = self.sweeping.lock().await;
        let state = &self.state;
        let now = (state.clock)();
        // Ages decide what goes.
        match state.db.read(move |c| db::clock::trusted(c, now)).await {
            Err(error @ (db::DbError::Skew(_) | db::DbError::ClockAhead { .. })) => {
                return Err(RepoError::Conflict(format!("nothing is removed from storage: {error}")));
            }
            trusted => trusted?,
        }
        state.storage.sweep().await?;
        let lease = self.lease("sweep", "is cleaning up").await?;
        let swept = self.sweep_alone(asked, &lease).await;
        lease.release(&state.db).await;
        let swept = swept?;
        if swept != Swept::default() {
            let Swept { objects, bytes, releases, deleted } = swept;
            tracing::info!(objects, bytes, releases, deleted, "removed what nothing refers to");
        }
        Ok(swept)
    }

    async fn sweep_alone(&self, asked: &Asked, lease: &Lease) -> Result<Swept, RepoError> {
        let today = day_of(SystemTime::now());
        self.state.db.write(move |c| db::sweep::note_day(c, today)).await?;
        let days = self.state.db.read(db::sweep::days).await?;
        let run = Run { asked, lease, grace: Grace::new(asked.grace, days) };
        let mut swept = Swept { releases: self.sweep_releases().await?, ..Swept::default() };
        self.renew_markers().await;
        for class in SWEPT {
            match self.state.storage.condition().standing(class) {
                Standing::Own => {
                    self.sweep_class(class, &mut swept, &run).await?;
                    if !asked.only_refillable {
                        self.empty_trash(class, &mut swept, &run).await?;
                    }
                }
                Standing::Contested => {
                    let found = self.walk(class, &run).await?;
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
        swept: &mut Swept,
        run: &Run<'_>,
    ) -> Result<(), RepoError> {
        let confirmed = run.asked.confirmed.contains(&class);
        loop {
            let found = self.walk(class, run).await?;
            self.find_lost(class, &found, run).await?;
            if run.asked.only_refillable && !REFILLABLE.contains(&class) {
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
                    self.state.db.write(move |c| db::sweep::note_removed(c, class.as_str(), objects, now));
                noted.await?;
            }
            removed?;
            if !(confirmed && more && objects > 0) {
                return Ok(());
            }
        }
    }

    /// How many objects of a class may go; `None` when the sweep has to wait for a confirmation. What went within the
    /// last day counts.
    async fn allowance(
        &self,
        class: StorageClass,
        found: &objects::Walk,
        confirmed: bool,
        run: &Run<'_>,
    ) -> Result<Option<u64>, RepoError> {
        let now = (self.state.clock)();
        let gone = self.state.db.read(move |c| db::sweep::removed(c, class.as_str(), now)).await?;
        let objects = found.unknown + self.unreferenced(class, run).await?;
        let waiting = Waiting { objects, of: found.of };
        let left = Waiting::limit(found.of).saturating_sub(gone);
        if objects <= left || confirmed {
            self.state.storage.set_waiting(class, None);
            return Ok(Some(if confirmed { u64::MAX } else { left }));
        }
        if self.state.storage.set_waiting(class, Some(waiting)) {
            tracing::warn!(
                class = class.as_str(),
                objects,
                of = found.of,
                "the clean-up waits: it would remove more than {left} objects, beside {gone} of the last day; check that the \
                 database is the right one, then: rspm storage sweep --confirm={}",
                class.as_str()
            );
        }
        Ok(None)
    }

    /// Releases no tree ever showed; only of sources in which no import is under way.
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

    /// Rows of blobs written after this are new.
    fn rows_before(&self, run: &Run<'_>) -> Timestamp {
        let age = i64::try_from(run.asked.age.as_micros()).unwrap_or(i64::MAX);
        Timestamp((self.state.clock)().0.saturating_sub(age))
    }
}

/// A clean-up under way.
struct Run<'a> {
    asked: &'a Asked,
    lease: &'a Lease,
    grace: Grace,
}

/// Whether a row says that the object is wanted where it lies.
pub(super) fn is_known(c: &mut dyn db::Conn, key: &Key) -> Result<bool, db::DbError> {
    match key {
        Key::Package(..) | Key::Readme(_) => {
            Ok(db::blob::get(c, *key.digest())?.is_some_and(|blob| blob.class == key.shelf()))
        }
        Key::Index(sha256) => db::rendered::is_kept(c, *sha256),
        Key::Rules(sha256) => {
            Ok(db::upstream::get(c, db::upstream::RULES)?.is_some_and(|kept| kept.sha256 == *sha256))
        }
        Key::Advisories(sha256) => {
            Ok(db::upstream::advisories(c)?.iter().any(|(_, kept)| kept.sha256 == *sha256))
        }
        // Its rows are in another database; the usage room cleans up after itself.
        Key::Usage(_) => Ok(true),
    }
}

/// The object a blob's row means.
pub(super) fn key(shelf: &str, sha256: crate::model::digest::Sha256) -> Option<Key> {
    let class = StorageClass::ALL.into_iter().find(|class| class.as_str() == shelf);
    match class {
        Some(class) => Some(Key::Package(class, sha256)),
        None => (Key::Readme(sha256).shelf() == shelf).then_some(Key::Readme(sha256)),
    }
}
