//! Compares the encryption key with the key that the database records, and completes an interrupted rotation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::config::{Config, EncryptionKey, KeySource, key_file};
use base::model::digest::Fingerprint;
use store::db::{Db, DbError, encryption_key};

#[derive(Debug, thiserror::Error)]
pub enum KeyMismatch {
    #[error(
        "the encryption key {key} is not the key of this database ({database_key}); restore that key from a \
         backup or copy it from another server, or, if it is lost, replace it: rspm encrypt rotate --key-lost --new-key=FILE"
    )]
    OtherKey {
        /// The key and its source.
        key: String,
        database_key: Fingerprint,
    },
    #[error(
        "{count} values of the database are encrypted with the key {database_key}, but there is no encryption key at {}; copy it \
         from another server or restore it from a backup; {}",
        path.display(),
        key_file::steps_if_lost(path)
    )]
    MissingKey { count: usize, database_key: Fingerprint, path: PathBuf },
    #[error(
        "a rotation of the encryption key was interrupted, and the last step fails: {source}; complete it with: mv '{}' '{}'",
        new_path.display(), path.display()
    )]
    IncompleteRotation { new_path: PathBuf, path: PathBuf, source: std::io::Error },
    #[error("could not compare the encryption key with that of the database: {0}")]
    Db(#[from] DbError),
}

/// Compares the configured key with the one that the database records; the first configured key is recorded
/// there. Returns the configuration with the key in use, which is the new key if this call completes an
/// interrupted rotation. Fails if the keys differ, or if values are encrypted and no key is configured.
pub(in crate::daemon) async fn reconcile(db: &Db, config: Arc<Config>) -> Result<Arc<Config>, KeyMismatch> {
    let path = &config.server.encryption_key_path;
    let database_key = match (db.read(encryption_key::get).await?, &config.encryption_key) {
        (None, None) => return Ok(config),
        (None, Some(first)) => {
            let fingerprint = first.key.fingerprint();
            let database_key = db.write(move |c| encryption_key::record(c, fingerprint)).await?;
            if database_key == fingerprint {
                tracing::info!("recorded the encryption key {first} in the database");
            }
            database_key
        }
        (Some(database_key), _) => database_key,
    };
    match &config.encryption_key {
        Some(key) if key.key.fingerprint() == database_key => {
            let new_path = key_file::new_path(path);
            if new_path.exists() {
                tracing::warn!(
                    "a rotation of the encryption key was interrupted before it changed the database; {key} remains in use; run \
                     the rotation again or remove '{}'",
                    new_path.display()
                );
            }
            Ok(config)
        }
        configured_key => {
            if configured_key.as_ref().is_none_or(|key| key.source.is_file())
                && let Some(key) = complete(path, database_key)?
            {
                tracing::warn!("completed an interrupted rotation of the encryption key: {key} is in use");
                return Ok(Arc::new(Config {
                    encryption_key: Some(Arc::new(key)),
                    ..Config::clone(&config)
                }));
            }
            match configured_key {
                Some(key) => Err(KeyMismatch::OtherKey { key: key.to_string(), database_key }),
                None => check_missing_key(db, database_key, path).await.map(|()| config.clone()),
            }
        }
    }
}

/// Completes a rotation that was interrupted after the database was changed: moves the new key to its place.
fn complete(path: &Path, database_key: Fingerprint) -> Result<Option<EncryptionKey>, KeyMismatch> {
    let new_path = key_file::new_path(path);
    // A file that is missing, cannot be read or contains another key is not used.
    match key_file::read(&new_path) {
        Ok(Some(EncryptionKey { key, .. })) if key.fingerprint() == database_key => {
            let source = KeySource::File(path.to_owned());
            match key_file::rename(&new_path, path) {
                Ok(()) => Ok(Some(EncryptionKey { key, source })),
                Err(source) => {
                    Err(KeyMismatch::IncompleteRotation { new_path, path: path.to_owned(), source })
                }
            }
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

async fn check_missing_key(db: &Db, database_key: Fingerprint, path: &Path) -> Result<(), KeyMismatch> {
    match db.read(|c| encryption_key::count(c, encryption_key::COLUMNS)).await? {
        0 => {
            tracing::warn!(
                "there is no encryption key at {}, but the database uses the key {database_key}; copy it from another \
                 server or restore it from a backup",
                path.display()
            );
            Ok(())
        }
        count => Err(KeyMismatch::MissingKey { count, database_key, path: path.to_owned() }),
    }
}
