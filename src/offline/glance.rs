//! Detects that neither upstream nor the destination changed since the last run, so that nothing is to be done.

use super::error::OfflineError;
use super::file::is_whole;
use super::journal;
use super::place::Place;
use super::run::Run;
use super::seen::Seen;
use super::told::{self, Told};
use super::workers;
use crate::bundle::{Product, SegmentRef};
use crate::upstream::bundle::Verified;

impl Run<'_> {
    /// Checks both concurrently: upstream is revalidated; at the destination every segment is compared with its digest
    /// and every package file with its size.
    pub(super) async fn nothing_is_new(&self, before: &Verified) -> Result<bool, OfflineError> {
        let root = self.product.root();
        let Some(last_run) = Seen::read(self.destination, &root) else { return Ok(false) };
        let unfinished = journal::FILES.iter().any(|file| self.destination.path(&root).join(file).exists());
        if unfinished || before.head.subset != self.request.subset {
            return Ok(false);
        }
        let (destination, product, request_key) =
            (self.destination.clone(), self.product.clone(), self.request_key());
        let (segments, last) = (before.head.segments.clone(), last_run.clone());
        let local = tokio::task::spawn_blocking(move || {
            let now = now(&destination, &product, &request_key, Vec::new())?;
            Ok::<_, OfflineError>(last.is_of(&now) && are_whole(&destination, &product, &segments))
        });
        let remote = told::all_hold(self.mirror, &last_run.files);
        let (local, remote) = tokio::join!(local, remote);
        Ok(local.unwrap_or(Ok(false))? && remote?)
    }

    /// Records for the next run that this one succeeded, if upstream supports revalidation.
    pub(super) fn remember(&self, files: Option<Vec<Told>>) -> Result<(), OfflineError> {
        let Some(files) = files else { return Ok(()) };
        now(self.destination, &self.product, &self.request_key(), files)?
            .leave(self.destination, &self.product.root())
    }

    fn request_key(&self) -> String {
        let from = self.request.from.map_or_else(|| "the beginning".to_owned(), |day| day.to_string());
        format!("{} from {from} on", self.mirror.address())
    }
}

fn now(
    destination: &Place,
    product: &Product,
    request_key: &str,
    files: Vec<Told>,
) -> Result<Seen, OfflineError> {
    let path = destination.path(&product.head());
    let head = std::fs::read(&path).map_err(|e| OfflineError::place("read", &path, e))?;
    Ok(Seen::now(request_key, &head, Some(&destination.objects(&product.objects())?), files))
}

fn are_whole(destination: &Place, product: &Product, segments: &[SegmentRef]) -> bool {
    let whole = |segment: &SegmentRef| {
        is_whole(&destination.path(&product.path(&segment.file.path)), segment.file.sha256)
    };
    workers::each(segments, whole).into_iter().all(|whole| whole)
}
