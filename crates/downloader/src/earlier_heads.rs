//! Finds heads that are missing from a bundle because it was copied incompletely.

use super::destination::Destination;
use super::error::{ExitStatus, OfflineError};
use super::run::Run;
use formats::bundle::{Head, Product};

impl Run<'_> {
    /// As [`restore`], unless there is no bundle yet or nothing may be written.
    pub(super) fn restore_heads(&self, has_bundle: bool) -> Result<Vec<String>, OfflineError> {
        if !has_bundle || self.request.is_dry_run {
            return Ok(Vec::new());
        }
        restore(self.destination, &self.product)
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
}

/// Writes the copy of the newest head again if the copy is missing. Returns the paths of the earlier heads that
/// the newest head names and that are missing.
pub(super) fn restore(destination: &Destination, product: &Product) -> Result<Vec<String>, OfflineError> {
    let path = destination.path(&product.head_path());
    let bytes = std::fs::read(&path).map_err(|e| OfflineError::destination("read", &path, e))?;
    // Reads the file itself: a head that is joined with its bases seems complete. A damaged head is reported when the
    // bundle is opened.
    let Ok(head) = Head::read(&bytes, product) else { return Ok(Vec::new()) };
    let copy = head.dated_path(product);
    if !destination.path(&copy).exists() {
        destination.put(&copy, &bytes)?;
    }
    let earlier_heads = head.earlier.iter().map(|earlier_head| product.path(&earlier_head.path));
    Ok(earlier_heads.filter(|file| !destination.path(file).exists()).collect())
}
