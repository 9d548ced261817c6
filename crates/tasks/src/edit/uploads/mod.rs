//! Uploads that are not part of a source yet. An upload of a client is a row of the database, so that every server can
//! add it; it is in the memory of the server that received it until the row is written. An upload of a task of this
//! process, such as a build, is in memory only.

mod consumption;
mod registry;
mod row;
mod staged;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use base::config::Provider;
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use consumption::row_id;
use content::fetch::Fetches;
use content::serve::{RepoError, error};
use registry::Registry;
use runtime::state::State;
use store::db::{self, blob::Blob};

pub(super) use consumption::Consumption;
pub use staged::Upload;
pub(super) use staged::{BinaryTarget, PendingWrite, StagedProjectFile, StagedUpload};

/// Delay of the row of a small upload on SQLite: the request that adds it usually follows, and then needs no row.
const ROW_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of concurrent checks: that of a zip file of 400,000 members with long names may need 200 MB.
const CONCURRENT_CHECKS: usize = 2;

/// The handle of the uploads that are not part of a source yet.
pub struct Uploads {
    pub(super) state: Arc<State>,
    pub(super) fetches: Arc<Fetches>,
    registry: Arc<Mutex<Registry>>,
    /// Limits the files that are checked concurrently.
    check_permits: Arc<Semaphore>,
}

impl Uploads {
    /// Creates the handle, without uploads in memory.
    pub fn new(fetches: Arc<Fetches>, state: Arc<State>) -> Arc<Uploads> {
        let check_permits = Arc::new(Semaphore::new(CONCURRENT_CHECKS));
        Arc::new(Uploads { state, fetches, registry: Arc::default(), check_permits })
    }

    /// Waits until a received file may be checked; the permit is dropped after the check. A caller that is cancelled, as
    /// when its client disconnects, no longer waits.
    ///
    /// # Errors
    /// [`RepoError::Storage`] if the server is stopping.
    pub async fn check_permit(&self) -> Result<OwnedSemaphorePermit, RepoError> {
        let permit = Arc::clone(&self.check_permits).acquire_owned().await;
        Ok(permit.map_err(|_| error::stopping())?)
    }

    /// Assigns a number to an upload, and stores the upload in memory.
    pub(super) fn insert(&self, staged: StagedUpload) -> Upload {
        self.registry.lock().insert(staged)
    }

    /// Assigns an upload in memory to a client: writes its row, so that every server can add it, also after a
    /// restart. With SQLite, where no other server uses the database, the row of an upload whose objects are not
    /// durable yet is written in the background.
    pub(super) async fn share(self: &Arc<Uploads>, id: u64, owner: &str) -> Result<(), RepoError> {
        let staged = self.registry.lock().set_owner(id, owner);
        let staged = staged.ok_or(RepoError::NoUpload(id))?;
        if staged.pending_writes.is_empty()
            || self.state.config.load().database.provider == Provider::Postgres
        {
            return self.write_row(&staged, owner).await;
        }
        let (uploads, owner) = (Arc::clone(self), owner.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(ROW_DELAY).await;
            if !uploads.registry.lock().is_free(id) {
                return;
            }
            let wait = tokio::task::spawn_blocking(move || staged.wait_durable().map(|()| staged));
            // A failed write of an object was logged, and is reported when the client adds the upload.
            let Ok(Ok(staged)) = wait.await else { return };
            if let Err(error) = uploads.write_row(&staged, &owner).await {
                let file = &staged.upload.file;
                tracing::warn!(
                    "could not record the upload of {file}; a restart of the server discards it: {error}"
                );
            }
        });
        Ok(())
    }

    /// Writes the row of an upload whose objects are durable, unless a write adds it already.
    async fn write_row(&self, staged: &StagedUpload, owner: &str) -> Result<(), RepoError> {
        let (row, now) = (row::encode(staged, owner), (self.state.clock)());
        let blobs: Vec<Blob> = staged
            .objects()
            .iter()
            .map(|(key, size)| Blob {
                sha256: *key.digest(),
                class: key.directory().to_owned(),
                size: i64::try_from(*size).unwrap_or(i64::MAX),
                created_at: now,
            })
            .collect();
        let (id, registry) = (staged.upload.id, Arc::clone(&self.registry));
        let write = self.state.db.write(move |c| {
            // Writes run one at a time: one that adds the upload has either marked it, or will remove this row.
            if registry.lock().is_free(id) {
                db::upload::insert(c, &row, &blobs, now).map(|()| true)
            } else {
                Ok(false)
            }
        });
        if write.await? {
            self.registry.lock().remove(&[id]);
        }
        Ok(())
    }

    /// Returns the uploads with these numbers, in this order, that `owner` may add to a source. Fails with
    /// [`RepoError::NoUpload`] for one that does not exist, has expired or was sent by another client.
    pub(super) async fn get(
        &self,
        ids: &[u64],
        owner: &str,
        now: Timestamp,
    ) -> Result<Vec<StagedUpload>, RepoError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids.iter().copied() {
            let in_memory = self.registry.lock().get(id, owner, now).cloned();
            found.push(match in_memory {
                Some(staged) => staged,
                None => self.read_row(id, owner, now).await?.ok_or(RepoError::NoUpload(id))?,
            });
        }
        Ok(found)
    }

    async fn read_row(
        &self,
        id: u64,
        owner: &str,
        now: Timestamp,
    ) -> Result<Option<StagedUpload>, RepoError> {
        let owner = owner.to_owned();
        let row = self.state.db.read(move |c| db::upload::get(c, row_id(id), &owner, now)).await?;
        Ok(row.and_then(|row| row::decode(&row, now)))
    }

    /// Returns the [`Consumption`] with which the write that adds these uploads removes them.
    pub(super) fn consumption(&self, ids: &[u64], owner: &str, now: Timestamp) -> Consumption {
        Consumption::new(Arc::clone(&self.registry), ids, owner, now)
    }

    pub(super) fn remove(&self, ids: &[u64]) {
        self.registry.lock().remove(ids);
    }

    /// Returns true while an upload in memory needs the object with this digest. The objects of other uploads have rows.
    pub fn needs(&self, sha256: &Sha256) -> bool {
        self.registry.lock().needs(sha256)
    }

    /// Protects the objects with these digests from the sweep until the reservation is dropped.
    pub(super) fn reserve(self: &Arc<Uploads>, digests: Vec<Sha256>) -> DigestReservation {
        self.registry.lock().reserved_digests.extend(&digests);
        DigestReservation { uploads: Arc::clone(self), digests }
    }
}

/// Reservation that protects objects from the sweep until it is dropped.
pub(super) struct DigestReservation {
    uploads: Arc<Uploads>,
    digests: Vec<Sha256>,
}

impl Drop for DigestReservation {
    fn drop(&mut self) {
        let mut registry = self.uploads.registry.lock();
        for digest in &self.digests {
            if let Some(index) = registry.reserved_digests.iter().position(|other| other == digest) {
                registry.reserved_digests.swap_remove(index);
            }
        }
    }
}
