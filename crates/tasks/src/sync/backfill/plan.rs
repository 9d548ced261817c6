//! Computes the rows of a back-fill, and the archives whose descriptions are needed first, from a mirror's tables and
//! the database. Pure.

use std::collections::{HashMap, HashSet};

use super::fetch_descriptions::PendingArchive;
use super::files::{self, Files, SourceState, key};
use super::rows::{BackfillRows, ReleaseIdentity, assemble};
use super::tables::Tables;
use base::model::change::LifeState;
use base::model::ids::{ReleaseId, Seq, TreeId};
use base::model::time::Day;
use formats::r::history::{BULK_COPY_FILES, History, MirrorTables, reconstruct};
use formats::r::layout::PackageFile;
use formats::r::rds::archive_meta::MetaRow;
use store::db::backfill::{Archive, DescriptionResult};

pub(super) struct CranState {
    pub(super) tree: TreeId,
    pub(super) first_step: Seq,
    pub(super) source: SourceState,
    pub(super) descriptions: HashMap<Archive, DescriptionResult>,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub(super) enum PlanOutcome {
    /// The mirror has no older history, for this reason.
    Nothing(String),
    Plan(BackfillPlan),
}

pub(super) struct BackfillPlan {
    pub(super) tree: TreeId,
    /// The first step of the tree, below which the history is written.
    pub(super) first_step: Seq,
    pub(super) size: BackfillSize,
    /// Archives whose descriptions are missing.
    pub(super) pending_archives: Vec<PendingArchive>,
    /// The rows, if they were requested and no description is missing.
    pub(super) rows: Option<PlannedRows>,
    pub(super) warnings: Vec<String>,
}

pub(super) struct PlannedRows {
    pub(super) rows: BackfillRows,
    /// Files that should be listed but cannot be, with the reason.
    pub(super) unlisted_files: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Determines the missing descriptions and the size.
    Measure,
    /// Determines the rows to write.
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackfillSize {
    /// The first and the last day.
    pub(super) span: (Day, Day),
    /// Number of days with changes.
    pub(super) days: usize,
    pub(super) releases: usize,
    /// Number of archives to read.
    pub(super) archives: usize,
}

/// Plans the days from `since` up to that of the first step.
pub(super) fn plan(
    mut state: CranState,
    tables: &Tables,
    since: Day,
    purpose: Purpose,
) -> Result<PlanOutcome, String> {
    let first_day = state.source.first_at.day();
    if since >= first_day {
        return Ok(PlanOutcome::Nothing(format!("the history of cran begins on {first_day} already")));
    }
    let loss = files::archive_loss(&state.source, tables);
    if loss.is_suspicious() {
        return Err(format!(
            "{} of {} archived files are no longer in Meta/archive.rds of the mirror, which is what an incomplete \
             mirror looks like; nothing was added. Try again when the mirror is complete",
            loss.lost_count, loss.known_count
        ));
    }
    let files = files::collect_files(&state.source, tables);
    let mirror_tables =
        MirrorTables { archive: &files.archive, current: &files.current, events: &tables.events };
    let history = reconstruct(&mirror_tables, since, first_day);
    let (Some(first), Some(last)) = (history.days.first(), history.days.last()) else {
        return Ok(PlanOutcome::Nothing(format!(
            "the mirror has no release from before {first_day}, where history begins"
        )));
    };
    let pending_archives = missing_descriptions(&history, &state, &files);
    let transitions = history.days.iter().flat_map(|day| &day.changes);
    let releases: HashSet<*const MetaRow<String>> =
        transitions.map(|transition| std::ptr::from_ref(transition.file)).collect();
    let size = BackfillSize {
        span: (first.day, last.day),
        days: history.days.len(),
        releases: releases.len(),
        archives: pending_archives.len(),
    };
    let warnings = warnings(&history, tables, &files);
    let rows = (purpose == Purpose::Write && pending_archives.is_empty()).then(|| {
        let descriptions = std::mem::take(&mut state.descriptions);
        let mut identifier = FileIdentifier::new(&state, descriptions, &files);
        let rows = assemble(&history, state.first_step, |row| identifier.identify(row));
        let unlisted_files = unlisted_files(&rows, &identifier.descriptions);
        PlannedRows { rows, unlisted_files }
    });
    Ok(PlanOutcome::Plan(BackfillPlan {
        tree: state.tree,
        first_step: state.first_step,
        size,
        pending_archives,
        rows,
        warnings,
    }))
}

/// Returns the files that are listed on some day but have neither a record nor a stored description.
fn missing_descriptions(history: &History<'_>, state: &CranState, files: &Files) -> Vec<PendingArchive> {
    let mut keys: HashSet<Archive> = HashSet::new();
    let mut pending_archives = Vec::new();
    let transitions =
        history.days.iter().flat_map(|day| &day.changes).filter(|transition| transition.state.is_listed());
    for row in transitions.map(|transition| transition.file) {
        let key = key(row);
        let Some(origin) = files.origins.get(&key) else { continue };
        let has_record =
            origin.release_index.is_some_and(|index| state.source.releases[index].variant.is_some());
        if !has_record && !state.descriptions.contains_key(&key) && keys.insert(key) {
            pending_archives.push(PendingArchive { row: row.clone(), origin: origin.clone() });
        }
    }
    pending_archives
}

/// Finds the releases of files in the database.
struct FileIdentifier<'a> {
    source: &'a SourceState,
    /// Records are moved out of this map, not copied: each is used once, and together they are large.
    descriptions: HashMap<Archive, DescriptionResult>,
    files: &'a Files,
    /// The number of the listed record (`variant`) of each release that is listed at the first step.
    listed_variants: HashMap<ReleaseId, i64>,
    /// The next revision of each known version.
    next_revisions: HashMap<(&'a str, &'a str), i64>,
    /// The next revision of each unknown version.
    new_version_revisions: HashMap<String, i64>,
}

impl<'a> FileIdentifier<'a> {
    fn new(
        state: &'a CranState,
        descriptions: HashMap<Archive, DescriptionResult>,
        files: &'a Files,
    ) -> FileIdentifier<'a> {
        let listed_lives = state.source.first_lives.iter().filter(|life| life.state == LifeState::Listed);
        let mut next_revisions: HashMap<(&str, &str), i64> = HashMap::new();
        for release in &state.source.releases {
            let next_revision = next_revisions.entry((&release.name, &release.version)).or_default();
            *next_revision = (*next_revision).max(release.revision + 1);
        }
        FileIdentifier {
            source: &state.source,
            descriptions,
            files,
            listed_variants: listed_lives.map(|life| (life.release, life.variant)).collect(),
            next_revisions,
            new_version_revisions: HashMap::new(),
        }
    }

