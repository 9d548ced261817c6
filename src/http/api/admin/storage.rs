//! Storage classes: state, adoption by this database, sweep, restoring from the trash, and evictions.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::call::{Answer, Call};
use super::job::{Started, start_response};
use crate::http::error::Failure;
use api::storage::{
    AdoptedStorage, Eviction, EvictionKind, StartEviction, Storage, StorageOwner, StorageSelection,
    StorageState, SweepStorage, WaitingSweep,
};
use base::model::kind::StorageClass;
use base::model::text::count_of;
use base::model::time::{Timestamp, microseconds};
use content::serve::RepoError;
use store::db;
use store::storage::{GRACE, Key, Ownership};
use tasks::upkeep;
use tasks::upkeep::evict;
use tasks::upkeep::sweep::SweepOptions;
use tasks::upkeep::sweep::trash::TrashSummary;

pub(super) async fn list(call: Call<'_>) -> Answer<Storage> {
    let app = call.app;
    upkeep::ownership::claim(&app.upkeep).await;
    let database = app.state.db.read(db::identity::get).await?;
    let totals = app.state.db.read(db::stored_file::totals).await?;
    let condition = app.state.storage.condition();
    let mut classes = Vec::new();
    for class in StorageClass::ALL {
        let ownership = condition.ownership(class);
        // The full error is sent: the administrator needs the path. An unreadable class does not hide others.
        let (trash, error) = match upkeep::sweep::trash::summary(&app.state, class).await {
            Ok(trash) => (trash, None),
            Err(RepoError::Storage(error)) => (TrashSummary::default(), Some(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let problem = match &ownership {
            Ownership::Unknown(reason) => Some(reason.clone()),
            _ => error,
        };
        let (owner, owner_database) = match ownership {
            Ownership::Unchecked => (StorageOwner::Unchecked, None),
            Ownership::Own => (StorageOwner::Own, None),
            Ownership::Foreign(other) => (StorageOwner::Foreign, Some(other.to_string())),
            Ownership::Contested => (StorageOwner::Contested, None),
            Ownership::Missing { .. } => (StorageOwner::Missing, None),
            Ownership::Unreadable => (StorageOwner::Unreadable, None),
            Ownership::Unclaimed { .. } => (StorageOwner::Unclaimed, None),
            Ownership::Unknown(_) => (StorageOwner::Unknown, None),
        };
        let (files, bytes) = class_totals(&totals, class);
        classes.push(StorageState {
            class: class.as_str().to_owned(),
            files,
            bytes,
            location: app.state.storage.location_name(class),
            owner,
            database: owner_database,
            problem,
            trash_objects: trash.objects,
            trash_bytes: trash.bytes,
            trash_since: trash.oldest.map(|at| {
                let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(microseconds(since)).to_string()
            }),
            damaged: condition.damaged_objects(class).count() as u64,
            lost: condition.lost_objects(class).count() as u64,
            waiting: condition.pending_sweep(class).map(|w| WaitingSweep { objects: w.objects, of: w.total }),
        });
    }
    Ok(Storage { database: database.to_string(), grace_days: GRACE.as_secs() / 86_400, classes })
}

/// Returns the number and the size of the objects in the directories of a class.
fn class_totals(totals: &[(String, i64, i64)], class: StorageClass) -> (u64, u64) {
    let directories: Vec<&str> = Key::directories(class).iter().map(Key::directory).collect();
    let of_class = totals.iter().filter(|(directory, ..)| directories.contains(&directory.as_str()));
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    of_class.fold((0, 0), |(files, bytes), (_, n, size)| (files + count(*n), bytes + count(*size)))
}

pub(super) async fn adopt(call: Call<'_>, body: StorageSelection) -> Answer<AdoptedStorage> {
    let app = call.app;
    let adopted = upkeep::ownership::adopt(&app.upkeep, &classes_or_all(&body.classes)?).await;
    // The full error is sent, because the administrator needs the path.
    let adopted = adopted.map_err(|error| match error {
        RepoError::Storage(error) => Failure::unavailable(error.to_string(), 5),
        error => error.into(),
    })?;
    Ok(AdoptedStorage { classes: adopted.into_iter().map(|class| class.as_str().to_owned()).collect() })
}

pub(super) async fn sweep(call: Call<'_>, body: SweepStorage) -> Started {
    let app = call.app;
    let confirmed = parse_classes(&body.confirm)?;
    let key = match body.confirm.is_empty() {
        true => "storage:sweep".to_owned(),
        false => format!("storage:sweep:{}", body.confirm.join(",")),
    };
    let (upkeep, usage, storage) = (Arc::clone(&app.upkeep), app.usage.clone(), app.state.storage.clone());
    let started = app.state.jobs.start(&key, (app.state.clock)(), move |_| async move {
        let is_metrics_confirmed = confirmed.contains(&StorageClass::Metrics);
        let result =
            upkeep::sweep::sweep(&upkeep, &SweepOptions { confirmed, ..SweepOptions::default() }).await;
        let result = result.map_err(|error| error.to_string())?;
        let counters = usage.sweep(is_metrics_confirmed).await.map_err(|error| error.to_string())?;
        let mut text = format!(
            "{} moved to the trash, {} deleted from it.",
            count_of(result.objects + counters, "object was", "objects were"),
            result.deleted
        );
        for warning in storage.condition().warnings() {
            text += &format!("\nWarning: {}: {}", warning.message, warning.command);
        }
        Ok(text)
    });
    start_response(app, &started).await
}

pub(super) async fn restore(call: Call<'_>, body: StorageSelection) -> Started {
    let app = call.app;
    let classes = classes_or_all(&body.classes)?;
    let key = format!("storage:restore:{}", body.classes.join(","));
    let upkeep = Arc::clone(&app.upkeep);
    let started = app.state.jobs.start(&key, (app.state.clock)(), move |report| async move {
        let mut count = 0;
        for (class, done) in classes.iter().zip(0..) {
            report.progress(class.as_str(), done, Some(classes.len() as u64));
            let objects = upkeep::sweep::trash::restore(&upkeep, *class).await;
            count += objects.map_err(|error: RepoError| error.to_string())?;
        }
        Ok(format!("{} restored from the trash.", count_of(count, "object was", "objects were")))
    });
    start_response(app, &started).await
}

/// Parses the names of storage classes; an empty list means all classes.
fn classes_or_all(names: &[String]) -> Result<Vec<StorageClass>, Failure> {
    match names {
        [] => Ok(StorageClass::ALL.to_vec()),
        names => parse_classes(names),
    }
}

pub(super) fn parse_classes(names: &[String]) -> Result<Vec<StorageClass>, Failure> {
    let class = |name: &String| {
        StorageClass::ALL.into_iter().find(|class| class.as_str() == name).ok_or_else(|| {
            let valid = StorageClass::WORDS.join(", ");
            Failure::bad_request(format!("there is no storage class '{name}'; there are {valid}"))
        })
    };
    names.iter().map(class).collect()
}

pub(super) async fn evict(call: Call<'_>, body: StartEviction) -> Started {
    let app = call.app;
    let kind = match body.kind {
        EvictionKind::Normal => evict::EvictionKind::Normal,
        EvictionKind::Sweep => evict::EvictionKind::Sweep,
        EvictionKind::Packages => evict::EvictionKind::Packages,
        EvictionKind::Clear => evict::EvictionKind::Clear,
    };
    start_response(app, &evict::start(&app.upkeep, kind, body.dry_run)).await
}

pub(super) async fn eviction(call: Call<'_>, job: &str) -> Answer<Eviction> {
    let result = job.parse().ok().and_then(|job| evict::result(&call.app.upkeep, job));
    let result = result
        .ok_or_else(|| Failure::not_found("there is no result of this eviction; the last eight are kept"))?;
    Ok(Eviction {
        message: result.summary(),
        kind: match result.kind {
            evict::EvictionKind::Normal => EvictionKind::Normal,
            evict::EvictionKind::Sweep => EvictionKind::Sweep,
            evict::EvictionKind::Packages => EvictionKind::Packages,
            evict::EvictionKind::Clear => EvictionKind::Clear,
        },
        dry_run: result.dry_run,
        files: result.files,
        bytes: result.bytes,
        in_use: result.in_use,
        notes: result.notes.clone(),
    })
}
