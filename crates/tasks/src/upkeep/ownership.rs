//! Determines the owner of each storage class, by comparing its marker with the database.
//!
//! The identity distinguishes databases, the generation copies of one database: it is renewed at each start and before
//! each sweep, in the database first and in the marker second. A marker with a generation that the database lacks was
//! written by a copy of the database, or by the database before it was restored from a backup.

use std::time::Duration;

use futures_util::future::join_all;

use super::references::{is_referenced, object_key};
use super::{Upkeep, missing};
use base::model::digest::Sha256;
use base::model::ids::Identity;
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::state::State;
use store::db;
use store::db::storage_class::StorageClassRow;
use store::storage::{Key, Marker, MarkerContent, Ownership, condition};

const COMPARE_INTERVAL: Duration = Duration::from_secs(3600);
const WARNED_INTERVAL: Duration = Duration::from_secs(600);
/// Maximum number of reads of a marker that does not match: another server of this database may be writing it.
const MAX_READS: usize = 3;
const READ_PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerComparison {
    Unmarked,
    Own {
        /// Whether it is the newest marker; else its write was interrupted, or the class was restored from a backup.
        is_newest: bool,
    },
    /// The marker names another database, or an adoption that is not in this database.
    Foreign(Identity),
    /// The marker states that two databases with one identity use the class.
    Contested,
    /// The marker names this database, but this database did not write it.
    Unrecognized(MarkerContent),
    Unreadable,
}

pub fn compare(marker: Marker, identity: Identity, row: Option<&StorageClassRow>) -> MarkerComparison {
    let content = match marker {
        Marker::None => return MarkerComparison::Unmarked,
        Marker::Unreadable => return MarkerComparison::Unreadable,
        Marker::Readable(content) => content,
    };
    let is_known = row.map_or(content.generation.is_none(), |row| row.has_written(content.generation));
    if content.identity != identity || content.adoption != row.and_then(|row| row.adoption) {
        MarkerComparison::Foreign(content.identity)
    } else if content.contested {
        MarkerComparison::Contested
    } else if is_known {
        MarkerComparison::Own { is_newest: row.is_none_or(|row| row.newest() == content.generation) }
    } else {
        MarkerComparison::Unrecognized(content)
    }
}

/// Compares every class with the database and records the result. New classes are marked for this database,
/// and classes older than markers, too, if rows refer to at least half of their objects.
pub async fn claim(upkeep: &Upkeep) {
    let _marker_guard = upkeep.marker_lock.lock().await;
    let identity = upkeep.state.db.read(db::identity::get).await.map_err(RepoError::from);
    join_all(StorageClass::ALL.map(|class| {
        let identity = identity.as_ref().map_err(ToString::to_string).copied();
        async move {
            let ownership = match identity {
                Ok(identity) => {
                    determine(&upkeep.state, class, identity).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error),
            };
            record(&upkeep.state, class, ownership.unwrap_or_else(Ownership::Unknown));
        }
    }))
    .await;
    if let Ok(identity) = identity {
        claim_metrics(&upkeep.state, identity).await;
    }
    if let Err(error) = missing::record_missing(&upkeep.state).await {
        tracing::warn!(%error, "could not list the damaged objects");
    }
}

/// Compares every class at the start and then regularly, until the task is dropped.
pub async fn run(upkeep: &Upkeep) {
    loop {
        claim(upkeep).await;
        let mut elapsed = Duration::ZERO;
        while elapsed < COMPARE_INTERVAL {
            tokio::time::sleep(WARNED_INTERVAL).await;
            elapsed += WARNED_INTERVAL;
            if !upkeep.state.storage.condition().warnings().is_empty() {
                break;
            }
        }
    }
}

/// Compares every class whenever the storage requests it: after its directory was unmounted or mounted again.
pub async fn run_comparisons(upkeep: &Upkeep) {
    let storage = &upkeep.state.storage;
    loop {
        storage.wait_for_comparison_request().await;
        claim(upkeep).await;
        storage.end_comparison();
    }
}

