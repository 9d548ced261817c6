//! The full level: reads every object that a row refers to, and records its progress for scrubs after an interruption.

use std::time::{Duration, Instant};

use super::inspector::{Inspector, started};
use super::ranges::{self, Range, Ranges};
use super::{ScrubExtent, ScrubLevel, ScrubOptions, ScrubResult, interrupted};
use crate::backup::stored_again::BackupFiles;
use crate::upkeep::Upkeep;
use base::model::kind::StorageClass;
use content::serve::RepoError;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db::scrub::{self, ReferencedObject, ScrubRange};
use store::storage::{BackgroundReader, Key, ObjectRead};

/// The maximum number of objects read in one step.
const MAX_OBJECTS: i64 = 500;
/// The maximum number of bytes read in one step; a larger object is a separate step.
const MAX_BYTES: u64 = 64 << 20;
const RECORD_INTERVAL: Duration = Duration::from_secs(2);

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
    let (extent, now) = (options.extent, (state.clock)());
    let selection = state.db.read(move |c| ranges::select(c, &owned_classes, extent, now));
    let Ranges { list, is_continued } = selection.await?;
    if extent == ScrubExtent::Everything && !is_continued {
        lease.write(&state.db, move |c| scrub::begin_pass(c, now)).await?;
    }
    let result = ScrubResult { is_continued, ..ScrubResult::new(ScrubLevel::Full) };
    let mut pass = Pass {
        state,
        lease,
        reporter,
        inspector: Inspector { upkeep, repair: options.repair, backup, sample: options.sample },
        reader: started(BackgroundReader::start(options.rate))?,
        deadline: options.max_duration.map(|duration| Instant::now() + duration),
        result,
        unrecorded: Vec::new(),
        recorded_at: Instant::now(),
    };
    pass.result.notes.extend(other_classes.iter().map(|class| not_owned(*class)));
    let total = list.len() as u64;
    for (done, range) in list.into_iter().enumerate() {
        let phase = format!("reading objects: {} MB so far", pass.result.bytes / 1_000_000);
        reporter.progress(phase, done as u64, Some(total));
        if !pass.range(range).await? {
            pass.result.is_complete = false;
            break;
        }
    }
    pass.record().await?;
    let result = pass.result;
    if extent == ScrubExtent::Everything && result.is_complete {
        lease.write(&state.db, scrub::end_pass).await?;
    }
    Ok(result)
}

/// Returns the note about a class that was not compared.
pub(super) fn not_owned(class: StorageClass) -> String {
    format!(
        "storage class {} is not known to belong to this database, and was not compared; see rspm storage list",
        class.as_str()
    )
}

struct Pass<'a> {
    state: &'a State,
    lease: &'a Lease,
    reporter: &'a Reporter,
    inspector: Inspector<'a>,
    reader: BackgroundReader,
    deadline: Option<Instant>,
    result: ScrubResult,
    /// Rows whose progress is not recorded yet.
    unrecorded: Vec<ScrubRange>,
    recorded_at: Instant,
}

impl Pass<'_> {
    /// Reads a range; returns false if the maximum duration was reached before its end.
    async fn range(&mut self, Range { directory, mut row }: Range) -> Result<bool, RepoError> {
        if row.position.is_none() {
            (row.objects, row.bad) = (0, 0);
        }
        loop {
            let range = row.clone();
            let page = self.state.db.read(move |c| ranges::objects(c, &directory, &range, MAX_OBJECTS));
            let page = within_max_bytes(page.await?);
            if page.is_empty() {
                row.position = None;
                row.read_at = Some((self.state.clock)());
                self.unrecorded.push(row);
                if self.recorded_at.elapsed() >= RECORD_INTERVAL {
                    self.record().await?;
                }
                return Ok(true);
            }
            let keys: Vec<Key> = page.iter().map(|object| directory.with_digest(object.sha256)).collect();
            let reads = self.read(&keys).await?;
            for (key, object_read) in keys.iter().zip(&reads) {
                self.result.objects += 1;
                row.objects += 1;
                if let ObjectRead::Digest(digest) = object_read {
                    self.result.bytes += digest.size;
                }
                if let Some(finding) = self.inspector.inspect(*key, object_read).await? {
                    row.bad += i64::from(finding.outcome.is_bad());
                    self.result.add(finding);
                }
                row.position = Some(*key.digest());
            }
            if reads.len() < keys.len() {
                self.unrecorded.push(row);
                self.record().await?;
                return match self.reporter.is_halted() {
                    true => Err(interrupted()),
                    false => Ok(false),
                };
            }
            if self.recorded_at.elapsed() >= RECORD_INTERVAL {
                self.unrecorded.push(row.clone());
                self.record().await?;
            }
        }
    }

    /// Reads objects until the scrub is halted or its maximum duration ends; returns the results so far.
    async fn read(&self, keys: &[Key]) -> Result<Vec<ObjectRead>, RepoError> {
        let digests = self.state.storage.digests(keys, &self.reader);
        tokio::pin!(digests);
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = &mut digests => return Ok(read?),
            () = self.reporter.wait_halted() => {}
            () = deadline => {}
        }
        self.reader.stop();
        Ok(digests.await?)
    }

    async fn record(&mut self) -> Result<(), RepoError> {
        let rows = std::mem::take(&mut self.unrecorded);
        self.recorded_at = Instant::now();
        if rows.is_empty() {
            return Ok(self.lease.check().await?);
        }
        let write =
            self.lease.bulk(&self.state.db, move |c| rows.iter().try_for_each(|row| scrub::put(c, row)));
        Ok(write.await?)
    }
}

/// Returns the first objects of a page, as many as are read in one step.
fn within_max_bytes(mut page: Vec<ReferencedObject>) -> Vec<ReferencedObject> {
    let mut bytes = 0;
    let first_objects = page.iter().take_while(|object| {
        bytes += object.size.unwrap_or(0);
        bytes <= MAX_BYTES
    });
    let count = first_objects.count().max(1);
    page.truncate(count);
    page
}
