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
        let Some(seen) = Seen::read(self.place, &root) else { return Ok(false) };
        let unfinished = journal::FILES.iter().any(|file| self.place.path(&root).join(file).exists());
        if unfinished || before.head.subset != self.wish.subset {
            return Ok(false);
        }
        let (place, product, asked) = (self.place.clone(), self.product.clone(), self.asked());
        let (segments, last) = (before.head.segments.clone(), seen.clone());
        let here = tokio::task::spawn_blocking(move || {
            let now = now(&place, &product, &asked, Vec::new())?;
            Ok::<_, OfflineError>(last.is_of(&now) && are_whole(&place, &product, &segments))
        });
        let there = told::all_hold(self.mirror, &seen.told);
        let (here, there) = tokio::join!(here, there);
        Ok(here.unwrap_or(Ok(false))? && there?)
    }

    /// Records for the next run that this one succeeded, if upstream supports revalidation.
    pub(super) fn remember(&self, told: Option<Vec<Told>>) -> Result<(), OfflineError> {
        let Some(told) = told else { return Ok(()) };
        now(self.place, &self.product, &self.asked(), told)?.leave(self.place, &self.product.root())
    }

    fn asked(&self) -> String {
        let from = self.wish.from.map_or_else(|| "the beginning".to_owned(), |day| day.to_string());
        format!("{} from {from} on", self.mirror.address())
    }
}

fn now(place: &Place, product: &Product, asked: &str, told: Vec<Told>) -> Result<Seen, OfflineError> {
    let path = place.path(&product.head());
    let head = std::fs::read(&path).map_err(|e| OfflineError::place("read", &path, e))?;
    Ok(Seen::now(asked, &head, Some(&place.objects(&product.objects())?), told))
}

fn are_whole(place: &Place, product: &Product, segments: &[SegmentRef]) -> bool {
    let whole =
        |segment: &SegmentRef| is_whole(&place.path(&product.path(&segment.file.path)), segment.file.sha256);
    workers::each(segments, whole).into_iter().all(|whole| whole)
}