/// Makes this database the owner of classes, regardless of their markers; returns the classes that had another owner.
pub async fn adopt(upkeep: &Upkeep, classes: &[StorageClass]) -> Result<Vec<StorageClass>, RepoError> {
    let _trash_guard = upkeep.trash_lock.lock().await;
    let _marker_guard = upkeep.marker_lock.lock().await;
    let identity = upkeep.state.db.read(db::identity::get).await?;
    let mut changed_classes = Vec::new();
    for class in classes.iter().copied() {
        if !matches!(compare_marker(&upkeep.state, class, identity).await?, (MarkerComparison::Own { .. }, _))
        {
            let (adoption, generation) = (Identity(rand::random()), Identity(rand::random()));
            let location = upkeep.state.storage.location_name(class);
            let update = upkeep.state.db.write(move |c| {
                db::audit::record(c, "adopt storage", "storage class", class.as_str(), &location)?;
                db::storage_class::adopt(c, class.as_str(), &location, adoption, generation)
            });
            update.await?;
            let adoption = Some(adoption);
            let content =
                MarkerContent { identity, adoption, generation: Some(generation), contested: false };
            write_marker(&upkeep.state, class, &content, true).await?;
            tracing::info!(class = class.as_str(), "this database is now the owner of the storage class");
            changed_classes.push(class);
        }
        upkeep.state.storage.set_ownership(class, Ownership::Own);
    }
    Ok(changed_classes)
}

/// Compares every class again, and renews the markers of this database, so that its running copies detect this server.
pub(super) async fn renew_markers(upkeep: &Upkeep) {
    claim(upkeep).await;
    let _marker_guard = upkeep.marker_lock.lock().await;
    for class in StorageClass::ALL.into_iter().filter(|class| upkeep.state.storage.is_own(*class)) {
        if let Err(error) = renew(&upkeep.state, class).await {
            record(&upkeep.state, class, Ownership::Unknown(error.to_string()));
        }
    }
}

async fn renew(state: &State, class: StorageClass) -> Result<(), RepoError> {
    let identity = state.db.read(db::identity::get).await?;
    let (MarkerComparison::Own { is_newest: true }, Some(row)) =
        compare_marker(state, class, identity).await?
    else {
        return Ok(());
    };
    let (generation, adoption) = (Identity(rand::random()), row.adoption);
    let renewal = state.db.write(move |c| db::storage_class::renew(c, &row, generation));
    if renewal.await? {
        let content = MarkerContent { identity, adoption, generation: Some(generation), contested: false };
        state.storage.write_marker(class, &content, true).await?;
    }
    Ok(())
}

/// Compares the marker of a class with its row; if they differ again, because other servers write the row first.
async fn compare_marker(
    state: &State,
    class: StorageClass,
    identity: Identity,
) -> Result<(MarkerComparison, Option<StorageClassRow>), RepoError> {
    let mut read_count = 0;
    loop {
        let marker = state.storage.marker(class).await?;
        let row = state.db.read(move |c| db::storage_class::get(c, class.as_str())).await?;
        let comparison = compare(marker, identity, row.as_ref());
        read_count += 1;
        match comparison {
            MarkerComparison::Unrecognized(_) | MarkerComparison::Foreign(_) if read_count < MAX_READS => {
                tokio::time::sleep(READ_PAUSE).await;
            }
            comparison => return Ok((comparison, row)),
        }
    }
}

async fn determine(state: &State, class: StorageClass, identity: Identity) -> Result<Ownership, RepoError> {
    let (comparison, row) = compare_marker(state, class, identity).await?;
    match comparison {
        MarkerComparison::Unmarked => match determine_unmarked(state, class, row.as_ref()).await? {
            Some(owner) => Ok(owner),
            None => mark(state, class, identity, false).await,
        },
        MarkerComparison::Foreign(owner) => Ok(Ownership::Foreign(owner)),
        MarkerComparison::Unreadable => Ok(Ownership::Unreadable),
        MarkerComparison::Contested => Ok(Ownership::Contested),
        MarkerComparison::Unrecognized(mark) => {
            // It stops the other database, too, which has found its own generation until now.
            let contested = MarkerContent { contested: true, ..mark };
            if let Err(error) = state.storage.write_marker(class, &contested, true).await {
                tracing::warn!(class = class.as_str(), %error, "could not mark the storage class as contested");
            }
            Ok(Ownership::Contested)
        }
        MarkerComparison::Own { is_newest } => {
            let location = state.storage.location_name(class);
            match row {
                Some(row) if is_newest && row.marked && row.place == location => Ok(Ownership::Own),
                _ => mark(state, class, identity, true).await,
            }
        }
    }
}

