//! Finds the unreferenced objects of a class (blobs whose rows are unreferenced, and objects without a row),
//! by one listing, and moves them to the trash.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{PAGE, SweepResult, SweepRun, row_limit};
use crate::upkeep::Upkeep;
use crate::upkeep::references::{is_referenced, move_to_trash, object_key};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use content::serve::RepoError;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db;
use store::storage::{Area, Key, ListedObject};

/// Maximum number of objects without a row in one scan; the next sweep removes the others.
const MAX_OBJECTS: usize = 100_000;

#[derive(Default)]
pub(super) struct ClassScan {
    pub(super) total: u64,
    /// Number of old objects to which neither a row nor an upload refers.
    pub(super) unknown: u64,
    keys: Vec<ListedObject>,
    /// The first eight bytes of the digests of all objects, by directory, sorted.
    digests: BTreeMap<&'static str, Vec<u64>>,
}

impl ClassScan {
    /// Returns whether there are more unknown objects than the scan records.
    pub(super) fn has_more(&self) -> bool {
        self.unknown > self.keys.len() as u64
    }

    /// Returns whether the scan found the object. Digests with equal first eight bytes are treated as one object.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.digests
            .get(key.directory())
            .is_some_and(|prefixes| prefixes.binary_search(&digest_prefix(key.digest())).is_ok())
    }
}

