//! Finds the unreferenced objects of a class (blobs whose rows are unreferenced, and objects without a row) and moves
//! them to the trash. A class is listed once.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::pages::Pages;
use super::{PAGE, SweepResult, SweepRun, is_referenced, object_key};
use crate::config::StorageClass;
use crate::db;
use crate::model::digest::Sha256;
use crate::serve::RepoError;
use crate::storage::{Area, Key, ListedObject};
use crate::upkeep::Upkeep;

/// Objects without a row that one scan remembers; the others wait for the next clean-up.
const MAX_UNKNOWN: usize = 100_000;

/// The scan of a storage class.
#[derive(Default)]
pub(super) struct ClassScan {
    /// Objects in the class.
    pub(super) total: u64,
    /// Old objects that neither a row nor an upload refers to.
    pub(super) unknown: u64,
    /// The first of those objects.
    keys: Vec<ListedObject>,
    /// The first eight bytes of the digests of all objects, by shelf, sorted.
    digests: BTreeMap<&'static str, Vec<u64>>,
}

impl ClassScan {
    /// Whether there are more unknown objects than the scan remembers.
    pub(super) fn has_more(&self) -> bool {
        self.unknown > self.keys.len() as u64
    }

    /// Whether the scan found an object. Digests with equal first eight bytes are treated as one object.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.digests
            .get(key.directory())
            .is_some_and(|seen| seen.binary_search(&digest_prefix(key.digest())).is_ok())
    }
}

fn digest_prefix(digest: &Sha256) -> u64 {
    digest.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Upkeep {
    /// Scans a class.
    pub(super) async fn scan_class(
        &self,
        class: StorageClass,
        run: &SweepRun<'_>,
    ) -> Result<ClassScan, RepoError> {
        let mut found = ClassScan::default();
        let mut pages = Pages::of(self, Area::Live, class).under(run.lease);
        while let Some(page) = pages.next().await? {
            found.total += page.len() as u64;
            for object in &page {
                found
                    .digests
                    .entry(object.key.directory())
                    .or_default()
                    .push(digest_prefix(object.key.digest()));
            }
            let unknown = self.unknown(page, run).await?;
            found.unknown += unknown.len() as u64;
            let room = MAX_UNKNOWN - found.keys.len();
            found.keys.extend(unknown.into_iter().take(room));
        }
        Ok(found)
    }

    /// The number of blobs of a class whose rows are unreferenced.
    pub(super) async fn unreferenced(
        &self,
        class: StorageClass,
        run: &SweepRun<'_>,
    ) -> Result<u64, RepoError> {
        let before = self.rows_before(run);
        let by_shelf = self.state.db.read(move |c| db::blob::count_unreferenced(c, before)).await?;
        let of_class = by_shelf
            .iter()
            .filter(|(shelf, _)| object_key(shelf, Sha256([0; 32])).is_some_and(|key| key.class() == class));
        Ok(of_class.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum())
    }

    /// Removes blobs whose rows are unreferenced: the row first, then the object.
    pub(super) async fn sweep_rows(
        &self,
        class: StorageClass,
        left: &mut u64,
        swept: &mut SweepResult,
        run: &SweepRun<'_>,
    ) -> Result<(), RepoError> {
        let before = self.rows_before(run);
        let mut after: Option<Sha256> = None;
        loop {
            run.lease.renew(&self.state.db).await?;
            let page =
                self.state.db.read(move |c| db::blob::unreferenced(c, before, after, PAGE as i64)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.sha256);
            for blob in page {
                let Some(key) = object_key(&blob.class, blob.sha256).filter(|key| key.class() == class)
                else {
                    continue;
                };
                if self.uploads.needs(&blob.sha256) {
                    continue;
                }
                if *left == 0 {
                    return Ok(());
                }
                // Exclusively: a concurrent fetch of the same bytes must not rely on this object.
                let _alone = self.fetches.blob_lock.write().await;
                let guard = run.lease.guard();
                let forgotten = self.state.db.write(move |c| {
                    guard.check(c)?;
                    db::blob::delete(c, blob.sha256, before)
                });
                if forgotten.await? {
                    self.discard(&key, u64::try_from(blob.size).unwrap_or(0), swept).await?;
                    *left -= 1;
                }
            }
        }
    }

    /// Removes objects without a row.
    pub(super) async fn sweep_objects(
        &self,
        found: ClassScan,
        left: &mut u64,
        swept: &mut SweepResult,
        run: &SweepRun<'_>,
    ) -> Result<(), RepoError> {
        for page in found.keys.chunks(PAGE) {
            run.lease.renew(&self.state.db).await?;
            for object in page {
                if *left == 0 {
                    return Ok(());
                }
                let _alone = self.fetches.blob_lock.write().await;
                let key = object.key;
                let wanted = self.uploads.needs(key.digest())
                    || self.state.db.read(move |c| is_referenced(c, &key)).await?;
                if !wanted {
                    self.discard(&key, object.size, swept).await?;
                    *left -= 1;
                }
            }
        }
        Ok(())
    }

    /// Selects the objects of a page that are old and that neither a row nor an upload refers to.
    async fn unknown(
        &self,
        page: Vec<ListedObject>,
        run: &SweepRun<'_>,
    ) -> Result<Vec<ListedObject>, RepoError> {
        let Some(before) = SystemTime::now().checked_sub(run.options.age) else { return Ok(Vec::new()) };
        let old = page.into_iter().filter(|object| object.modified < before);
        let old: Vec<ListedObject> = old.filter(|object| !self.uploads.needs(object.key.digest())).collect();
        let keys: Vec<Key> = old.iter().map(|object| object.key).collect();
        let known = self.state.db.read(move |c| keys.iter().map(|key| is_referenced(c, key)).collect());
        let known: Vec<bool> = known.await?;
        Ok(old.into_iter().zip(known).filter(|(_, known)| !known).map(|(object, _)| object).collect())
    }

    /// Moves an object to the trash, and restores it when a row refers to it by then: another server may have stored
    /// the same bytes.
    async fn discard(&self, key: &Key, bytes: u64, swept: &mut SweepResult) -> Result<(), RepoError> {
        if !self.state.storage.move_to_trash(key).await? {
            return Ok(());
        }
        let named = *key;
        if self.state.db.read(move |c| is_referenced(c, &named)).await? {
            self.state.storage.restore(key).await?;
            return Ok(());
        }
        swept.objects += 1;
        swept.bytes += bytes;
        Ok(())
    }
}
