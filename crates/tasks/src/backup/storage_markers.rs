//! Makes a restored database the owner of storage classes: the generation of the marker is written to the database
//! before the commit, and the marker is written after it. After an interruption between these steps, the class
//! still has no marker.

use tokio::runtime::Handle;

use super::error::BackupError;
use base::model::identity::Identity;
use base::model::storage_class::StorageClass;
use store::db::{Conn, identity, storage_class};
use store::storage::{MarkerContent, Storage};

pub(super) type NewMarker = (StorageClass, MarkerContent);

/// Records new generations of the markers of these classes. The caller commits them.
pub(super) fn prepare(
    c: &mut dyn Conn,
    storage: &Storage,
    classes: &[StorageClass],
) -> Result<Vec<NewMarker>, BackupError> {
    let identity = identity::get(c)?;
    let mut markers = Vec::new();
    for class in classes {
        let generation = Identity(rand::random());
        let row = storage_class::begin(c, class.as_str(), &storage.location_name(*class), generation)?;
        if row.newest() != Some(generation) {
            storage_class::renew(c, &row, generation)?;
        }
        let (adoption, generation) = (row.adoption, Some(generation));
        markers.push((*class, MarkerContent { identity, adoption, generation, contested: false }));
    }
    Ok(markers)
}

/// Writes the markers of the classes that still have none.
pub(super) fn write(storage: &Storage, markers: Vec<NewMarker>, runtime: &Handle) -> Result<(), BackupError> {
    for (class, content) in markers {
        runtime.block_on(storage.write_marker(class, &content, false))?;
    }
    Ok(())
}
