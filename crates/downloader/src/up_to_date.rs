//! Compares the destination with the last run and with its newest head: detects that nothing needs to be done, and finds heads
//! that are missing because the bundle was copied incompletely.

use super::destination::Destination;
use super::error::{ExitStatus, OfflineError};
use super::file::has_digest;
use super::last_run::LastRun;
use super::metadata::{self, FileValidators};
use super::run::Run;
use super::{journal, workers};
use formats::bundle::{Head, Product, SegmentRef};
use upstream::origin::bundle::VerifiedHead;

impl Run<'_> {
    /// Checks upstream and the destination concurrently: upstream is revalidated; at the destination every segment is
    /// compared with its digest, and the package files with their recorded names and sizes.
    pub(super) async fn is_up_to_date(&self, verified_head: &VerifiedHead) -> Result<bool, OfflineError> {
        let root = self.product.root();
        let Some(last_run) = LastRun::read(self.destination, &root) else { return Ok(false) };
        let has_journal = journal::FILES.iter().any(|file| self.destination.path(&root).join(file).exists());
        if has_journal || verified_head.head.subset != self.request.subset {
            return Ok(false);
        }
        let (destination, product, request_key) =
            (self.destination.clone(), self.product.clone(), self.request_key());
        let (segments, previous_run) = (verified_head.head.segments.clone(), last_run.clone());
        let destination_check = tokio::task::spawn_blocking(move || {
            let this_run = current_run(&destination, &product, &request_key, Vec::new())?;
            Ok::<_, OfflineError>(
                previous_run.matches(&this_run) && are_intact(&destination, &product, &segments),
            )
        });
        let upstream_check = metadata::are_current(self.mirror, &last_run.files);
        let (destination_result, upstream_result) = tokio::join!(destination_check, upstream_check);
        Ok(destination_result.unwrap_or(Ok(false))? && upstream_result?)
    }

    /// Records for the next run that this run succeeded; does nothing without validators.
    pub(super) fn save_last_run(&self, files: Option<Vec<FileValidators>>) -> Result<(), OfflineError> {
        let Some(files) = files else { return Ok(()) };
        current_run(self.destination, &self.product, &self.request_key(), files)?
            .save(self.destination, &self.product.root())
    }

    /// As [`restore_heads`], unless there is no bundle yet or nothing may be written.
    pub(super) fn restore_heads(&self, has_bundle: bool) -> Result<Vec<String>, OfflineError> {
        if !has_bundle || self.request.is_dry_run {
            return Ok(Vec::new());
        }
        restore_heads(self.destination, &self.product)
    }

    /// Reports missing heads, as `validate` does: they cannot be downloaded, because no mirror has them.
    pub(super) fn report_missing_heads(&self, missing_heads: &[String], status: ExitStatus) -> ExitStatus {
        for file in missing_heads {
            self.request
                .output
                .warn(&format!("{file} is missing: the bundle was copied incompletely; copy it again"));
        }
        if missing_heads.is_empty() { status } else { ExitStatus::Incomplete }
    }

    fn request_key(&self) -> String {
        let first_day =
            self.request.first_day.map_or_else(|| "the beginning".to_owned(), |day| day.to_string());
        format!("{} from {first_day} on", self.mirror.address())
    }
}

fn current_run(
    destination: &Destination,
    product: &Product,
    request_key: &str,
    files: Vec<FileValidators>,
) -> Result<LastRun, OfflineError> {
    let head = destination.read(&product.head_path())?;
    Ok(LastRun::new(request_key, &head, Some(&destination.objects(&product.objects_dir())?), files))
}

fn are_intact(destination: &Destination, product: &Product, segments: &[SegmentRef]) -> bool {
    let is_intact = |segment: &SegmentRef| {
        has_digest(&destination.path(&product.path(&segment.file.path)), segment.file.sha256)
    };
    workers::parallel_map(segments, is_intact).into_iter().all(|is_intact| is_intact)
}

/// Writes the copy of the newest head again if the copy is missing. Returns the paths of the earlier heads that
/// the newest head names and that are missing.
pub(super) fn restore_heads(
    destination: &Destination,
    product: &Product,
) -> Result<Vec<String>, OfflineError> {
    let bytes = destination.read(&product.head_path())?;
    // Reads the file itself: a head joined with its bases seems complete. Opening the bundle reports a damaged head.
    let Ok(head) = Head::read(&bytes, product) else { return Ok(Vec::new()) };
    let copy = head.dated_path(product);
    if !destination.path(&copy).exists() {
        destination.put(&copy, &bytes)?;
    }
    let earlier_heads = head.earlier.iter().map(|earlier_head| product.path(&earlier_head.path));
    Ok(earlier_heads.filter(|file| !destination.path(file).exists()).collect())
}
