//! Stores an object again from a folder of backups.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::destination;
use super::error::BackupError;
use super::folder::{Folder, Part, blob_path};
use super::objects::StoredObject;
use base::config::BackupPlace;
use runtime::state::State;
use store::storage::{Key, Storage, StorageError};

#[derive(Clone)]
pub struct BackupFiles(Arc<Folder>);

impl BackupFiles {
    /// Opens a folder that `Server.BackupPaths` allows.
    pub async fn open(state: &State, place: &BackupPlace) -> Result<BackupFiles, BackupError> {
        let (config, place) = (state.config.load_full(), place.clone());
        let task = spawn_blocking(move || {
            let place = destination::choose(&config, Some(&place))?;
            Folder::open(&place, &config, &Handle::current())
        });
        let folder = task.await.unwrap_or_else(BackupError::of_task)?;
        Ok(BackupFiles(Arc::new(folder)))
    }

    /// Stores an object with the bytes of the folder; returns false if the folder lacks them. Needs no lock:
    /// a removed file is missing, and changed content has a different digest.
    pub async fn store(&self, state: &State, key: Key) -> Result<bool, BackupError> {
        let (folder, storage) = (Arc::clone(&self.0), state.storage.clone());
        let task = spawn_blocking(move || {
            let path = blob_path(key.digest());
            let Some(size) = folder.size(&path)? else { return Ok(false) };
            store(&storage, &folder, &StoredObject { key, size }, &Handle::current()).map(|()| true)
        });
        task.await.unwrap_or_else(BackupError::of_task)
    }
}

/// Stores an object with the bytes of a folder, which are compared with its digest meanwhile. Blocks.
pub(super) fn store(
    storage: &Storage,
    folder: &Folder,
    object: &StoredObject,
    runtime: &Handle,
) -> Result<(), BackupError> {
    let StoredObject { key, size } = object;
    let mut spool = runtime.block_on(storage.spool(key.class()))?;
    let part = Part { sha256: *key.digest(), size: *size };
    folder.read_verified(&blob_path(key.digest()), &part, &mut |chunk| {
        spool.write_all(chunk).map_err(|error| StorageError::io("write", spool.path(), error).into())
    })?;
    Ok(runtime.block_on(storage.replace(spool, key))?)
}
