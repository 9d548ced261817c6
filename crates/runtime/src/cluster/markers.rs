//! The markers of servers in storage: their classes, writing and removal.

use base::model::identity::Identity;
use base::model::storage_class::StorageClass;
use store::storage::{NodeMarker, Storage};

/// The classes that all servers must share. The objects of the other classes can be generated again.
pub(super) const SHARED_CLASSES: [StorageClass; 7] = [
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
    StorageClass::Metrics,
];

/// Writes the markers of a server; returns the names of the classes that have them, separated by spaces.
pub(super) async fn write(storage: &Storage, node: Identity) -> String {
    let mut marked_classes = Vec::new();
    for class in SHARED_CLASSES {
        match storage.write_node_marker(NodeMarker { class, node }).await {
            Ok(()) => marked_classes.push(class.as_str()),
            // The class is not in the row's list, so other servers do not check this marker.
            Err(error) => {
                tracing::warn!(class = class.as_str(), %error, "could not write the node marker of this server")
            }
        }
    }
    marked_classes.join(" ")
}

/// Removes the markers of a server. Errors are ignored: a marker without a row has no effect.
pub(super) async fn remove(storage: &Storage, node: Identity) {
    for class in SHARED_CLASSES {
        let _ = storage.remove_node_marker(NodeMarker { class, node }).await;
    }
}
