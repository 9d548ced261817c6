//! Storage classes that do not belong to the configured database, found without creating or changing anything.

use crate::config::{Config, Place, StorageClass};
use crate::db::{AtRest, Db};
use crate::storage::{Marker, Storage, StorageError};

/// What is wrong with the owner of each class. A database or a place that cannot be used has a finding of its own.
pub(super) fn findings(config: &Config) -> Vec<(StorageClass, String)> {
    let Ok(database) = Db::at_rest(config) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let Ok(storage) = Storage::unprepared(&config.storage).await else { return Vec::new() };
        let mut findings = Vec::new();
        for class in StorageClass::ALL {
            match config.storage.place(class) {
                Place::S3(place) if place.skip_validation => continue,
                Place::S3(_) | Place::File(_) => {}
            }
            if let Ok(Some(finding)) = finding(&storage, class, database).await {
                findings.push((class, finding));
            }
        }
        findings
    })
}

async fn finding(
    storage: &Storage,
    class: StorageClass,
    database: AtRest,
) -> Result<Option<String>, StorageError> {
    let name = class.as_str();
    let what = match storage.marker(class).await? {
        Marker::Of(owner) if database.identity == Some(owner) => return Ok(None),
        Marker::Of(owner) => format!("belongs to another database (identity {owner})"),
        Marker::Unreadable => "has a marker that names no database".to_owned(),
        // A schema of before there were identities: the next start compares rows and objects.
        Marker::None if database.level > 0 && database.identity.is_none() => return Ok(None),
        Marker::None if storage.list(class, None, 1).await?.is_empty() => return Ok(None),
        Marker::None => "has objects and no owner".to_owned(),
    };
    Ok(Some(format!(
        "storage class '{name}' {what}: nothing will be removed from it; put the database back that belongs to it, or make \
         this one the owner with: rspm storage adopt --class={name}"
    )))
}
