//! Eviction: removes stored files that a mirror has. Rows keep digest and size: only the same bytes are stored again.

use std::sync::Arc;

use super::references::move_to_trash;
use super::sweep::{self, SweepOptions, refuse_while_held};
use super::{JobNumber, Upkeep, claim_lease};
use base::model::kind::StorageClass;
use base::model::text::count_of;
use base::model::time::{DAY, Timestamp};
use base::words;
use content::serve::{self, RepoError};
use runtime::jobs::lease::Lease;
use runtime::jobs::{AfterHalt, JobStart, Reporter};
use store::db;
use store::db::blob_access::{EvictableBlob, Unused};
use store::storage::{Area, Key, Ownership};

/// Number of days without a request after which a file counts as unused.
pub const UNUSED_DAYS: i64 = 30;
const PAGE: i64 = 500;
/// Classes with objects of mirrors.
const CACHED_CLASSES: [StorageClass; 4] =
    [StorageClass::Cran, StorageClass::Bioconductor, StorageClass::Pypi, StorageClass::Binaries];

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum EvictionKind {
        /// Files of mirrors that were not requested for [`UNUSED_DAYS`] days.
        Normal = "normal",
        /// Objects in the classes of mirrors to which no row refers.
        Sweep = "sweep",
        /// Objects in the class `packages` to which no row refers.
        Packages = "packages",
        /// All files of mirrors that are not in use, whatever their last request.
        Clear = "clear",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvictionResult {
    pub kind: EvictionKind,
    pub dry_run: bool,
    /// Number of removed files; in a dry run, of the files that would be removed.
    pub files: u64,
    /// Size of these files, in bytes.
    pub bytes: u64,
    /// Number of files that are not removed because they are being sent to clients, or because a job needs them.
    pub in_use: u64,
    /// The reasons why objects are not removed, as sentences.
    pub notes: Vec<String>,
}

impl EvictionResult {
    pub fn summary(&self) -> String {
        let files = count_of(self.files, "file", "files");
        let verb = match (self.kind, self.dry_run) {
            (EvictionKind::Normal | EvictionKind::Clear, false) => "removed",
            (EvictionKind::Normal | EvictionKind::Clear, true) => "would be removed",
            (EvictionKind::Sweep | EvictionKind::Packages, false) => "moved to the trash",
            (EvictionKind::Sweep | EvictionKind::Packages, true) => "would be moved to the trash",
        };
        let mut text = format!("{files} ({} bytes) {verb}.", count_of(self.bytes, "", "").trim_end());
        if self.in_use > 0 {
            text +=
                &format!(" {} in use.", count_of(self.in_use, "file stays: it is", "files stay: they are"));
        }
        for note in &self.notes {
            text += &format!("\n{note}");
        }
        text
    }
}

/// Starts an eviction as a job, or attaches to a running one with the same options.
pub fn start(upkeep: &Arc<Upkeep>, kind: EvictionKind, dry_run: bool) -> JobStart {
    let (this, job) = (Arc::clone(upkeep), JobNumber::default());
    let number = Arc::clone(&job);
    let now = (upkeep.state.clock)();
    let options = format!("{} {dry_run}", kind.as_str());
    let started =
        upkeep.state.jobs.start_with(AfterHalt::Resumes, "evict", &options, now, |reporter| async move {
            let result = evict(&this, kind, dry_run, &reporter).await.map_err(|error| error.to_string())?;
            let summary = result.summary();
            if !dry_run {
                let (files, bytes) = (result.files, result.bytes);
                tracing::info!(kind = kind.as_str(), files, bytes, "evicted stored files");
            }
            this.eviction_results.add(number, result);
            Ok(summary)
        });
    if let JobStart::New(new_job) = &started {
        // The number is known only after the start.
        let _ = job.set(new_job.id);
    }
    started
}

pub fn result(upkeep: &Upkeep, job: u64) -> Option<Arc<EvictionResult>> {
    upkeep.eviction_results.get(job)
}

async fn evict(
    upkeep: &Upkeep,
    kind: EvictionKind,
    dry_run: bool,
    reporter: &Reporter,
) -> Result<EvictionResult, RepoError> {
    let mut result = EvictionResult { kind, dry_run, files: 0, bytes: 0, in_use: 0, notes: Vec::new() };
    match kind {
        EvictionKind::Normal | EvictionKind::Clear => {
            evict_cached(upkeep, reporter, &mut result).await?;
        }
        EvictionKind::Sweep => sweep_classes(upkeep, &CACHED_CLASSES, &mut result).await?,
        EvictionKind::Packages => sweep_classes(upkeep, &[StorageClass::Packages], &mut result).await?,
    }
    Ok(result)
}

async fn sweep_classes(
    upkeep: &Upkeep,
    classes: &[StorageClass],
    result: &mut EvictionResult,
) -> Result<(), RepoError> {
    let options = SweepOptions { classes: classes.to_vec(), ..SweepOptions::default() };
    let sweep_result = if result.dry_run {
        sweep::preview(upkeep, &options).await?
    } else {
        sweep::sweep(upkeep, &options).await?
    };
    (result.files, result.bytes) = (sweep_result.objects, sweep_result.bytes);
    let condition = upkeep.state.storage.condition();
    for class in classes {
        if let Some(pending) = condition.pending_sweep(*class) {
            let class = class.as_str();
            result.notes.push(format!(
                "The class {class} has {} objects without a row, more than are removed without a confirmation: \
                 rspm storage sweep --confirm={class}",
                pending.objects
            ));
        }
    }
    Ok(())
}

fn unused(kind: EvictionKind, now: Timestamp) -> Unused {
    match kind {
        EvictionKind::Clear => Unused { stored_before: Timestamp(i64::MAX), accessed_before: i64::MAX },
        _ => Unused {
            stored_before: Timestamp(now.0.saturating_sub(UNUSED_DAYS * DAY)),
            accessed_before: now.day_number() - UNUSED_DAYS,
        },
    }
}

async fn evict_cached(
    upkeep: &Upkeep,
    reporter: &Reporter,
    result: &mut EvictionResult,
) -> Result<(), RepoError> {
    let _guard = upkeep.trash_lock.lock().await;
    let state = &upkeep.state;
    let now = (state.clock)();
    // Days without a request are counted by the clock.
    match state.db.read(move |c| db::clock::check(c, now)).await {
        Err(error @ (db::DbError::Skew(_) | db::DbError::ClockAhead { .. })) => {
            return Err(RepoError::Conflict(format!("nothing is evicted: {error}")));
        }
        other => other?,
    }
    refuse_while_held(state).await?;
    upkeep.fetches.accesses.write(&state.db).await?;
    // The lease of the sweep: both remove objects, and compare rows with storage.
    let lease = claim_lease(state, "sweep", "is sweeping or evicting storage").await?;
    let outcome = evict_pages(upkeep, &lease, reporter, unused(result.kind, now), result).await;
    lease.release().await;
    serve::file::clear_stored_files(&upkeep.repositories);
    outcome
}

async fn evict_pages(
    upkeep: &Upkeep,
    lease: &Lease,
    reporter: &Reporter,
    unused: Unused,
    result: &mut EvictionResult,
) -> Result<(), RepoError> {
    let state = &upkeep.state;
    let condition = state.storage.condition();
    let (own, other): (Vec<StorageClass>, Vec<StorageClass>) =
        CACHED_CLASSES.into_iter().partition(|class| condition.ownership(*class) == Ownership::Own);
    result.notes.extend(other.iter().map(|class| {
        format!("The class {} does not belong to this database alone; see rspm storage list", class.as_str())
    }));
    let mut last_digest = None;
    loop {
        lease.check().await?;
        let after = last_digest;
        let page = state.db.read(move |c| db::blob_access::evictable(c, unused, after, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        last_digest = Some(last.sha256);
        for blob in page {
            if reporter.is_halted() {
                result.notes.push("The eviction was interrupted; run the command again".to_owned());
                return Ok(());
            }
            let Some(class) = StorageClass::parse(&blob.class).filter(|class| own.contains(class)) else {
                continue;
            };
            evict_object(upkeep, lease, unused, class, &blob, result).await?;
        }
        reporter.progress("evicting files", result.files, None);
    }
}

async fn evict_object(
    upkeep: &Upkeep,
    lease: &Lease,
    unused: Unused,
    class: StorageClass,
    blob: &EvictableBlob,
    result: &mut EvictionResult,
) -> Result<(), RepoError> {
    let (state, sha256) = (&upkeep.state, blob.sha256);
    let key = Key::Package(class, sha256);
    // The lock is exclusive: a concurrent fetch of the same bytes must not rely on this object.
    let _guard = upkeep.fetches.blob_lock.write().await;
    if upkeep.uploads.needs(&sha256) || upkeep.fetches.accesses.is_transferred(&key) {
        result.in_use += 1;
        return Ok(());
    }
    if !result.dry_run {
        let now = (state.clock)();
        let evict = lease.write(&state.db, move |c| {
            Ok(db::backup::held_until(c, now)?.is_none() && db::blob_access::evict(c, sha256, unused)?)
        });
        if !evict.await? {
            result.in_use += 1;
            return Ok(());
        }
        if move_to_trash(state, &key).await? {
            state.storage.delete_from(Area::Trash, &key).await?;
        }
        tracing::debug!(object = %key, bytes = blob.size, "evicted an object");
        upkeep.fetches.integrity.remove(&key);
    }
    result.files += 1;
    result.bytes += u64::try_from(blob.size).unwrap_or(0);
    Ok(())
}
