//! The quick level: compares the rows with a listing of storage, by existence and size.

use std::collections::BTreeMap;

use super::full::not_owned;
use super::inspector::Inspector;
use super::ranges::{self, Range};
use super::{ScrubLevel, ScrubOptions, ScrubResult, interrupted};
use crate::backup::stored_again::BackupFiles;
use crate::db::scrub::ReferencedObject;
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::digest::Sha256;
use crate::model::storage_class::StorageClass;
use crate::serve::RepoError;
use crate::state::State;
use crate::storage::{Area, Key, ListExtent};
use crate::upkeep::Upkeep;

/// Number of rows or objects per page.
const PAGE: usize = 1000;
/// Number of ranges between two checks of the lease.
const RANGES: usize = 64;

/// Compares the objects of the extent.
pub(super) async fn run(
    upkeep: &Upkeep,
    options: &ScrubOptions,
    backup: Option<BackupFiles>,
    lease: &Lease,
    reporter: &Reporter,
) -> Result<ScrubResult, RepoError> {
    let state = &upkeep.state;
    let (owned_classes, other_classes): (Vec<StorageClass>, Vec<StorageClass>) =
        ranges::classes(options).partition(|class| state.storage.is_own(*class));
    let extent = options.extent;
    let ranges = state.db.read(move |c| ranges::all(c, &owned_classes, extent)).await?;
    let inspector = Inspector { upkeep, repair: options.repair, backup, sample: 0 };
    let mut result = ScrubResult::new(ScrubLevel::Quick);
    result.notes.extend(other_classes.iter().map(|class| not_owned(*class)));
    let total = ranges.len() as u64;
    for (done, range) in ranges.into_iter().enumerate() {
        if reporter.is_halted() {
            return Err(interrupted());
        }
        if done % RANGES == 0 {
            lease.check().await?;
            reporter.progress("comparing rows and objects", done as u64, Some(total));
        }
        compare(state, &inspector, range, &mut result).await?;
    }
    Ok(result)
}

async fn compare(
    state: &State,
    inspector: &Inspector<'_>,
    mut range: Range,
    result: &mut ScrubResult,
) -> Result<(), RepoError> {
    // The objects are listed before the rows are read: an object that is stored after the listing is looked up by its
    // row.
    let mut objects = list(state, &range).await?;
    loop {
        let page: Vec<ReferencedObject> = {
            let (directory, row) = (range.directory, range.row.clone());
            state.db.read(move |c| ranges::objects(c, &directory, &row, PAGE as i64)).await?
        };
        let Some(last) = page.last() else { break };
        range.row.position = Some(last.sha256);
        for ReferencedObject { sha256, size: recorded_size } in page {
            let key = range.directory.with_digest(sha256);
            result.objects += 1;
            let finding = match objects.remove(&sha256) {
                Some(size) if recorded_size.is_none_or(|recorded_size| recorded_size == size) => None,
                Some(_) | None => inspector.inspect_again(key).await?,
            };
            finding.into_iter().for_each(|finding| result.add(finding));
        }
    }
    result.unknown += objects.len() as u64;
    Ok(())
}

/// Returns the objects of a range in storage, with their sizes.
async fn list(state: &State, range: &Range) -> Result<BTreeMap<Sha256, u64>, RepoError> {
    let mut first = [0; 32];
    first[0] = range.row.prefix;
    let mut from = range.directory.with_digest(Sha256(first));
    let mut objects = BTreeMap::new();
    loop {
        let inclusive = objects.is_empty();
        let page =
            state.storage.list_directory(Area::Live, from, inclusive, ListExtent::FirstByte, PAGE).await?;
        let Some(last) = page.last() else { return Ok(objects) };
        from = last.key;
        objects.extend(page.iter().map(|object| (*Key::digest(&object.key), object.size)));
    }
}
