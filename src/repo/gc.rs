//! Removing what nothing refers to: bytes whose rows were never written, rows whose bytes may go, and what an
//! abandoned import left. Called at start and every night.

use std::time::{Duration, SystemTime};

use super::{Repo, RepoError};
use crate::config::StorageClass;
use crate::db;
use crate::model::time::{SECOND, Timestamp};
use crate::storage::{Key, Stored};

/// What a clean-up removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects in storage.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Releases of abandoned imports.
    pub releases: u64,
}

/// Younger bytes are left alone: their rows may still come. Longer than an upload waits to be added.
const AGE: Duration = Duration::from_secs(2 * 3600);
/// Objects looked at, rows deleted, at a time.
const PAGE: usize = 1000;

impl Repo {
    /// Removes what nothing refers to. Safe at any time; does nothing to what an upload or a sync still needs.
    pub async fn sweep(&self) -> Result<Swept, RepoError> {
        let mut swept = Swept::default();
        self.state.storage.sweep().await?;
        swept.releases = self.sweep_releases().await?;
        self.sweep_rows(&mut swept).await?;
        for class in [
            StorageClass::Packages,
            StorageClass::Binaries,
            StorageClass::Cran,
            StorageClass::Bioconductor,
            StorageClass::Pypi,
            StorageClass::Persistent,
        ] {
            self.sweep_class(class, &mut swept).await?;
        }
        if swept != Swept::default() {
            let Swept { objects, bytes, releases } = swept;
            tracing::info!(objects, bytes, releases, "removed what nothing refers to");
        }
        Ok(swept)
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

    /// Blobs whose rows nothing refers to: the row first, then the bytes.
    async fn sweep_rows(&self, swept: &mut Swept) -> Result<(), RepoError> {
        let before = Timestamp((self.state.clock)().0 - AGE.as_secs() as i64 * SECOND);
        let old = self.state.db.read(move |c| db::blob::unreferenced(c, before, PAGE as i64)).await?;
        for blob in old {
            let Some(key) = key(&blob.class, blob.sha256) else { continue };
            if self.uploads.needs(&blob.sha256) {
                continue;
            }
            // Alone: a fetch that brings these very bytes now must not rely on them.
            let _alone = self.landing.write().await;
            if self.state.db.write(move |c| db::blob::delete(c, blob.sha256)).await? {
                self.state.storage.delete(&key).await?;
                swept.objects += 1;
                swept.bytes += u64::try_from(blob.size).unwrap_or(0);
            }
        }
        Ok(())
    }

    /// Objects of a class without a row.
    async fn sweep_class(&self, class: StorageClass, swept: &mut Swept) -> Result<(), RepoError> {
        let Some(before) = SystemTime::now().checked_sub(AGE) else { return Ok(()) };
        let mut after: Option<Key> = None;
        loop {
            let page = self.state.storage.list(class, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key);
            let old = page.into_iter().filter(|object| object.modified < before);
            let old: Vec<Stored> = old.filter(|object| !self.uploads.needs(object.key.digest())).collect();
            let keys: Vec<Key> = old.iter().map(|object| object.key).collect();
            let known = self
                .state
                .db
                .read(move |c| keys.iter().map(|key| is_known(c, key)).collect::<Result<Vec<bool>, _>>());
            for (object, known) in old.iter().zip(known.await?) {
                if known {
                    continue;
                }
                let _alone = self.landing.write().await;
                let key = object.key;
                if !self.state.db.read(move |c| is_known(c, &key)).await? {
                    self.state.storage.delete(&object.key).await?;
                    swept.objects += 1;
                    swept.bytes += object.size;
                }
            }
        }
    }
}

/// Whether a row says that the object is wanted where it lies.
fn is_known(c: &mut dyn db::Conn, key: &Key) -> Result<bool, db::DbError> {
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
fn key(shelf: &str, sha256: crate::model::digest::Sha256) -> Option<Key> {
    let class = StorageClass::ALL.into_iter().find(|class| class.as_str() == shelf);
    match class {
        Some(class) => Some(Key::Package(class, sha256)),
        None => (Key::Readme(sha256).shelf() == shelf).then_some(Key::Readme(sha256)),
    }
}
