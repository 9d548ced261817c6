//! Compares the encryption key with the one that the database was written with, and completes an interrupted rotation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, EncryptionKey, KeySource, key_file};
use crate::db::{Db, DbError, encryption_key};
use crate::model::fingerprint::Fingerprint;

/// A key that is not that of the database.
#[derive(Debug, thiserror::Error)]
pub enum KeyMismatch {
    /// The key of the server is another one.
    #[error(
        "the encryption key {key} is not the key of this database ({recorded}); restore that key from a \
         backup or copy it from another server, or, if it is lost, replace it: rspm encrypt rotate --key-lost --new-key=FILE"
    )]
    Other {
        /// The key and its place.
        key: String,
        /// The key of the database.
        recorded: Fingerprint,
    },
    /// The server has no key, but the database has encrypted values.
    #[error(
        "{count} values of the database are encrypted with the key {recorded}, and there is no encryption key {}; copy it \
         from another server or restore it from a backup; {}",
        path.display(),
        key_file::steps_if_lost(path)
    )]
    Missing {
        /// Number of values.
        count: usize,
        /// The key of the database.
        recorded: Fingerprint,
        /// Where the key belongs.
        path: PathBuf,
    },
    /// An interrupted rotation cannot be completed.
    #[error(
        "a rotation of the encryption key was interrupted, and the last step fails: {source}; complete it with: mv '{}' '{}'",
        new.display(), path.display()
    )]
    Incomplete {
        /// The file that contains the new key.
        new: PathBuf,
        /// Where the new key belongs.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The database cannot be read.
    #[error("could not compare the encryption key with that of the database: {0}")]
    Db(#[from] DbError),
}

/// Compares the configured key with the key that the database records; the first configured key is recorded there.
/// Returns the configuration with the key in use, which is the new key if this call completes an interrupted rotation.
///
/// # Errors
/// The configured key is not the recorded one, or there is none and values are encrypted.
pub(in crate::daemon) async fn reconcile(db: &Db, config: Arc<Config>) -> Result<Arc<Config>, KeyMismatch> {
    let path = &config.server.encryption_key_path;
    let recorded = match (db.read(encryption_key::get).await?, &config.encryption_key) {
        (None, None) => return Ok(config),
        (None, Some(first)) => {
            let fingerprint = first.key.fingerprint();
            let recorded = db.write(move |c| encryption_key::record(c, fingerprint)).await?;
            if recorded == fingerprint {
                tracing::info!("the encryption key {first} is now that of this database");
            }
            recorded
        }
        (Some(recorded), _) => recorded,
    };
    match &config.encryption_key {
        Some(key) if key.key.fingerprint() == recorded => {
            let new = key_file::new_path(path);
            if new.exists() {
                tracing::warn!(
                    "a rotation of the encryption key was interrupted before it changed anything; {key} remains in use, run the \
                     rotation again or remove '{}'",
                    new.display()
                );
            }
            Ok(config)
        }
        other => {
            if other.as_ref().is_none_or(|key| key.source.is_file())
                && let Some(key) = complete(path, recorded)?
            {
                tracing::warn!("completed an interrupted rotation of the encryption key: {key} is in use");
                return Ok(Arc::new(Config {
                    encryption_key: Some(Arc::new(key)),
                    ..Config::clone(&config)
                }));
            }
            match other {
                Some(key) => Err(KeyMismatch::Other { key: key.to_string(), recorded }),
                None => check_missing_key(db, recorded, path).await.map(|()| config.clone()),
            }
        }
    }
}

/// Completes a rotation that was interrupted after the database was changed: moves the new key to its place and returns
/// it. `None` if there is no such rotation.
fn complete(path: &Path, recorded: Fingerprint) -> Result<Option<EncryptionKey>, KeyMismatch> {
    let new = key_file::new_path(path);
    // A file that is not the recorded key is not used.
    match key_file::read(&new) {
        Ok(Some(EncryptionKey { key, .. })) if key.fingerprint() == recorded => {
            let source = KeySource::File(path.to_owned());
            match key_file::rename(&new, path) {
                Ok(()) => Ok(Some(EncryptionKey { key, source })),
                Err(source) => Err(KeyMismatch::Incomplete { new, path: path.to_owned(), source }),
            }
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

async fn check_missing_key(db: &Db, recorded: Fingerprint, path: &Path) -> Result<(), KeyMismatch> {
    match db.read(|c| encryption_key::count(c, encryption_key::COLUMNS)).await? {
        0 => {
            tracing::warn!(
                "there is no encryption key {}, and the database belongs to the key {recorded}; copy it from another \
                 server or restore it from a backup",
                path.display()
            );
            Ok(())
        }
        count => Err(KeyMismatch::Missing { count, recorded, path: path.to_owned() }),
    }
}