/// Writes the marker of a class that belongs to this database; `replaces`: whether an existing marker is replaced.
pub(super) async fn mark(
    state: &State,
    class: StorageClass,
    identity: Identity,
    replaces: bool,
) -> Result<Ownership, RepoError> {
    let (location, new_generation) = (state.storage.location_name(class), Identity(rand::random()));
    let update =
        state.db.write(move |c| db::storage_class::begin(c, class.as_str(), &location, new_generation));
    let row = update.await?;
    let (adoption, generation) = (row.adoption, row.newest());
    let content = MarkerContent { identity, adoption, generation, contested: false };
    if write_marker(state, class, &content, replaces).await? == Marker::Readable(content) {
        return Ok(Ownership::Own);
    }
    // Another server of this or another database has meanwhile written the marker.
    Ok(match compare_marker(state, class, identity).await?.0 {
        MarkerComparison::Own { .. } => Ownership::Own,
        MarkerComparison::Foreign(owner) => Ownership::Foreign(owner),
        MarkerComparison::Unreadable => Ownership::Unreadable,
        MarkerComparison::Contested | MarkerComparison::Unrecognized(_) => Ownership::Contested,
        MarkerComparison::Unmarked => {
            Ownership::Unknown("the owner marker is missing after it was written".to_owned())
        }
    })
}

/// Writes a marker, and records in the row that it exists.
async fn write_marker(
    state: &State,
    class: StorageClass,
    content: &MarkerContent,
    replaces: bool,
) -> Result<Marker, RepoError> {
    let storage = &state.storage;
    let (marker, location) =
        (storage.write_marker(class, content, replaces).await?, storage.location_name(class));
    if marker == Marker::Readable(*content) {
        state.db.write(move |c| db::storage_class::set_marked(c, class.as_str(), &location)).await?;
    }
    Ok(marker)
}

fn record(state: &State, class: StorageClass, ownership: Ownership) {
    if state.storage.set_ownership(class, ownership.clone()) {
        log_ownership(class, &ownership);
    }
}

/// Claims the class of usage data, whose rows are in another database, if all other classes are owned.
async fn claim_metrics(state: &State, identity: Identity) {
    let metrics = StorageClass::Metrics;
    let condition = state.storage.condition();
    let mut others = StorageClass::ALL.into_iter().filter(|class| *class != metrics);
    if matches!(condition.ownership(metrics), Ownership::Unclaimed { .. })
        && others.all(|class| condition.ownership(class) == Ownership::Own)
    {
        let result = mark(state, metrics, identity, false).await;
        record(state, metrics, result.unwrap_or_else(|error| Ownership::Unknown(error.to_string())));
    }
}

