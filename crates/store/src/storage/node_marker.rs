//! Markers of the servers that use a class: an object for each server, by which the other servers detect whether they
//! use the same storage. Markers are in a separate directory, which no listing of objects contains.

use super::{Backend, Storage, StorageError, blocking};
use base::model::identity::Identity;
use base::model::storage_class::StorageClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMarker {
    pub class: StorageClass,
    pub node: Identity,
}

impl NodeMarker {
    pub(super) const DIRECTORY: &'static str = "nodes";

    /// Returns the path below the class's location: `nodes/cran/3f2a…`. Classes may share a location.
    pub fn path(self) -> String {
        format!("{}/{}/{}", NodeMarker::DIRECTORY, self.class.as_str(), self.node)
    }
}

impl Storage {
    /// Writes the marker of a server.
    ///
    /// # Errors
    /// The class cannot be written.
    pub async fn write_node_marker(&self, marker: NodeMarker) -> Result<(), StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.write_empty(&marker.path())).await,
            Backend::S3(s3) => s3.write_empty(&marker.path()).await,
        }
    }

    /// Returns whether the marker of a server is visible. Queries the backend.
    ///
    /// # Errors
    /// The class cannot be read.
    pub async fn has_node_marker(&self, marker: NodeMarker) -> Result<bool, StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.has(&marker.path())).await,
            Backend::S3(s3) => s3.has(&marker.path()).await,
        }
    }

    /// Removes the marker of a server; a missing one is not an error.
    ///
    /// # Errors
    /// The class cannot be written.
    pub async fn remove_node_marker(&self, marker: NodeMarker) -> Result<(), StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.delete_path(&marker.path())).await,
            Backend::S3(s3) => s3.delete_path(&marker.path()).await,
        }
    }
}
