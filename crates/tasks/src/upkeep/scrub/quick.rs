//! The quick level: compares the rows with a listing of storage, by existence and size.

use std::collections::{BTreeMap, VecDeque};

use super::full::not_owned;
use super::inspector::Inspector;
use super::ranges::{self, Range};
use super::{ScrubLevel, ScrubOptions, ScrubResult, interrupted};
use crate::backup::stored_again::BackupFiles;
use crate::upkeep::Upkeep;
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use content::serve::RepoError;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db::scrub::ReferencedObject;
use store::storage::{Area, Key, ListedObject};

/// Number of rows or objects per page.
const PAGE: usize = 1000;
/// Number of ranges between two checks of the lease.
const RANGES: usize = 64;

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
    let mut ranges = state.db.read(move |c| ranges::all(c, &owned_classes, extent)).await?;
    // A directory is listed in one sequence of pages: a request for each range would take a minute for an empty bucket.
    ranges.sort_by_key(|range| (range.directory, range.row.prefix));
    let mut listing: Option<DirectoryListing> = None;
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
        if listing.as_ref().is_none_or(|listing| listing.directory != range.directory) {
            listing = Some(DirectoryListing::begin(&range));
        }
        // Listed before the rows are read: an object that is stored later is looked up by its row.
        let objects = match &mut listing {
            Some(listing) => listing.objects(state, range.row.prefix).await?,
            None => BTreeMap::new(),
        };
        compare(state, &inspector, range, objects, &mut result).await?;
    }
    Ok(result)
}

async fn compare(
    state: &State,
    inspector: &Inspector<'_>,
    mut range: Range,
    mut objects: BTreeMap<Sha256, u64>,
    result: &mut ScrubResult,
) -> Result<(), RepoError> {
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

/// A listing of a storage directory, whose ranges are taken in ascending order.
struct DirectoryListing {
    /// The key of the first range.
    directory: Key,
    from: Key,
    is_new: bool,
    is_complete: bool,
    pending: VecDeque<ListedObject>,
}

impl DirectoryListing {
    fn begin(range: &Range) -> DirectoryListing {
        let mut first = [0; 32];
        first[0] = range.row.prefix;
        let (directory, from) = (range.directory, range.directory.with_digest(Sha256(first)));
        DirectoryListing { directory, from, is_new: true, is_complete: false, pending: VecDeque::new() }
    }

    /// Takes the objects whose digests have this first byte, with their sizes.
    async fn objects(&mut self, state: &State, prefix: u8) -> Result<BTreeMap<Sha256, u64>, RepoError> {
        let mut objects = BTreeMap::new();
        loop {
            while let Some(object) = self.pending.front() {
                let digest = *object.key.digest();
                if digest.0[0] > prefix {
                    return Ok(objects);
                }
                if digest.0[0] == prefix {
                    objects.insert(digest, object.size);
                }
                self.pending.pop_front();
            }
            if self.is_complete {
                return Ok(objects);
            }
            let page = state.storage.list_directory(Area::Live, self.from, self.is_new, PAGE).await?;
            self.is_new = false;
            self.is_complete = page.len() < PAGE;
            self.from = page.last().map_or(self.from, |last| last.key);
            self.pending.extend(page);
        }
    }
}
