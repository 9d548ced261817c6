//! Objects that were not found in storage, and those that were moved to the directory `damaged`.

use std::collections::BTreeSet;

use super::Upkeep;
use super::references::{SWEPT_CLASSES, has_no_mirror, is_needed, is_referenced};
use content::serve::RepoError;
use runtime::state::State;
use store::storage::{Area, Key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingObject {
    /// Not missing: it is in storage now, no row needs it, or it is being uploaded again.
    NotMissing,
    /// The object was in the directory `damaged` with the right bytes, and was restored from there.
    Undamaged,
    /// The object is damaged and was moved to the directory `damaged`.
    Damaged,
    OnMirror,
    Lost,
}

/// Examines an object that was not found; restores it if it is in the trash, or undamaged in the directory `damaged`.
pub(super) async fn examine(upkeep: &Upkeep, key: &Key) -> Result<MissingObject, RepoError> {
    let (storage, object) = (&upkeep.state.storage, *key);
    if upkeep.uploads.needs(key.digest()) {
        return Ok(MissingObject::NotMissing);
    }
    // The row is read before the object is searched: an object is stored before the row that refers to it is written.
    if !upkeep.state.db.read(move |c| is_needed(c, &object)).await? || storage.size(key).await?.is_some() {
        return Ok(MissingObject::NotMissing);
    }
    if storage.restore(key).await? {
        tracing::warn!(object = %key, "restored an object from the trash: a row refers to it");
        return Ok(MissingObject::NotMissing);
    }
    if storage.restore_undamaged(key).await? {
        upkeep.fetches.integrity.remove(key);
        tracing::warn!(object = %key, "restored an object from the directory 'damaged': its bytes there have its digest");
        return Ok(MissingObject::Undamaged);
    }
    if storage.is_damaged(key) {
        return Ok(MissingObject::Damaged);
    }
    Ok(if has_no_mirror(&upkeep.state, key).await? { MissingObject::Lost } else { MissingObject::OnMirror })
}

const MAX_OBJECTS: usize = 10_000;

/// Records the damaged objects that a row refers to and that were not stored again.
pub(super) async fn record_missing(state: &State) -> Result<(), RepoError> {
    let storage = &state.storage;
    let scan = storage.begin_scan();
    let mut keys = BTreeSet::new();
    for class in SWEPT_CLASSES {
        for object in storage.list_in(Area::Damaged, class, None, MAX_OBJECTS).await? {
            let key = object.key;
            let has_row = state.db.read(move |c| is_referenced(c, &key)).await?;
            if has_row && storage.size(&key).await?.is_none() {
                keys.insert(key);
            }
        }
    }
    scan.set_damaged(keys);
    Ok(())
}
