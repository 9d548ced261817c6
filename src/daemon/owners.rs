//! Finds storage classes that do not belong to the configured database; creates and changes nothing.

use base::config::{ClassLocation, Config};
use base::model::kind::StorageClass;
use store::db::{DatabaseState, Db};
use store::storage::condition::move_remedy;
use store::storage::{Key, Marker, MarkerKey, Storage, StorageError};
use tasks::upkeep::ownership::{self, MarkerComparison};

/// Findings about the owner of each class. Inaccessible databases and locations are reported by other checks.
pub(super) fn findings(config: &Config) -> Vec<(StorageClass, String)> {
    let Ok(database) = Db::database_state(config) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let Ok(storage) = Storage::open_read_only(&config.storage).await else { return Vec::new() };
        let mut findings = Vec::new();
        for class in StorageClass::ALL {
            match config.storage.location(class) {
                ClassLocation::S3(location) if location.skip_validation => continue,
                ClassLocation::S3(_) | ClassLocation::File(_) => {}
            }
            match finding(&storage, class, config, &database).await {
                Ok(Some(finding)) => findings.push((class, finding)),
                Err(error) if is_marker_error(&error, class) => {
                    let name = class.as_str();
                    findings.push((
                        class,
                        format!("storage class '{name}' has no readable owner marker: {error}"),
                    ));
                }
                // Inaccessible locations are reported by another check.
                Ok(None) | Err(_) => {}
            }
        }
        findings
    })
}

/// Returns whether the owner marker of a class exists and cannot be read, except for missing permissions.
fn is_marker_error(error: &StorageError, class: StorageClass) -> bool {
    match error {
        StorageError::Io { path, source, .. } => {
            use std::io::ErrorKind::{NotADirectory, PermissionDenied};
            path.ends_with(MarkerKey(class).path())
                && !matches!(source.kind(), PermissionDenied | NotADirectory)
        }
        _ => false,
    }
}

async fn finding(
    storage: &Storage,
    class: StorageClass,
    config: &Config,
    database: &DatabaseState,
) -> Result<Option<String>, StorageError> {
    let name = class.as_str();
    let compare = |database: &DatabaseState, marker: Marker| {
        let row = database.classes.iter().find(|row| row.class == name);
        match database.identity {
            Some(identity) => ownership::compare(marker, identity, row),
            None => match marker {
                Marker::None => MarkerComparison::Unmarked,
                Marker::Readable(content) => MarkerComparison::Foreign(content.identity),
                Marker::Unreadable => MarkerComparison::Unreadable,
            },
        }
    };
    let mut comparison = compare(database, storage.marker(class).await?);
    if matches!(comparison, MarkerComparison::Unrecognized(_)) {
        // A running server writes the row first: if the marker is newer than the row that was read, the row exists now.
        let config = config.clone();
        let database = tokio::task::spawn_blocking(move || Db::database_state(&config)).await;
        if let Ok(Ok(database)) = database {
            comparison = compare(&database, storage.marker(class).await?);
        }
    }
    let (problem, consequence) = match comparison {
        MarkerComparison::Own { .. } => return Ok(None),
        MarkerComparison::Foreign(owner) => (
            format!("belongs to another database (identity {owner})"),
            "nothing will be removed from it or stored in it; restore the database that belongs to it",
        ),
        MarkerComparison::Contested | MarkerComparison::Unrecognized(_) => (
            "was used by another copy of this database, or by this one before it was restored from a backup"
                .to_owned(),
            "nothing will be removed from it; stop the other server if there is one",
        ),
        MarkerComparison::Unreadable => (
            "has an owner marker that names no database".to_owned(),
            "nothing will be removed from it; restore the database that belongs to it",
        ),
        MarkerComparison::Unmarked => match unmarked_finding(storage, class, database).await? {
            None => return Ok(None),
            Some(finding) => finding,
        },
    };
    Ok(Some(format!(
        "storage class '{name}' {problem}: {consequence}, or make this one the owner with: rspm storage adopt --class={name}"
    )))
}

/// The problem of a class without a marker, and its consequence; `None` if the next start can mark the class.
async fn unmarked_finding(
    storage: &Storage,
    class: StorageClass,
    database: &DatabaseState,
) -> Result<Option<(String, &'static str)>, StorageError> {
    let is_empty = storage.list(class, None, 1).await?.is_empty();
    let row = database.classes.iter().find(|row| row.class == class.as_str());
    let location = storage.location_name(class);
    let has_marker_row = row.is_some_and(|row| row.marked && row.place == location);
    let has_rows = Key::directories(class)
        .iter()
        .any(|key| database.directories.iter().any(|directory| directory == key.directory()));
    Ok(match is_empty {
        true if has_marker_row || has_rows => Some((
            match row.and_then(|row| row.former_place(&location)) {
                Some(place) => format!(
                    "has neither its owner marker nor the objects that the database lists; {}",
                    move_remedy(class.as_str(), place)
                ),
                None => "has neither its owner marker nor the objects that the database lists".to_owned(),
            },
            "it may not be mounted, and nothing will be stored in it; mount it",
        )),
        true => None,
        // The schema predates identities: the next start compares rows and objects.
        false if database.level > 0 && database.identity.is_none() => None,
        false => Some((
            "has objects and no owner".to_owned(),
            "nothing will be removed from it or stored in it; restore the database that belongs to it",
        )),
    })
}
