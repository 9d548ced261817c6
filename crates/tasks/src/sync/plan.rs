//! Computes the changes of a sync, which turn the known state into the declaration of a mirror. Pure;
//! `docs/admin/mirrors.md` has the rules.
//!
//! A superseded version moves to the archive; the same version with other bytes becomes a new revision; a package
//! removed from index and archive ends and is not archived.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::SyncError;
use super::declaration::{CurrentFiles, FileStat, PackageDeclaration};
use super::existing_source::{ExistingPackage, ExistingSource};
use super::package::PackageComparison;
use base::model::change::{Change, Counts, LifeState};
use base::model::ids::SourceId;
use base::model::time::Timestamp;
use formats::r::packages::IndexRecord;
use formats::r::rds::archive_meta::MetaRow;
use runtime::jobs::lease::Lease;
use runtime::publish::transaction::CHUNK;
use store::db::Db;
use store::db::file::{self, FetchedFacts, FileWithoutDigest};
use upstream::origin::mirror_view::{MirrorView, Object};

/// Maximum number of known versions with a different time and the same size in one sync that count as published
/// again; more of them mean that the mirror was copied.
pub const COPY_THRESHOLD: usize = 500;

/// Minimum number of lost packages that is suspicious, regardless of their share: a maintainer of a small
/// repository may remove several packages at once.
const MIN_SUSPICIOUS_LOSS: usize = 10;

#[derive(Clone, Debug, Default)]
pub struct MirrorDeclaration<'a> {
    pub records: Vec<IndexRecord<'a>>,
    /// `Meta/current.rds`, if the mirror has a readable one.
    pub current: Option<Vec<MetaRow<String>>>,
    /// `Meta/archive.rds`, if the mirror has a readable one. `None` means unknown, never that nothing is archived.
    pub archive: Option<Vec<MetaRow<String>>>,
    /// The files, if the mirror is a bundle, which declares the digest of each.
    pub view: Option<Arc<MirrorView>>,
    /// Releases published after this time are delayed (`CRAN.DelaySyncDuration`); `None` delays none.
    pub cutoff: Option<Timestamp>,
}

/// Changes to apply, and messages about them.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The changes, sorted by package name.
    pub changes: Vec<Change>,
    /// Numbers of changed packages and releases, as the API counts them.
    pub counts: Counts,
    /// The oldest publication time among new releases.
    pub published_from: Option<Timestamp>,
    /// The newest publication time among new releases.
    pub published_to: Option<Timestamp>,
    pub warnings: Vec<String>,
    /// Number of packages that stay unchanged because a new release is too recent.
    pub delayed_count: usize,
}

/// The number of packages, or archived files, that a declaration lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Number of known packages or files.
    pub known_count: usize,
    /// Number of known packages or files that are no longer declared.
    pub lost_count: usize,
}

impl Loss {
    /// Returns whether a fifth or more is missing: an incomplete mirror is more likely than a decision of maintainers.
    pub fn is_suspicious(self) -> bool {
        self.lost_count >= MIN_SUSPICIOUS_LOSS && self.lost_count * 5 >= self.known_count
    }
}

