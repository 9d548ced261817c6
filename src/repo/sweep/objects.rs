//! Finds the unreferenced objects of a class (blobs whose rows are unreferenced, and objects without a row) and moves
//! them to the trash. A class is listed once.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::pages::Pages;
use super::{PAGE, Run, Swept, is_known, key};
use crate::config::StorageClass;
use crate::db;
use crate::model::digest::Sha256;
use crate::repo::{Repo, RepoError};
use crate::storage::{Area, Key, Stored};

/// Objects without a row that one scan remembers; the others wait for the next clean-up.
const MOST: usize = 100_000;

/// The scan of a storage class.
#[derive(Default)]
pub(super) struct Walk {
    /// Objects in the class.
    pub(super) of: u64,
    /// Old objects that neither a row nor an upload refers to.
    pub(super) unknown: u64,
    /// The first of those objects.
    keys: Vec<Stored>,
    /// The first eight bytes of the digests of all objects, by shelf, sorted.
    seen: BTreeMap<&'static str, Vec<u64>>,
}

impl Walk {
    /// Whether there are more unknown objects than the scan remembers.
    pub(super) fn has_more(&self) -> bool {
        self.unknown > self.keys.len() as u64
    }

    /// Whether the scan found an object. Digests with equal first eight bytes are treated as one object.
    pub(super) fn saw(&self, key: &Key) -> bool {
        self.seen.get(key.shelf()).is_some_and(|seen| seen.binary_search(&beginning(key.digest())).is_ok())
    }
}

fn beginning(digest: &Sha256) -> u64 {
    digest.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Repo {
    /// Scans a class.
    pub(super) async fn walk(&self, class: StorageClass, run: &Run<'_>) -> Result<Walk, RepoError> {
        let mut found = Walk::default();
        let mut pages = Pages::of(self, Area::Live, class).under(run.lease);
        while let Some(page) = pages.next().await? {
            found.of += page.len() as u64;
            for object in &page {
                found.seen.entry(object.key.shelf()).or_default().push(beginning(object.key.digest()));
            }
            let unknown = self.unknown(page, run).await?;
            found.unknown += unknown.len() as u64;
            let room = MOST - found.keys.len();
            found.keys.extend(unknown.into_iter().take(room));
        }
        Ok(found)
    }

    /// The number of blobs of a class whose rows are unreferenced.
    pub(super) async fn unreferenced(&self, class: StorageClass, run: &Run<'_>) -> Result<u64, RepoError> {
        let before = self.rows_before(run);
        let by_shelf = self.state.db.read(move |c| db::blob::count_unreferenced(c, before)).await?;
        let of_class = by_shelf
            .iter()
            .filter(|(shelf, _)| key(shelf, Sha256([0; 32])).is_some_and(|key| key.class() == class));
        Ok(of_class.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum())
    }

    /// Removes blobs whose rows are unreferenced: the row first, then the object.
    pub(super) async fn sweep_rows(
        &self,
        class: StorageClass,
        left: &mut u64,
        swept: &mut Swept,
        run: &Run<'_>,
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
                let Some(key) = key(&blob.class, blob.sha256).filter(|key| key.class() == class) else {
                    continue;
                };
                if self.uploads.needs(&blob.sha256) {
                    continue;
                }
                if *left == 0 {
                    return Ok(());
                }
                // Exclusively: a concurrent fetch of the same bytes must not rely on this object.
                let _alone = self.landing.write().await;
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
        found: Walk,
        left: &mut u64,
        swept: &mut Swept,
        run: &Run<'_>,
    ) -> Result<(), RepoError> {
        for page in found.keys.chunks(PAGE) {
            run.lease.renew(&self.state.db).await?;
            for object in page {
                if *left == 0 {
                    return Ok(());
                }
                let _alone = self.landing.write().await;
                let key = object.key;
                let wanted = self.uploads.needs(key.digest())
                    || self.state.db.read(move |c| is_known(c, &key)).await?;
                if !wanted {
                    self.discard(&key, object.size, swept).await?;
                    *left -= 1;
                }
            }
        }
        Ok(())
    }

    /// Selects the objects of a page that are old and that neither a row nor an upload refers to.
    async fn unknown(&self, page: Vec<Stored>, run: &Run<'_>) -> Result<Vec<Stored>, RepoError> {
        let Some(before) = SystemTime::now().checked_sub(run.asked.age) else { return Ok(Vec::new()) };
        let old = page.into_iter().filter(|object| object.modified < before);
        let old: Vec<Stored> = old.filter(|object| !self.uploads.needs(object.key.digest())).collect();
        let keys: Vec<Key> = old.iter().map(|object| object.key).collect();
        let known = self.state.db.read(move |c| keys.iter().map(|key| is_known(c, key)).collect());
        let known: Vec<bool> = known.await?;
        Ok(old.into_iter().zip(known).filter(|(_, known)| !known).map(|(object, _)| object).collect())
    }

    /// Moves an object to the trash, and restores it when a row refers to it by then: another server may have stored
    /// the same bytes.
    async fn discard(&self, key: &Key, bytes: u64, swept: &mut Swept) -> Result<(), RepoError> {
        if !self.state.storage.discard(key).await? {
            return Ok(());
        }
        let named = *key;
        if self.state.db.read(move |c| is_known(c, &named)).await? {
            self.state.storage.restore(key).await?;
            return Ok(());
        }
        swept.objects += 1;
        swept.bytes += bytes;
        Ok(())
    }
}
