//! Replaces the key: re-encrypts the values of the database in one transaction.
//!
//! The new key is stored as `….new` before the transaction and renamed after it. If the process is killed in between,
//! the next start completes the rotation if the database has the fingerprint of the new key ([`super::compare`]).

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use super::compare::{self, KeyMismatch};
use super::error::KeyCommandError;
use crate::daemon::service_user::ServiceUser;
use crate::daemon::{configuration, sockets};
use base::config::{EncryptionKey, Loaded, ValueForm, key_file};
use base::encryption::value;
use base::model::time::Timestamp;
use store::db::author::Author;
use store::db::{Db, DbError, audit, encryption_key, node};

/// Replaces the key by that in `new_key_file`. With `key_lost`, values encrypted with the lost key are deleted.
pub(super) fn run(file: &Path, new_key_file: &Path, key_lost: bool) -> Result<(), KeyCommandError> {
    let not_found = || std::io::Error::from(std::io::ErrorKind::NotFound);
    // Read with the rights of the caller: the service's user may be unable to read this file.
    let new_key = key_file::read(new_key_file)?
        .ok_or_else(not_found)
        .map_err(KeyCommandError::file(format!("read {}", new_key_file.display())))?;
    ServiceUser::find(file).run(|| {
        let loaded = configuration::load(file)?;
        if UnixStream::connect(sockets::admin_path(&loaded.config)).is_ok() {
            return Err(KeyCommandError::RunningServer);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(KeyCommandError::Runtime)?;
        let db = Db::open(&loaded.config)?;
        let report = runtime.block_on(rotate(&db, file, loaded, new_key, key_lost));
        db.close();
        // A failed write cannot be reported: the rotation is done.
        let _ = std::io::stdout().write_all(report?.as_bytes());
        Ok(())
    })?
}

async fn rotate(
    db: &Db,
    file: &Path,
    mut loaded: Loaded,
    new_key: EncryptionKey,
    key_lost: bool,
) -> Result<String, KeyCommandError> {
    // Running servers have the old key in memory, and would encrypt with it.
    let serving = db.read(node::serving_names).await?;
    if !serving.is_empty() {
        return Err(KeyCommandError::OtherServers(serving));
    }
    if !key_lost {
        compare::reconcile(db, Arc::clone(&loaded.config)).await?;
        // An interrupted rotation may have been completed.
        loaded = configuration::load(file)?;
    }
    let config = &loaded.config;
    let path = &config.server.encryption_key_path;
    let current = config.encryption_key.clone();
    let fingerprint = new_key.key.fingerprint();
    let places = |form: ValueForm| {
        loaded
            .settings
            .encrypted_values()
            .filter(move |(_, value_form)| *value_form == form)
            .map(|(place, _)| place)
            .collect()
    };
    let (with_current_key, with_old_key): (Vec<String>, Vec<String>) =
        (places(ValueForm::Decrypted), places(ValueForm::DecryptedWithOld));
    if !with_old_key.is_empty() {
        return Err(KeyCommandError::ValuesWithOldKey(with_old_key));
    }
    let is_current = current.as_ref().is_some_and(|current| current.key.fingerprint() == fingerprint);
    match &current {
        None if !key_lost => return Err(KeyCommandError::NoKey(path.display().to_string())),
        Some(_) if is_current && !key_lost => return Err(KeyCommandError::SameKey(new_key.to_string())),
        Some(_) | None => {}
    }
    let is_in_file = current.as_ref().is_none_or(|current| current.source.is_file());
    if !is_current {
        store(path, current.as_deref(), is_in_file.then_some(&new_key))?;
    }
    let count = replace_in_database(db, current.clone(), Arc::new(new_key), key_lost).await?;
    let mut report = format!("The encryption key of the database is now {fingerprint}.\n");
    if !is_current && is_in_file {
        let new_path = key_file::new_path(path);
        key_file::rename(&new_path, path).map_err(|source| {
            KeyCommandError::Mismatch(KeyMismatch::IncompleteRotation {
                new_path,
                path: path.clone(),
                source,
            })
        })?;
        report += &format!("It is in {}.\n", path.display());
    } else if let Some(current) = current.filter(|_| !is_in_file) {
        report += &format!("Replace {} with it before you start the server.\n", current.source);
    }
    let action = if key_lost { "deleted" } else { "re-encrypted" };
    report += &format!("Values in the database that were {action}: {count}\n");
    if !is_current && !with_current_key.is_empty() {
        report += &format!(
            "Replace these values of the configuration by the output of rspm encrypt; until then they are decrypted \
             with {}:\n",
            key_file::old_path(path).display()
        );
        with_current_key.iter().for_each(|place| report += &format!("  {place}\n"));
    }
    Ok(report)
}

/// Stores the current key as `….old`, because values of the configuration need it, and the new key as `….new`.
fn store(
    path: &Path,
    current: Option<&EncryptionKey>,
    new_key: Option<&EncryptionKey>,
) -> Result<(), KeyCommandError> {
    for (path, key) in [(key_file::old_path(path), current), (key_file::new_path(path), new_key)] {
        if let Some(key) = key {
            let file_error = KeyCommandError::file(format!("write {}", path.display()));
            key_file::replace(&path, &key.key).map_err(file_error)?;
        }
    }
    Ok(())
}

async fn replace_in_database(
    db: &Db,
    current: Option<Arc<EncryptionKey>>,
    new_key: Arc<EncryptionKey>,
    key_lost: bool,
) -> Result<usize, KeyCommandError> {
    let (fingerprint, action) =
        (new_key.key.fingerprint(), if key_lost { "deleted" } else { "re-encrypted" });
    let replacement = db.write(move |c| {
        let encrypt = |text: &str| {
            let Some(current) = current.as_ref().filter(|_| !key_lost) else { return Ok(None) };
            let undecryptable = || DbError::refuse(KeyCommandError::UndecryptableValue(current.to_string()));
            let plain = value::decrypt(&current.key, text).ok_or_else(undecryptable)?;
            key_file::encrypt(&new_key.key, &plain).map(Some).map_err(DbError::refuse)
        };
        let count = encryption_key::replace(c, encryption_key::COLUMNS, fingerprint, &encrypt)?;
        let author = Author::job("rspm encrypt rotate", Timestamp(jiff::Timestamp::now().as_microsecond()));
        let detail = format!("new key {fingerprint}, {count} values {action}");
        audit::record_by(c, &author, "rotate encryption key", "server", "", audit::SUCCESS, &detail)?;
        Ok(count)
    });
    replacement.await.map_err(KeyCommandError::from)
}