/// Counts the listed packages that a new index lacks.
pub fn lost_packages(existing_source: &ExistingSource, listed: &[IndexRecord<'_>]) -> Loss {
    let declared_packages: BTreeSet<&str> = listed.iter().map(|record| record.package).collect();
    let listed_packages = existing_source.packages.iter().filter(|(_, package)| package.is_listed());
    let mut loss = Loss { known_count: 0, lost_count: 0 };
    for (name, _) in listed_packages {
        loss.known_count += 1;
        loss.lost_count += usize::from(!declared_packages.contains(name.as_str()));
    }
    loss
}

/// Counts the packages with archived releases that a new `Meta/archive.rds` lacks.
pub fn lost_archives(existing_source: &ExistingSource, archive: &[MetaRow<String>]) -> Loss {
    let declared_packages: BTreeSet<&str> = archive.iter().map(|row| row.package.as_str()).collect();
    let mut loss = Loss { known_count: 0, lost_count: 0 };
    for (name, package) in &existing_source.packages {
        if package.releases.iter().any(|release| release.archived_life().is_some()) {
            loss.known_count += 1;
            loss.lost_count += usize::from(!declared_packages.contains(name.as_str()));
        }
    }
    loss
}

/// Computes the changes. The result does not depend on the order of records or rows; once it is applied, the same
/// declaration gives an empty plan.
pub fn plan(existing_source: &ExistingSource, declaration: &MirrorDeclaration<'_>) -> Plan {
    let by_package = DeclarationByPackage::new(declaration);
    let names: BTreeSet<&str> =
        existing_source.packages.keys().map(String::as_str).chain(by_package.names.iter().copied()).collect();
    let (plan, other_time_count) = compare(existing_source, &by_package, &names, false);
    if other_time_count <= COPY_THRESHOLD {
        return plan;
    }
    let (mut plan_without_times, _) = compare(existing_source, &by_package, &names, true);
    plan_without_times.warnings.push(format!(
        "{other_time_count} known versions have another time and the same size on the mirror: it was copied, so the known \
         dates are kept"
    ));
    plan_without_times
}

fn compare(
    existing_source: &ExistingSource,
    by_package: &DeclarationByPackage<'_>,
    names: &BTreeSet<&str>,
    ignores_times: bool,
) -> (Plan, usize) {
    let empty_package = ExistingPackage { id: base::model::ids::PackageId(0), releases: Vec::new() };
    // A first sync declares hundreds of thousands of releases: a vector that grows would need their memory twice.
    let known_releases: usize = existing_source.packages.values().map(|package| package.releases.len()).sum();
    let changes = Vec::with_capacity(by_package.row_count.saturating_sub(known_releases));
    let mut plan = Plan { changes, ..Plan::default() };
    let (mut other_time_count, mut duplicate_count) = (0, 0);
    for name in names {
        let declaration = PackageDeclaration {
            name,
            records: by_package.records.get(name).map_or(&[], Vec::as_slice),
            archive_rows: by_package.archive_rows.get(name).map_or(&[], Vec::as_slice),
            current_files: &by_package.current_files,
            view: by_package.view,
        };
        let comparison = PackageComparison {
            declaration,
            package: existing_source.packages.get(*name).unwrap_or(&empty_package),
            has_archive: by_package.has_archive,
            ignores_times,
        };
        let begin = plan.changes.len();
        let mut result = comparison.compare(&mut plan.changes);
        // Delayed packages count, too: all releases of a copied mirror seem to be recent.
        other_time_count += result.other_time_count;
        if plan.changes[begin..].iter().any(|change| by_package.is_too_recent(change)) {
            plan.delayed_count += 1;
            plan.changes.truncate(begin);
            if existing_source.packages.contains_key(*name) {
                continue;
            }
            // For a package that is new here, archived releases that are old enough are available meanwhile.
            let is_old = |row: &&MetaRow<String>| by_package.cutoff.is_none_or(|cutoff| row.mtime <= cutoff);
            let old_rows: Vec<&MetaRow<String>> =
                comparison.declaration.archive_rows.iter().copied().filter(is_old).collect();
            let declaration =
                PackageDeclaration { records: &[], archive_rows: &old_rows, ..comparison.declaration };
            result = PackageComparison { declaration, ..comparison }.compare(&mut plan.changes);
        }
        plan.counts.added += result.counts.added;
        plan.counts.updated += result.counts.updated;
        plan.counts.archived += result.counts.archived;
        plan.counts.removed += result.counts.removed;
        duplicate_count += usize::from(result.has_duplicates);
    }
    let dates = plan.changes.iter().filter_map(|change| match change {
        Change::Introduce { release, .. } => release.published_at,
        Change::BeginLife { .. } | Change::Record { .. } | Change::EndLife(_) => None,
    });
    for date in dates {
        plan.published_from = Some(plan.published_from.map_or(date, |from| from.min(date)));
        plan.published_to = Some(plan.published_to.map_or(date, |to| to.max(date)));
    }
    if by_package.cutoff.is_some() && !by_package.has_current && !by_package.records.is_empty() {
        plan.warnings.push(
            "the mirror has no Meta/current.rds with publication times: CRAN.DelaySyncDuration \
             does not apply to releases in its index"
                .to_owned(),
        );
    }
    if duplicate_count > 0 {
        plan.warnings.push(format!(
            "the index lists {duplicate_count} packages more than once: the highest version is listed, the others count as \
             archived"
        ));
    }
    (plan, other_time_count)
}

struct DeclarationByPackage<'a> {
    names: BTreeSet<&'a str>,
    /// Number of records and rows.
    row_count: usize,
    records: HashMap<&'a str, Vec<&'a IndexRecord<'a>>>,
    archive_rows: HashMap<&'a str, Vec<&'a MetaRow<String>>>,
    current_files: CurrentFiles<'a>,
    view: Option<&'a MirrorView>,
    has_archive: bool,
    has_current: bool,
    cutoff: Option<Timestamp>,
}

