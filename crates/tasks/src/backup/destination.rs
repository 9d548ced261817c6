//! Checks where backups may be written: whether a folder is suitable.

use std::path::{Path, PathBuf};

use super::error::BackupError;
use base::config::backup_place::is_below;
use base::config::{BackupPlace, ClassLocation, Config, S3Location};
use base::model::kind::StorageClass;

/// Returns the folder for backups: `requested`, otherwise the first of `Server.BackupPaths`. Fails if it is
/// not below one of these, or overlaps with the server's data.
pub fn choose(config: &Config, requested: Option<&BackupPlace>) -> Result<BackupPlace, BackupError> {
    let allowed_places = &config.server.backup_paths;
    let Some(place) = requested.or(allowed_places.first()) else {
        let text = "give a directory with --to, or set Server.BackupPaths".to_owned();
        return Err(BackupError::Refused(text));
    };
    let resolved_place = resolve_place(place)?;
    // SECURITY: the credentials of the server may be valid for buckets of other owners.
    let allows_any = allowed_places.is_empty() && resolved_place.directory().is_some();
    if !allows_any && !allowed_places.iter().any(|allowed_place| contains(allowed_place, &resolved_place)) {
        let paths: Vec<String> = allowed_places.iter().map(ToString::to_string).collect();
        return Err(BackupError::Refused(match paths.is_empty() {
            true => format!("a bucket must be named in the configuration: set Server.BackupPaths = {place}"),
            false => {
                format!(
                    "{place} is not in one of the folders that Server.BackupPaths allows: {}",
                    paths.join(", ")
                )
            }
        }));
    }
    refuse_data(config, &resolved_place)?;
    Ok(resolved_place)
}

/// Refuses a folder that overlaps with the server's data.
pub fn refuse_data(config: &Config, place: &BackupPlace) -> Result<(), BackupError> {
    match data_at(config, &resolve_place(place)?) {
        None => Ok(()),
        Some(data) => Err(BackupError::Refused(format!(
            "{place} is not a place for copies: the server has its data in {data}"
        ))),
    }
}

fn contains(allowed: &BackupPlace, resolved: &BackupPlace) -> bool {
    match (allowed, resolved) {
        (BackupPlace::Directory(allowed), BackupPlace::Directory(path)) => {
            resolve(allowed).is_ok_and(|allowed| path.starts_with(allowed))
        }
        (
            BackupPlace::Bucket { bucket: allowed_bucket, prefix: allowed_prefix },
            BackupPlace::Bucket { bucket, prefix },
        ) => bucket == allowed_bucket && is_below(prefix, allowed_prefix),
        (BackupPlace::Directory(_) | BackupPlace::Bucket { .. }, _) => false,
    }
}

/// Returns the location of the server's data that overlaps with a folder; `None` if none does.
fn data_at(config: &Config, resolved: &BackupPlace) -> Option<String> {
    let classes = StorageClass::ALL.into_iter().map(|class| config.storage.location(class));
    match resolved {
        BackupPlace::Directory(path) => {
            let directories = classes.filter_map(|location| match location {
                ClassLocation::File(location) => Some(&location.location),
                ClassLocation::S3(_) => None,
            });
            let is_shared = |data: &&PathBuf| {
                resolve(data).is_ok_and(|data| path.starts_with(&data) || data.starts_with(path))
            };
            let data = directories.chain([&config.sqlite.dir]).find(is_shared);
            data.map(|data| data.display().to_string())
        }
        BackupPlace::Bucket { bucket, prefix } => {
            let is_shared = |data: &&S3Location| {
                data.bucket == *bucket
                    && data.endpoint == config.storage.backups.endpoint
                    && (is_below(&data.prefix, prefix) || is_below(prefix, &data.prefix))
            };
            let mut locations = classes.filter_map(|location| match location {
                ClassLocation::File(_) => None,
                ClassLocation::S3(location) => Some(location),
            });
            let data = locations.find(is_shared);
            data.map(|data| format!("s3://{}/{}", data.bucket, data.prefix))
        }
    }
}

fn resolve_place(place: &BackupPlace) -> Result<BackupPlace, BackupError> {
    Ok(match place {
        BackupPlace::Directory(path) => BackupPlace::Directory(resolve(path)?),
        BackupPlace::Bucket { .. } => place.clone(),
    })
}

/// Returns the path without links and `..`; its last component need not exist.
fn resolve(path: &Path) -> Result<PathBuf, BackupError> {
    match path.canonicalize() {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let refusal = || BackupError::Refused(format!("{} is not a directory", path.display()));
            let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(refusal)?;
            let parent = parent.canonicalize().map_err(BackupError::io("open", parent))?;
            Ok(parent.join(name))
        }
        Err(error) => Err(BackupError::io("open", path)(error)),
    }
}
