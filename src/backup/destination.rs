//! Whether backups may be written to a directory.

use std::path::{Path, PathBuf};

use super::error::BackupError;
use crate::config::{ClassLocation, Config};
use crate::model::storage_class::StorageClass;

/// Returns the directory for backups: `requested`, or else the first of `Server.BackupPaths`.
///
/// # Errors
/// There is none, it is not below `Server.BackupPaths`, or it is among the server's own data.
pub(super) fn choose(config: &Config, requested: Option<&Path>) -> Result<PathBuf, BackupError> {
    let allowed = &config.server.backup_paths;
    let Some(directory) = requested.or_else(|| allowed.first().map(PathBuf::as_path)) else {
        let text = "give a directory with --to, or set Server.BackupPaths".to_owned();
        return Err(BackupError::Refused(text));
    };
    let path = resolve(directory)?;
    let contains_path = |dir: &PathBuf| resolve(dir).is_ok_and(|dir| path.starts_with(dir));
    if !allowed.is_empty() && !allowed.iter().any(contains_path) {
        let paths: Vec<String> = allowed.iter().map(|path| path.display().to_string()).collect();
        return Err(BackupError::Refused(format!(
            "{} is not in a directory that Server.BackupPaths allows: {}",
            directory.display(),
            paths.join(", ")
        )));
    }
    if let Some(data) = data_directories(config)
        .into_iter()
        .find(|data| resolve(data).is_ok_and(|data| path.starts_with(&data) || data.starts_with(&path)))
    {
        return Err(BackupError::Refused(format!(
            "backups cannot be in {}: the server has its data in {}",
            directory.display(),
            data.display()
        )));
    }
    Ok(path)
}

/// The directories of the storage classes on disk, and that of SQLite.
fn data_directories(config: &Config) -> Vec<PathBuf> {
    let classes = StorageClass::ALL.into_iter().filter_map(|class| match config.storage.location(class) {
        ClassLocation::File(location) => Some(location.location.clone()),
        ClassLocation::S3(_) => None,
    });
    classes.chain([config.sqlite.dir.clone()]).collect()
}

/// The path without links and `..`; its last component need not exist.
fn resolve(path: &Path) -> Result<PathBuf, BackupError> {
    let refusal = || BackupError::Refused(format!("{} is not an absolute path", path.display()));
    if !path.is_absolute() {
        return Err(refusal());
    }
    match path.canonicalize() {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(refusal)?;
            let parent = parent.canonicalize().map_err(BackupError::io("open", parent))?;
            Ok(parent.join(name))
        }
        Err(error) => Err(BackupError::io("open", path)(error)),
    }
}
