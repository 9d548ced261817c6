//! The clean-up: bytes that no row refers to go to the trash of their class, and out of it after a grace period; what an
//! abandoned import left is removed. At start only what a mirror can give again.

mod objects;
mod trash;

use std::time::Duration;

use super::{Repo, RepoError};
use crate::config::StorageClass;
use crate::db;
use crate::jobs::lease::{ClaimError, Lease};
use crate::model::time::Timestamp;
use crate::storage::condition::Waiting;
use crate::storage::{GRACE, Key};

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
    /// Removes what nothing refers to, from classes that belong to this database. Safe at any time; does nothing to what
    /// an upload or a sync still needs.
    ///
    /// # Errors
    /// [`RepoError::Conflict`] while another server that uses this database does it; the stores.
    pub async fn sweep(&self, asked: &Asked) -> Result<Swept, RepoError> {
        let _one = self.sweeping.lock().await;
        let state = &self.state;
        state.storage.sweep().await?;
        let lease = match Lease::claim(&state.db, &state.config.load_full(), &state.clock, "sweep").await {
            Ok(lease) => lease,
            Err(ClaimError::Db(error)) => return Err(error.into()),
            Err(ClaimError::Elsewhere(_)) => {
                let text = "another server that uses this database is cleaning up at this moment";
                return Err(RepoError::Conflict(text.to_owned()));
            }
        };
        let swept = self.sweep_alone(&Run { asked, lease: &lease }).await;
        lease.release(&state.db).await;
        let swept = swept?;
        if swept != Swept::default() {
            let Swept { objects, bytes, releases, deleted } = swept;
            tracing::info!(objects, bytes, releases, deleted, "removed what nothing refers to");
        }
        Ok(swept)
    }

    async fn sweep_alone(&self, run: &Run<'_>) -> Result<Swept, RepoError> {
        let asked = run.asked;
        let mut swept = Swept { releases: self.sweep_releases().await?, ..Swept::default() };
        self.claim_storage().await;
        let classes: &[StorageClass] = if asked.only_refillable { &REFILLABLE } else { &SWEPT };
        for class in classes.iter().copied().filter(|class| self.state.storage.is_own(*class)) {
            let confirmed = asked.confirmed.contains(&class);
            if let Some(most) = self.allowance(class, confirmed, run).await? {
                let mut left = most;
                self.sweep_rows(class, &mut left, &mut swept, run).await?;
                self.sweep_objects(class, &mut left, &mut swept, run).await?;
            }
            if !asked.only_refillable {
                self.empty_trash(class, &mut swept, run).await?;
            }
        }
        Ok(swept)
    }

    /// How many objects of a class may go; `None` when the sweep has to wait for a confirmation.
    async fn allowance(
        &self,
        class: StorageClass,
        confirmed: bool,
        run: &Run<'_>,
    ) -> Result<Option<u64>, RepoError> {
        let found = self.count(class, run).await?;
        let limit = Waiting::limit(found.of);
        if found.objects <= limit || confirmed {
            self.state.storage.set_waiting(class, None);
            return Ok(Some(if confirmed { u64::MAX } else { limit }));
        }
        if self.state.storage.set_waiting(class, Some(found)) {
            tracing::warn!(
                class = class.as_str(),
                objects = found.objects,
                of = found.of,
                "the clean-up waits: it would remove more than {limit} objects; check that the database is the right \
                 one, then: rspm storage sweep --confirm={}",
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
