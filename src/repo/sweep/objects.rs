//! Which objects of a class nothing refers to: blobs whose rows nothing refers to, and objects without a row. They go to
//! the trash.

use std::time::SystemTime;

use super::{PAGE, Run, Swept, is_known, key};
use crate::config::StorageClass;
use crate::db;
use crate::model::digest::Sha256;
use crate::repo::{Repo, RepoError};
use crate::storage::condition::Waiting;
use crate::storage::{Key, Stored};

impl Repo {
    /// The objects of a class, and how many of them would be removed.
    pub(super) async fn count(&self, class: StorageClass, run: &Run<'_>) -> Result<Waiting, RepoError> {
        let before = self.rows_before(run);
        let by_shelf = self.state.db.read(move |c| db::blob::count_unreferenced(c, before)).await?;
        let of_class = by_shelf
            .iter()
            .filter(|(shelf, _)| key(shelf, Sha256([0; 32])).is_some_and(|key| key.class() == class));
        let mut found =
            Waiting { objects: of_class.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum(), of: 0 };
        let mut after: Option<Key> = None;
        loop {
            run.lease.renew(&self.state.db).await?;
            let page = self.state.storage.list(class, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.key);
            found.of += page.len() as u64;
            found.objects += self.unknown(page, run).await?.len() as u64;
        }
    }

    /// Blobs whose rows nothing refers to: the row first, then the bytes.
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
                // Alone: a fetch that brings these very bytes now must not rely on them.
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

    /// Objects of a class without a row.
    pub(super) async fn sweep_objects(
        &self,
        class: StorageClass,
        left: &mut u64,
        swept: &mut Swept,
        run: &Run<'_>,
    ) -> Result<(), RepoError> {
        let mut after: Option<Key> = None;
        loop {
            run.lease.renew(&self.state.db).await?;
            let page = self.state.storage.list(class, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key);
            for object in self.unknown(page, run).await? {
                if *left == 0 {
                    return Ok(());
                }
                let _alone = self.landing.write().await;
                let key = object.key;
                if !self.state.db.read(move |c| is_known(c, &key)).await? {
                    self.discard(&key, object.size, swept).await?;
                    *left -= 1;
                }
            }
        }
    }

    /// Those of a page that are old and that neither a row nor an upload names.
    async fn unknown(&self, page: Vec<Stored>, run: &Run<'_>) -> Result<Vec<Stored>, RepoError> {
        let Some(before) = SystemTime::now().checked_sub(run.asked.age) else { return Ok(Vec::new()) };
        let old = page.into_iter().filter(|object| object.modified < before);
        let old: Vec<Stored> = old.filter(|object| !self.uploads.needs(object.key.digest())).collect();
        let keys: Vec<Key> = old.iter().map(|object| object.key).collect();
        let known = self.state.db.read(move |c| keys.iter().map(|key| is_known(c, key)).collect());
        let known: Vec<bool> = known.await?;
        Ok(old.into_iter().zip(known).filter(|(_, known)| !known).map(|(object, _)| object).collect())
    }

    /// Moves an object to the trash, and back when a row has come to name it meanwhile: another server may have stored
    /// these very bytes.
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
