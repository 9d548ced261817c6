//! Finds files whose rows are lost although storage has their bytes, and records them as stored.

use super::finding::{Fault, Finding, RepairOutcome};
use super::{ScrubOptions, ScrubResult, ranges};
use crate::upkeep::Upkeep;
use base::model::ids::FileId;
use base::model::storage_class::StorageClass;
use content::fetch;
use content::serve::RepoError;
use runtime::jobs::lease::Lease;
use store::db;
use store::db::file::LostFile;

/// Number of rows per page.
const PAGE: i64 = 500;

/// Looks up the bytes of all lost files in the classes of a scrub that belong to this database.
pub(super) async fn recover(
    upkeep: &Upkeep,
    options: &ScrubOptions,
    lease: &Lease,
    result: &mut ScrubResult,
) -> Result<(), RepoError> {
    let state = &upkeep.state;
    let mut last_file = FileId(0);
    loop {
        lease.check().await?;
        let page = state.db.read(move |c| db::file::lost_after(c, last_file, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        last_file = last.file;
        for lost in &page {
            let Some(class) = class_of(upkeep, lost) else { continue };
            if !ranges::classes(options).any(|selected| selected == class) || !state.storage.is_own(class) {
                continue;
            }
            if let Some(key) = fetch::recover(&upkeep.fetches, lost, class).await.map_err(RepoError::from)? {
                let detail = "its row stated that no mirror has it, but it is in storage; it is served again";
                let (fault, outcome) = (Fault::Missing, RepairOutcome::Repaired);
                result.add(Finding::of_object(state, key, fault, detail.to_owned(), outcome).await?);
            }
        }
    }
}

/// Returns the class that contains the bytes of a file, or contained them.
fn class_of(upkeep: &Upkeep, lost: &LostFile) -> Option<StorageClass> {
    match &lost.class {
        Some(class) => StorageClass::parse(class),
        None if lost.is_binary => Some(StorageClass::Binaries),
        None => {
            let catalog = upkeep.state.catalog.get();
            catalog.source_by_id(lost.origin).map(|source| source.kind.storage_class())
        }
    }
}
