//! Checks that this server uses the same storage as the other servers on its database: each server writes markers,
//! and reads the markers of the servers that are serving.

use std::time::Duration;

use super::Cluster;
use super::heartbeat::{self, SHARED_CLASSES};
use base::model::ids::Identity;
use base::model::kind::StorageClass;
use store::db::link::Link;
use store::db::{DbError, lease, node};
use store::storage::{NodeMarker, Storage};

/// Pauses before a missing marker is read again: network file systems cache directories.
const MARKER_PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Maximum age of the last heartbeat of a running server.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(12);
/// Pause before the row of a server that lacks heartbeats is read again.
const HEARTBEAT_PAUSE: Duration = Duration::from_secs(1);

/// The reason why the storage was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SharingError {
    /// The storage is not that of another server.
    #[error(
        "{subject} is not that of {other}, which uses the same database: its node marker is not in the storage of \
         {classes} ({location}); use the same storage on both: mount it, or correct Server.DataDir, FileStorage or \
         S3Storage"
    )]
    NotShared {
        /// The subject of the sentence: `DataDir` if no class has the marker, otherwise `the storage`.
        subject: String,
        other: String,
        /// The classes without its marker.
        classes: String,
        /// The location of the first of these classes.
        location: String,
    },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Writes the markers of this server and reads those of the other servers. Does nothing with SQLite.
///
/// # Errors
/// The marker of a serving server is missing in this server's storage. This server's markers are then removed.
pub async fn join(cluster: &Cluster, storage: &Storage) -> Result<(), SharingError> {
    let Some(link) = cluster.link() else { return Ok(()) };
    if let Some(predecessor) = cluster.0.predecessor {
        heartbeat::remove_markers(storage, predecessor).await;
    }
    cluster.set_storage(storage.clone(), heartbeat::write_markers(storage, cluster.0.id).await);
    // If two servers start at the same time, the later one reads the row of the earlier one.
    heartbeat::write_now(cluster).await?;
    let own_id = cluster.0.id;
    let others = link.run(move |c| {
        let now = lease::now(c)?;
        let rows = node::list(c)?;
        let own_start = rows
            .iter()
            .find(|row| row.beat.id == own_id)
            .map(|row| (row.started_at, row.beat.id.to_string()));
        Ok(rows
            .into_iter()
            .filter(|row| row.beat.id != own_id && !row.is_gone(now))
            .filter(|row| match row.beat.mode.as_str() {
                "online" | "draining" => true,
                "starting" => {
                    own_start.as_ref().is_none_or(|start| (row.started_at, row.beat.id.to_string()) < *start)
                }
                _ => false,
            })
            .collect::<Vec<_>>())
    });
    for other in others.await? {
        let classes = other
            .beat
            .classes
            .split(' ')
            .filter_map(|name| SHARED_CLASSES.into_iter().find(|class| class.as_str() == name));
        let classes: Vec<StorageClass> = classes.collect();
        let missing_classes = find_missing(storage, other.beat.id, classes.clone()).await;
        if let Some(first_missing) = missing_classes.first()
            && is_serving(&link, other.beat.id).await?
        {
            let names: Vec<&str> = missing_classes.iter().map(|class| class.as_str()).collect();
            let location = storage.location_name(*first_missing);
            heartbeat::remove_markers(storage, own_id).await;
            return Err(SharingError::NotShared {
                subject: if missing_classes == classes {
                    "DataDir".to_owned()
                } else {
                    "the storage".to_owned()
                },
                other: other.beat.name,
                classes: names.join(", "),
                location,
            });
        }
    }
    Ok(())
}

/// Returns whether a server is serving. A server without a recent heartbeat may have ended after it removed its
/// markers but not its row; the function then waits until the server has another heartbeat or is gone.
async fn is_serving(link: &Link, id: Identity) -> Result<bool, DbError> {
    loop {
        let age = link.run(move |c| {
            let now = lease::now(c)?;
            let mut rows = node::list(c)?.into_iter();
            let row = rows.find(|row| row.beat.id == id && !row.is_gone(now) && row.beat.mode != "offline");
            Ok(row.map(|row| now.since(row.beat_at)))
        });
        match age.await? {
            None => return Ok(false),
            Some(age) if age < MAX_HEARTBEAT_AGE => return Ok(true),
            Some(_) => tokio::time::sleep(HEARTBEAT_PAUSE).await,
        }
    }
}

/// Returns the classes in which the marker of another server is missing. Classes that cannot be read are omitted,
/// because other checks report them.
async fn find_missing(
    storage: &Storage,
    node: Identity,
    mut classes: Vec<StorageClass>,
) -> Vec<StorageClass> {
    let mut pauses = MARKER_PAUSES.iter();
    loop {
        let mut missing_classes = Vec::new();
        for class in classes {
            if let Ok(false) = storage.has_node_marker(NodeMarker { class, node }).await {
                missing_classes.push(class);
            }
        }
        if missing_classes.is_empty() {
            return missing_classes;
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return missing_classes,
        }
        classes = missing_classes;
    }
}

/// Removes the markers of this server when it stops using its storage.
pub async fn leave(cluster: &Cluster) {
    if let Some(storage) = cluster.take_storage() {
        heartbeat::remove_markers(&storage, cluster.0.id).await;
    }
}
