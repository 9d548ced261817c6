//! References from rows of the database to stored objects.

use base::model::kind::StorageClass;
use content::serve::RepoError;
use runtime::state::State;
use store::db;
use store::storage::Key;

/// All swept classes. `usage` sweeps its own data.
pub(super) const SWEPT_CLASSES: [StorageClass; 7] = [
    StorageClass::Launcher,
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
];

pub(super) fn is_referenced(c: &mut dyn db::Conn, key: &Key) -> Result<bool, db::DbError> {
    match key {
        Key::Package(..) | Key::Readme(_) => {
            Ok(db::blob::get(c, *key.digest())?.is_some_and(|blob| blob.class == key.directory()))
        }
        Key::Index(sha256) => db::rendered::is_referenced(c, *sha256),
        Key::Rules(sha256) => {
            Ok(db::upstream::get(c, db::upstream::RULES)?.is_some_and(|row| row.sha256 == *sha256))
        }
        Key::Advisories(sha256) => {
            Ok(db::upstream::advisories(c)?.iter().any(|(_, row)| row.sha256 == *sha256))
        }
        Key::BuildLog(sha256) => db::git_build::has_log(c, *sha256),
        // The rows of usage data are in another database; `usage` sweeps its own objects.
        Key::Usage(_) => Ok(true),
    }
}

/// Returns whether a row refers to the object and, for packages and READMEs, another row refers to that row.
pub(super) fn is_needed(c: &mut dyn db::Conn, key: &Key) -> Result<bool, db::DbError> {
    match key {
        Key::Package(..) | Key::Readme(_) => Ok(db::blob::references(c, *key.digest())? > 0),
        Key::Index(_) | Key::Rules(_) | Key::Advisories(_) | Key::Usage(_) | Key::BuildLog(_) => {
            is_referenced(c, key)
        }
    }
}

/// Returns the object key of a blob's row.
pub(super) fn object_key(directory: &str, sha256: base::model::digest::Sha256) -> Option<Key> {
    match StorageClass::parse(directory) {
        Some(class) => Some(Key::Package(class, sha256)),
        None => (Key::Readme(sha256).directory() == directory).then_some(Key::Readme(sha256)),
    }
}

pub(super) async fn has_no_mirror(state: &State, key: &Key) -> Result<bool, RepoError> {
    let sha256 = *key.digest();
    match key {
        Key::Package(..) => Ok(state.db.read(move |c| db::file::is_local(c, sha256)).await?),
        _ => Ok(true),
    }
}

/// Moves an object to the trash, and restores it if a row refers to it then: another server may have stored it.
pub(super) async fn move_to_trash(state: &State, key: &Key) -> Result<bool, RepoError> {
    if !state.storage.move_to_trash(key).await? {
        return Ok(false);
    }
    let object = *key;
    if state.db.read(move |c| is_referenced(c, &object)).await? {
        state.storage.restore(key).await?;
        return Ok(false);
    }
    Ok(true)
}