fn log_ownership(class: StorageClass, ownership: &Ownership) {
    let class = class.as_str();
    match ownership {
        Ownership::Own | Ownership::Unchecked => {}
        Ownership::Foreign(owner) => tracing::warn!(
            class,
            %owner,
            "the storage class belongs to another database; nothing is removed from it or stored in it; restore \
             that database, or make this one the owner with: rspm storage adopt --class={class}"
        ),
        Ownership::Contested => tracing::warn!(
            class,
            "another copy of this database has used the storage class, or this one is a restored backup; nothing is removed \
             from the class; stop the other server if there is one, then make this database the owner with: rspm storage \
             adopt --class={class}"
        ),
        Ownership::Unreadable => tracing::warn!(
            class,
            "the owner marker of the storage class names no database; nothing is removed from it; if this database is its owner, \
            run: rspm storage adopt --class={class}"
        ),
        Ownership::Missing { former_location: Some(place) } => tracing::warn!(
            class,
            "the storage class has neither its owner marker nor the objects that this database names; {}; nothing is stored \
             in it; to start with an empty class: rspm storage adopt --class={class}",
            condition::move_remedy(class, place)
        ),
        Ownership::Missing { former_location: None } => tracing::warn!(
            class,
            "the storage class has neither its owner marker nor the objects that this database names; it may not be mounted; \
             nothing is stored in it; mount it, or start with an empty class: rspm storage adopt --class={class}"
        ),
        Ownership::Unclaimed { objects, referenced: named } => tracing::warn!(
            class,
            objects,
            named,
            "the storage class has no owner, and objects that this database does not name; nothing is removed from it or \
             stored in it; restore the database, or make this one the owner with: rspm storage adopt --class={class}"
        ),
        Ownership::Unknown(error) => tracing::warn!(
            class,
            error,
            "could not compare the storage class with the database; nothing is removed from it"
        ),
    }
}

/// Number of objects that are compared with rows. In the order of their digests, the first ones are a random sample.
const MAX_SAMPLED_OBJECTS: usize = 1000;
/// Number of rows of each kind that are compared with the objects.
const MAX_SAMPLED_ROWS: i64 = 16;

/// Determines the owner of an unmarked class; `None` for this database. The class may be new, older than
/// markers, of another database, or not mounted.
async fn determine_unmarked(
    state: &State,
    class: StorageClass,
    row: Option<&StorageClassRow>,
) -> Result<Option<Ownership>, RepoError> {
    let storage = &state.storage;
    let sample: Vec<Key> =
        storage.list(class, None, MAX_SAMPLED_OBJECTS).await?.iter().map(|object| object.key).collect();
    let objects = sample.len();
    let referenced = match class {
        StorageClass::Metrics => 0,
        _ => {
            let references = state.db.read(move |c| {
                let references = |key: &Key| is_referenced(c, key).map(usize::from);
                sample.iter().map(references).sum::<Result<usize, _>>()
            });
            references.await?
        }
    };
    if referenced * 2 < objects {
        return Ok(Some(Ownership::Unclaimed { objects, referenced }));
    }
    let location = storage.location_name(class);
    let was_marked_here = row.is_some_and(|row| row.marked && row.place == location);
    if (was_marked_here && objects == 0) || has_lost_most(state, class).await? {
        let former_location = row.and_then(|row| row.former_place(&location)).map(str::to_owned);
        return Ok(Some(Ownership::Missing { former_location }));
    }
    if objects > 0 {
        tracing::info!(
            class = class.as_str(),
            objects,
            referenced,
            "this database becomes the owner of the storage class: its rows refer to the objects there"
        );
    }
    Ok(None)
}

/// Returns whether most of the objects to which rows refer are missing.
async fn has_lost_most(state: &State, class: StorageClass) -> Result<bool, RepoError> {
    let pivot = Sha256(rand::random());
    let keys = state.db.read(move |c| {
        let mut keys = Vec::new();
        for directory in Key::directories(class) {
            if let Key::Index(_) = directory {
                keys.extend(db::rendered::newest(c, MAX_SAMPLED_ROWS)?.into_iter().map(Key::Index));
            }
            for start in [Some(pivot), None] {
                let digests = db::blob::in_directory(
                    c,
                    directory.directory(),
                    Timestamp(i64::MAX),
                    start,
                    MAX_SAMPLED_ROWS,
                )?;
                keys.extend(
                    digests.into_iter().filter_map(|digest| object_key(directory.directory(), digest)),
                );
            }
        }
        Ok(keys)
    });
    let keys = keys.await?;
    let mut stored_count = 0;
    for key in &keys {
        stored_count += usize::from(state.storage.size(key).await?.is_some());
    }
    Ok(stored_count * 2 < keys.len())
}