fn digest_prefix(digest: &Sha256) -> u64 {
    digest.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(super) async fn scan(
    upkeep: &Upkeep,
    class: StorageClass,
    run: &SweepRun<'_>,
) -> Result<ClassScan, RepoError> {
    let mut scan = ClassScan::default();
    let mut pages = Pages::of(&upkeep.state, Area::Live, class).with_lease(run.lease);
    while let Some(page) = pages.next().await? {
        scan.total += page.len() as u64;
        for object in &page {
            scan.digests.entry(object.key.directory()).or_default().push(digest_prefix(object.key.digest()));
        }
        let unknown_keys = unknown(upkeep, page, run).await?;
        scan.unknown += unknown_keys.len() as u64;
        let limit = MAX_OBJECTS - scan.keys.len();
        scan.keys.extend(unknown_keys.into_iter().take(limit));
    }
    Ok(scan)
}

/// Counts the unreferenced objects of a class: those without a row, and blobs whose rows are unreferenced.
pub(super) async fn preview(
    upkeep: &Upkeep,
    class: StorageClass,
    result: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let scan = scan(upkeep, class, run).await?;
    result.objects += scan.unknown;
    result.bytes += scan.keys.iter().map(|object| object.size).sum::<u64>();
    let end = row_limit(&upkeep.state, run);
    let mut last_digest: Option<Sha256> = None;
    loop {
        run.lease.check().await?;
        let page =
            upkeep.state.db.read(move |c| db::blob::unreferenced(c, end, last_digest, PAGE as i64)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        last_digest = Some(last.sha256);
        let is_swept = |blob: &&db::blob::Blob| {
            let key = object_key(&blob.class, blob.sha256);
            key.is_some_and(|key| key.class() == class) && !upkeep.uploads.needs(&blob.sha256)
        };
        for blob in page.iter().filter(is_swept) {
            result.objects += 1;
            result.bytes += u64::try_from(blob.size).unwrap_or(0);
        }
    }
}

pub(super) async fn count_unreferenced(
    state: &State,
    class: StorageClass,
    run: &SweepRun<'_>,
) -> Result<u64, RepoError> {
    let end = row_limit(state, run);
    let directory_counts = state.db.read(move |c| db::blob::count_unreferenced(c, end)).await?;
    let class_counts = directory_counts.iter().filter(|(directory, _)| {
        object_key(directory, Sha256([0; 32])).is_some_and(|key| key.class() == class)
    });
    Ok(class_counts.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum())
}

/// Removes blobs whose rows are unreferenced: the row first, then the object.
pub(super) async fn sweep_rows(
    upkeep: &Upkeep,
    class: StorageClass,
    remaining: &mut u64,
    result: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let end = row_limit(&upkeep.state, run);
    let mut last_digest: Option<Sha256> = None;
    loop {
        run.lease.check().await?;
        let page =
            upkeep.state.db.read(move |c| db::blob::unreferenced(c, end, last_digest, PAGE as i64)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        last_digest = Some(last.sha256);
        for blob in page {
            let Some(key) = object_key(&blob.class, blob.sha256).filter(|key| key.class() == class) else {
                continue;
            };
            if upkeep.uploads.needs(&blob.sha256) {
                continue;
            }
            if *remaining == 0 {
                return Ok(());
            }
            // The lock is exclusive: a concurrent fetch of the same bytes must not rely on this object.
            let _guard = upkeep.fetches.blob_lock.write().await;
            let now = (upkeep.state.clock)();
            let delete = run.lease.write(&upkeep.state.db, move |c| {
                Ok(db::backup::held_until(c, now)?.is_none() && db::blob::delete(c, blob.sha256, end)?)
            });
            if delete.await? {
                discard(&upkeep.state, &key, u64::try_from(blob.size).unwrap_or(0), result).await?;
                *remaining -= 1;
            }
        }
    }
}

pub(super) async fn sweep_objects(
    upkeep: &Upkeep,
    scan: ClassScan,
    remaining: &mut u64,
    result: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    for page in scan.keys.chunks(PAGE) {
        run.lease.check().await?;
        for object in page {
            if *remaining == 0 {
                return Ok(());
            }
            let _guard = upkeep.fetches.blob_lock.write().await;
            let (key, now) = (object.key, (upkeep.state.clock)());
            let is_needed = upkeep.uploads.needs(key.digest())
                || upkeep
                    .state
                    .db
                    .read(move |c| Ok(db::backup::held_until(c, now)?.is_some() || is_referenced(c, &key)?))
                    .await?;
            if !is_needed {
                discard(&upkeep.state, &key, object.size, result).await?;
                *remaining -= 1;
            }
        }
    }
    Ok(())
}

/// Selects the objects of a page that are old and that neither a row nor an upload refers to.
async fn unknown(
    upkeep: &Upkeep,
    page: Vec<ListedObject>,
    run: &SweepRun<'_>,
) -> Result<Vec<ListedObject>, RepoError> {
    let Some(youngest) = SystemTime::now().checked_sub(run.options.age) else { return Ok(Vec::new()) };
    let old_objects = page.into_iter().filter(|object| object.modified < youngest);
    let old_objects: Vec<ListedObject> =
        old_objects.filter(|object| !upkeep.uploads.needs(object.key.digest())).collect();
    let keys: Vec<Key> = old_objects.iter().map(|object| object.key).collect();
    let references = upkeep.state.db.read(move |c| keys.iter().map(|key| is_referenced(c, key)).collect());
    let references: Vec<bool> = references.await?;
    Ok(old_objects
        .into_iter()
        .zip(references)
        .filter(|(_, has_reference)| !has_reference)
        .map(|(object, _)| object)
        .collect())
}

async fn discard(state: &State, key: &Key, bytes: u64, result: &mut SweepResult) -> Result<(), RepoError> {
    if move_to_trash(state, key).await? {
        result.objects += 1;
        result.bytes += bytes;
    }
    Ok(())
}

/// A cursor over the objects of a class in an area, in listing order.
pub(super) struct Pages<'a> {
    state: &'a State,
    lease: Option<&'a Lease>,
    area: Area,
    class: StorageClass,
    after: Option<Key>,
}

impl<'a> Pages<'a> {
    pub(super) fn of(state: &'a State, area: Area, class: StorageClass) -> Pages<'a> {
        Pages { state, lease: None, area, class, after: None }
    }

    pub(super) fn with_lease(self, lease: &'a Lease) -> Pages<'a> {
        Pages { lease: Some(lease), ..self }
    }

    /// Returns the next page; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, RepoError> {
        let state = self.state;
        if let Some(lease) = self.lease {
            lease.check().await?;
        }
        let page = state.storage.list_in(self.area, self.class, self.after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.key);
        Ok(Some(page))
    }
}
