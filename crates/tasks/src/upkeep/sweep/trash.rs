//! Trash and damaged objects: restores objects, or deletes them after a grace period.

use std::time::SystemTime;

use super::objects::Pages;
use super::{SweepResult, SweepRun, refuse_while_held};
use crate::upkeep::Upkeep;
use crate::upkeep::references::is_referenced;
use base::model::kind::StorageClass;
use content::serve::RepoError;
use runtime::state::State;
use store::storage::Area;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashSummary {
    pub objects: u64,
    pub bytes: u64,
    /// Time of the removal of the oldest of them.
    pub oldest: Option<SystemTime>,
}

pub async fn summary(state: &State, class: StorageClass) -> Result<TrashSummary, RepoError> {
    let mut trash = TrashSummary::default();
    let mut pages = Pages::of(state, Area::Trash, class);
    while let Some(page) = pages.next().await? {
        for object in &page {
            trash.objects += 1;
            trash.bytes += object.size;
            trash.oldest = Some(trash.oldest.map_or(object.modified, |at| at.min(object.modified)));
        }
    }
    Ok(trash)
}

/// Restores all objects in the trash of a class; returns their number.
pub async fn restore(upkeep: &Upkeep, class: StorageClass) -> Result<u64, RepoError> {
    let _guard = upkeep.trash_lock.lock().await;
    let mut restored_count = 0;
    let mut pages = Pages::of(&upkeep.state, Area::Trash, class);
    while let Some(page) = pages.next().await? {
        for object in page {
            restored_count += u64::from(upkeep.state.storage.restore(&object.key).await?);
        }
    }
    Ok(restored_count)
}

/// Deletes objects after their grace period; restores referenced ones; damaged ones wait for an undamaged one.
pub(super) async fn empty(
    state: &State,
    class: StorageClass,
    result: &mut SweepResult,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let storage = &state.storage;
    for area in [Area::Trash, Area::Damaged] {
        let mut pages = Pages::of(state, area, class).with_lease(run.lease);
        while let Some(page) = pages.next().await? {
            refuse_while_held(state).await?;
            for object in page.into_iter().filter(|object| run.grace.is_over(object.modified)) {
                let key = object.key;
                if state.db.read(move |c| is_referenced(c, &key)).await? {
                    let exists = match area {
                        Area::Trash if storage.restore(&key).await? => {
                            tracing::warn!(object = %key, "restored an object from the trash: a row refers to it");
                            continue;
                        }
                        Area::Trash => true,
                        Area::Damaged | Area::Live => storage.size(&key).await?.is_some(),
                    };
                    if !exists {
                        continue;
                    }
                }
                storage.delete_from(area, &key).await?;
                result.deleted += 1;
            }
        }
    }
    Ok(())
}
