//! Parses the files of a mirror, refuses a declaration that lost too much, and plans the changes. It refuses an HTML
//! page, a truncated file, and an index that lost a fifth of its packages; the last good state is still served.

use std::sync::Arc;

use super::existing_source::ExistingSource;
use super::fetch::{IndexFile, IndexFiles};
use super::plan::{Loss, MirrorDeclaration, Plan, lost_archives, lost_packages, plan};
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use formats::r::index;
use formats::r::packages::IndexRecord;
use formats::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use formats::r::rds::{RdsError, RdsLimits};
use upstream::origin::mirror_view::MirrorView;

/// The treatment of a file that lost a fifth of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShrinkPolicy {
    /// Refuse it: the mirror is probably incomplete.
    Refuse,
    /// Accept it: an administrator repeats the sync after the refusal, and the mirror still has the same bytes.
    Accept,
}

/// The part of its source that a list contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// The whole source. A mirror without packages is an error.
    Whole,
    /// One of several lists that share releases; it may be empty if it always was.
    Part,
}

type Rows = Vec<MetaRow<String>>;

/// Parses a `Meta/` table. An unreadable table counts as missing: dates are unknown, nothing is lost. The
/// bytes of the file, tens of megabytes for CRAN's archive, are freed once the rows are parsed.
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
fn current(file: Option<IndexFile>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_current_meta(bytes, RdsLimits::META), warnings)
}

/// Parses `Meta/archive.rds`.
fn archive(file: Option<IndexFile>, warnings: &mut Vec<String>) -> Option<Rows> {
    table(file, |bytes| read_archive_meta(bytes, RdsLimits::META), warnings)
}

/// A declaration that lost a fifth or more of its packages or archived files; contains the message.
#[derive(Debug)]
pub(super) struct ShrunkIndex(pub(super) String);

/// Returns the message about a declaration that lost too much; `command` is the one that syncs it.
pub(super) fn shrunk_message(Loss { known_count, lost_count }: Loss, file: &str, command: &str) -> String {
    format!(
        "{lost_count} of {known_count} packages are no longer in {file}, which is what an incomplete mirror looks like; \
         nothing was changed. If the loss is correct, run `{command}` by hand: the loss is accepted if the \
         mirror still has the same files"
    )
}

/// Refuses a declaration that lost too much, unless it was confirmed.
fn check_loss(
    existing_source: &ExistingSource,
    declaration: &MirrorDeclaration<'_>,
    policy: ShrinkPolicy,
    command: &str,
) -> Result<(), ShrunkIndex> {
    if policy == ShrinkPolicy::Accept {
        return Ok(());
    }
    let refuse = |loss: Loss, file: &str| Err(ShrunkIndex(shrunk_message(loss, file, command)));
    let packages = lost_packages(existing_source, &declaration.records);
    // An empty index is refused even if it loses only a few packages: a maintainer rarely removes all of them.
    if packages.is_suspicious() || (declaration.records.is_empty() && packages.lost_count > 0) {
        return refuse(packages, "the index");
    }
    match declaration.archive.as_deref().map(|rows| lost_archives(existing_source, rows)) {
        Some(archives) if archives.is_suspicious() => refuse(archives, "Meta/archive.rds"),
        Some(_) | None => Ok(()),
    }
}

/// Returns the packages and versions of the index if the list has no archive, so that the index is the whole
/// declaration; `None` if it has an archive.
pub(super) fn versions(files: &IndexFiles) -> Result<Option<Vec<(String, String)>>, String> {
    if files.archive.is_some() {
        return Ok(None);
    }
    let refusal = |reason: String| format!("{}: {reason}", files.index.path);
    let text = index::text(files.index.path, &files.index.bytes).map_err(refusal)?;
    let records = index::records(&text, &mut Vec::new()).map_err(refusal)?;
    let pair = |record: IndexRecord<'_>| (record.package.to_owned(), record.version.to_owned());
    let mut versions: Vec<(String, String)> = records.into_iter().map(pair).collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(Some(versions))
}

/// Returns the digest that identifies a repeated declaration.
pub(super) fn digest(files: &IndexFiles) -> Sha256 {
    use sha2::{Digest, Sha256 as Hasher};
    let mut hasher = Hasher::new();
    hasher.update(files.index.validators.sha256.0);
    hasher.update(files.archive.as_ref().map_or([0; 32], |file| file.validators.sha256.0));
    Sha256(hasher.finalize().into())
}

/// The conditions under which a declaration is accepted.
pub(super) struct Acceptance {
    pub(super) shrink_policy: ShrinkPolicy,
    /// Releases published after this time are delayed; `None` delays none.
    pub(super) cutoff: Option<Timestamp>,
    pub(super) coverage: Coverage,
    /// The command that syncs the list.
    pub(super) command: String,
}

/// The reason why there is no plan.
pub(super) enum PlanError {
    Refused(String),
    Shrunk(ShrunkIndex),
}

/// Parses a declaration and plans the changes; takes seconds of CPU time.
pub(super) fn parse_and_plan(
    existing_source: &ExistingSource,
    files: IndexFiles,
    view: Option<Arc<MirrorView>>,
    acceptance: &Acceptance,
) -> Result<Plan, PlanError> {
    let mut warnings = files.warnings;
    let refusal = |reason: String| PlanError::Refused(format!("{}: {reason}", files.index.path));
    let text = index::text(files.index.path, &files.index.bytes).map_err(refusal)?;
    let declaration = MirrorDeclaration {
        records: index::records(&text, &mut warnings).map_err(refusal)?,
        current: current(files.current, &mut warnings),
        archive: archive(files.archive, &mut warnings),
        view,
        cutoff: acceptance.cutoff,
    };
    if declaration.records.is_empty() && acceptance.coverage == Coverage::Whole {
        return Err(refusal("the index lists no package".to_owned()));
    }
    check_loss(existing_source, &declaration, acceptance.shrink_policy, &acceptance.command)
        .map_err(PlanError::Shrunk)?;
    let mut plan = plan(existing_source, &declaration);
    warnings.append(&mut plan.warnings);
    plan.warnings = warnings;
    Ok(plan)
}