impl<'a> DeclarationByPackage<'a> {
    /// Returns whether a change adds a release that is delayed. A release that the index has and
    /// `Meta/current.rds` lacks is newer than that table. Records with a `Path` have no times; they appear
    /// together with a release that has one.
    fn is_too_recent(&self, change: &Change) -> bool {
        let (Some(cutoff), Change::Introduce { release, state, path }) = (self.cutoff, change) else {
            return false;
        };
        match release.published_at {
            Some(at) => at > cutoff,
            None => self.has_current && *state == LifeState::Listed && path.is_empty(),
        }
    }

    fn new(declaration: &'a MirrorDeclaration<'a>) -> DeclarationByPackage<'a> {
        let mut by_package = DeclarationByPackage {
            names: BTreeSet::new(),
            row_count: declaration.records.len() + declaration.archive.as_ref().map_or(0, Vec::len),
            records: HashMap::new(),
            archive_rows: HashMap::new(),
            current_files: HashMap::new(),
            view: declaration.view.as_deref(),
            has_archive: declaration.archive.is_some(),
            has_current: declaration.current.is_some(),
            cutoff: declaration.cutoff,
        };
        for record in &declaration.records {
            by_package.names.insert(record.package);
            by_package.records.entry(record.package).or_default().push(record);
        }
        for row in declaration.archive.iter().flatten() {
            by_package.names.insert(&row.package);
            by_package.archive_rows.entry(&row.package).or_default().push(row);
        }
        for row in declaration.current.iter().flatten() {
            by_package.current_files.insert(&row.file, FileStat::of(row));
        }
        by_package
    }
}

pub(super) fn set_in_plan(plan: &mut Plan, view: &MirrorView) {
    for change in &mut plan.changes {
        let Change::Introduce { release, .. } = change else { continue };
        for file in &mut release.files {
            if let Some(object) = view.file(&file.locator) {
                file.sha256 = Some(object.sha256);
                file.md5 = Some(object.md5);
            }
        }
    }
}

/// Sets the digests of existing releases, which came from a mirror or a back-fill. Returns their number.
pub(super) async fn set_in_releases(
    db: &Db,
    lease: &Lease,
    source: SourceId,
    view: &MirrorView,
) -> Result<usize, SyncError> {
    let files = db.read(move |c| file::files_without_digest(c, source)).await?;
    let facts: Vec<FetchedFacts> = files.iter().filter_map(|file| find_facts(file, view)).collect();
    for chunk in facts.chunks(CHUNK) {
        let chunk: Arc<[FetchedFacts]> = chunk.into();
        lease.bulk(db, move |c| file::update(c, &chunk)).await?;
    }
    Ok(facts.len())
}

/// Returns digest and size of a file, from the object at one of its possible paths with the expected size or MD5.
fn find_facts(row: &FileWithoutDigest, view: &MirrorView) -> Option<FetchedFacts> {
    let FileWithoutDigest { file, package, name, locator, size, md5, state } = row;
    let archive_path = format!("Archive/{package}/{name}");
    let fits = |object: &&Object| {
        let size = size.map(|size| u64::try_from(size) == Ok(object.size));
        let md5 = md5.map(|md5| md5 == object.md5);
        size.or(md5).is_some() && size != Some(false) && md5 != Some(false)
    };
    let paths = [locator.as_str(), &archive_path, name];
    let object = paths.into_iter().filter_map(|path| view.file(path)).find(fits)?;
    let (sha256, size) = (Some(object.sha256), i64::try_from(object.size).ok());
    Some(FetchedFacts { file: *file, sha256, size, state: *state, built: None })
}