    fn identify(&mut self, row: &MetaRow<String>) -> ReleaseIdentity {
        let key = key(row);
        let origin = self.files.origins.get(&key);
        let release =
            origin.and_then(|origin| origin.release_index).map(|index| &self.source.releases[index]);
        let variant = release
            .and_then(|release| self.listed_variants.get(&release.release).copied().or(release.variant));
        let stanza = match self.descriptions.get_mut(&key) {
            Some(DescriptionResult::Record(stanza)) if variant.is_none() => Some(std::mem::take(stanza)),
            Some(DescriptionResult::Record(_) | DescriptionResult::Failure(_)) | None => None,
        };
        let locator = match origin.is_none_or(|origin| origin.is_archived) {
            true => format!("Archive/{}/{}", row.package, row.file),
            false => row.file.clone(),
        };
        let revision = if release.is_some() { 0 } else { self.revision(row) };
        ReleaseIdentity {
            release: release.map(|release| (release.package, release.release)),
            variant,
            stanza,
            locator,
            revision,
        }
    }

    fn revision(&mut self, row: &MetaRow<String>) -> i64 {
        let version = PackageFile::parse(&row.file).map_or("", |file| file.version);
        let next_revision =
            self.new_version_revisions.entry(format!("{}_{version}", row.package)).or_insert_with(|| {
                self.next_revisions.get(&(row.package.as_str(), version)).copied().unwrap_or_default()
            });
        *next_revision += 1;
        *next_revision - 1
    }
}

fn unlisted_files(
    rows: &BackfillRows,
    descriptions: &HashMap<Archive, DescriptionResult>,
) -> Vec<(String, String)> {
    let errors: HashMap<&str, &str> = descriptions
        .iter()
        .filter_map(|(archive, result)| match result {
            DescriptionResult::Failure(error) => Some((archive.file.as_str(), error.as_str())),
            DescriptionResult::Record(_) => None,
        })
        .collect();
    let mut unlisted_files: Vec<(String, String)> = rows
        .unlisted_files
        .iter()
        .map(|file| (file.clone(), errors.get(file.as_str()).copied().unwrap_or_default().to_owned()))
        .collect();
    unlisted_files.sort_unstable();
    unlisted_files
}

fn warnings(history: &History<'_>, tables: &Tables, files: &Files) -> Vec<String> {
    let mut warnings = tables.warnings.clone();
    warnings.extend(files.warnings.iter().cloned());
    if history.undated_count > 0 {
        warnings.push(format!(
            "the mirror does not record when {} packages left the index: they count as archived from the day after their last release",
            history.undated_count
        ));
    }
    if let Some((day, files)) = history.bulk_copy {
        warnings.push(format!(
            "{files} releases have the time of {day}, more than the {BULK_COPY_FILES} of any real day: they were copied then, so \
             earlier days lack them"
        ));
    }
    warnings
}
