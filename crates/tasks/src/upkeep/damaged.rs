//! Finds the damaged objects that were moved to the directory `damaged` and have not been stored again.

use std::collections::BTreeSet;

use super::references::{SWEPT_CLASSES, is_referenced};
use content::serve::RepoError;
use runtime::state::State;
use store::storage::Area;

/// The maximum number of damaged objects counted per class.
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
