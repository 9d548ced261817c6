//! Parses the files of a mirror, and refuses a declaration that lost too much.

use super::existing::ExistingSource;
use super::fetch::IndexFile;
use super::plan::{Loss, MirrorDeclaration, lost_archives, lost_packages};
use crate::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use crate::r::rds::{Limits, RdsError};

/// How to treat a file that lost a fifth of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShrinkPolicy {
    /// Refuse it: a half-written mirror looks like that.
    Refuse,
    /// Accept it: an administrator repeats the sync after the refusal, and the mirror still has the same bytes.
    Accept,
}

type Rows = Vec<MetaRow<String>>;

/// Parses a `Meta/` table. An unreadable one counts as missing: dates are unknown, nothing is lost. Its bytes, tens of
/// megabytes for CRAN's archive, are freed once the rows are parsed.
fn table(
    file: Option<IndexFile>,
    read: fn(&[u8]) -> Result<Rows, RdsError>,
    warnings: &mut Vec<String>,
) -> Option<Rows> {
    let file = file?;
    match read(&file.bytes) {
        Ok(rows) => Some(rows),
        Err(error) => {
            warnings.push(format!("could not read {}, continuing without it: {error}", file.path));
            None
        }
    }
}

/// Parses `Meta/current.rds`.
pub(super) fn current(file: Option<IndexFile>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_current_meta(bytes, Limits::META), warnings)
}

/// Parses `Meta/archive.rds`.
pub(super) fn archive(file: Option<IndexFile>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_archive_meta(bytes, Limits::META), warnings)
}

/// A declaration that lost a fifth or more of what it had.
#[derive(Debug)]
pub(super) struct ShrunkIndex(pub(super) String);

/// Returns the message about a declaration that lost too much; `command` is the one that syncs it.
pub(super) fn shrunk_message(Loss { before, lost }: Loss, what: &str, command: &str) -> String {
    format!(
        "{lost} of {before} packages are no longer in {what}, which is what a half-written mirror looks like; \
         nothing was changed. If it is correct, run `{command}` by hand: it is accepted if the mirror \
         still has the same files"
    )
}

/// Refuses a declaration that lost too much, unless it was confirmed.
pub(super) fn check_loss(
    known: &ExistingSource,
    declared: &MirrorDeclaration<'_>,
    trust: ShrinkPolicy,
    command: &str,
) -> Result<(), ShrunkIndex> {
    if trust == ShrinkPolicy::Accept {
        return Ok(());
    }
    let refuse = |loss: Loss, what: &str| Err(ShrunkIndex(shrunk_message(loss, what, command)));
    let packages = lost_packages(known, &declared.listed);
    // An empty index is refused also for a few packages: withdrawing all of them is unlikely.
    if packages.is_suspicious() || (declared.listed.is_empty() && packages.lost > 0) {
        return refuse(packages, "the index");
    }
    match declared.archive.as_deref().map(|rows| lost_archives(known, rows)) {
        Some(archives) if archives.is_suspicious() => refuse(archives, "Meta/archive.rds"),
        Some(_) | None => Ok(()),
    }
}
