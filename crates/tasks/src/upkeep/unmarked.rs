//! Determines the owner of a storage class without a marker. The class may be new, older than markers, of another
//! database, or not mounted.

use super::references::{is_referenced, object_key};
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::state::State;
use store::db;
use store::db::storage_class::StorageClassRow;
use store::storage::{Key, Ownership};

/// Number of objects that are compared with the rows. Objects are listed in the order of their digests, so
/// the first ones are a random sample.
const MAX_OBJECTS: usize = 1000;
/// Number of rows of each kind that are compared with the objects.
const MAX_ROWS: i64 = 16;

/// Determines the owner of a class without a marker; `None` if this database becomes its owner.
pub(super) async fn determine(
    state: &State,
    class: StorageClass,
    row: Option<&StorageClassRow>,
) -> Result<Option<Ownership>, RepoError> {
    let storage = &state.storage;
    let sample: Vec<Key> =
        storage.list(class, None, MAX_OBJECTS).await?.iter().map(|object| object.key).collect();
    let objects = sample.len();
    let referenced = match class {
        StorageClass::Metrics => 0,
        _ => {
            let references = state.db.read(move |c| {
                let references = |key: &Key| is_referenced(c, key).map(usize::from);
                sample.iter().map(references).sum::<Result<usize, _>>()
            });
            references.await?
        }
    };
    if referenced * 2 < objects {
        return Ok(Some(Ownership::Unclaimed { objects, referenced }));
    }
    let location = storage.location_name(class);
    let was_marked_here = row.is_some_and(|row| row.marked && row.place == location);
    if (was_marked_here && objects == 0) || has_lost_most(state, class).await? {
        let former_location = row.and_then(|row| row.former_place(&location)).map(str::to_owned);
        return Ok(Some(Ownership::Missing { former_location }));
    }
    if objects > 0 {
        tracing::info!(
            class = class.as_str(),
            objects,
            referenced,
            "this database becomes the owner of the storage class: its rows refer to the objects there"
        );
    }
    Ok(None)
}

/// Returns whether most of the objects to which rows refer are missing.
async fn has_lost_most(state: &State, class: StorageClass) -> Result<bool, RepoError> {
    let pivot = Sha256(rand::random());
    let keys = state.db.read(move |c| {
        let mut keys = Vec::new();
        for directory in Key::directories(class) {
            if let Key::Index(_) = directory {
                keys.extend(db::rendered::newest(c, MAX_ROWS)?.into_iter().map(Key::Index));
            }
            for start in [Some(pivot), None] {
                let digests =
                    db::blob::in_directory(c, directory.directory(), Timestamp(i64::MAX), start, MAX_ROWS)?;
                keys.extend(
                    digests.into_iter().filter_map(|digest| object_key(directory.directory(), digest)),
                );
            }
        }
        Ok(keys)
    });
    let keys = keys.await?;
    let mut stored_count = 0;
    for key in &keys {
        stored_count += usize::from(state.storage.size(key).await?.is_some());
    }
    Ok(stored_count * 2 < keys.len())
}
