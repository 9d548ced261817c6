//! Detects that neither upstream nor the destination has changed since the last run, so that nothing needs to be done.

use super::destination::Destination;
use super::error::OfflineError;
use super::file::has_digest;
use super::last_run::LastRun;
use super::metadata::{self, FileValidators};
use super::run::Run;
use super::{journal, workers};
use formats::bundle::{Product, SegmentRef};
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
    let path = destination.path(&product.head_path());
    let head = std::fs::read(&path).map_err(|e| OfflineError::destination("read", &path, e))?;
    Ok(LastRun::new(request_key, &head, Some(&destination.objects(&product.objects_dir())?), files))
}

fn are_intact(destination: &Destination, product: &Product, segments: &[SegmentRef]) -> bool {
    let is_intact = |segment: &SegmentRef| {
        has_digest(&destination.path(&product.path(&segment.file.path)), segment.file.sha256)
    };
    workers::parallel_map(segments, is_intact).into_iter().all(|is_intact| is_intact)
}
