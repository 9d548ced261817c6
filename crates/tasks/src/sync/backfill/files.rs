//! Merges a mirror's tables and the database into the files of the history, each once. Pure.

use std::collections::{HashMap, HashSet};

use super::tables::Tables;
use crate::sync::plan::{COPY_THRESHOLD, Loss};
use base::model::change::LifeState;
use base::model::ids::ReleaseId;
use base::model::time::Timestamp;
use formats::r::rds::archive_meta::MetaRow;
use store::db::backfill::Archive;
use store::db::backfill_write::{LiveRelease, StoredRelease};

type Row = MetaRow<String>;

/// The state of a source in the database.
#[derive(Clone, Debug)]
pub(super) struct SourceState {
    pub(super) releases: Vec<StoredRelease>,
    /// Lives at the first step.
    pub(super) first_lives: Vec<LiveRelease>,
    /// Publication time of the first step.
    pub(super) first_at: Timestamp,
}

/// Location and identity of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Index of its release in [`SourceState::releases`]; `None` if the database does not have the file.
    pub(super) release_index: Option<usize>,
    /// Whether the mirror has it below `Archive/`.
    pub(super) is_archived: bool,
}

/// The files of the history.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Files that are listed at the first step.
    pub(super) current: Vec<Row>,
    pub(super) archive: Vec<Row>,
    /// Location and identity of each file.
    pub(super) origins: HashMap<Archive, Origin>,
    pub(super) warnings: Vec<String>,
}

/// Returns the key under which a file's description is stored.
pub(super) fn key(row: &Row) -> Archive {
    Archive {
        file: row.file.clone(),
        size: i64::try_from(row.size).unwrap_or(i64::MAX),
        published_at: Timestamp(row.mtime.seconds() * base::model::time::SECOND),
    }
}

/// Counts the archived files that the mirror's table lost: a fifth suggests that the mirror is incomplete.
pub(super) fn archive_loss(source: &SourceState, tables: &Tables) -> Loss {
    let mirror_files: HashSet<&str> = tables.archive.iter().map(|row| row.file.as_str()).collect();
    let names: HashMap<ReleaseId, &str> =
        source.releases.iter().map(|release| (release.release, release.file.as_str())).collect();
    let mut loss = Loss { known_count: 0, lost_count: 0 };
    for life in source.first_lives.iter().filter(|life| life.state == LifeState::Archived) {
        loss.known_count += 1;
        loss.lost_count +=
            usize::from(names.get(&life.release).is_some_and(|name| !mirror_files.contains(name)));
    }
    loss
}

/// Merges the tables and the database, whose times take precedence: a copied mirror has other times for known files.
pub(super) fn collect_files(source: &SourceState, tables: &Tables) -> Files {
    let mut collector =
        FileCollector { source, is_claimed: vec![false; source.releases.len()], rows: Vec::new() };
    let by_file = by_file(source);
    let mirror_rows =
        tables.archive.iter().map(|row| (row, true)).chain(tables.current.iter().map(|row| (row, false)));
    let mut keys: HashSet<Archive> = HashSet::new();
    let mut other_rows: Vec<(&Row, bool)> = Vec::new();
    // An exact match takes precedence over a possible one.
    for (row, is_archived) in mirror_rows {
        if !keys.insert(key(row)) {
            continue;
        }
        let is_same = |release: &StoredRelease| {
            size_and_time(release) == (Some(key(row).size), Some(row.mtime.seconds()))
        };
        match collector.claim(&by_file, row, is_same) {
            Some(index) => {
                collector.rows.push((row.clone(), Origin { release_index: Some(index), is_archived }))
            }
            None => other_rows.push((row, is_archived)),
        }
    }
    let mut copied_count = 0;
    for (row, is_archived) in other_rows {
        let (size, seconds) = (key(row).size, row.mtime.seconds());
        let is_copy = |release: &StoredRelease| {
            size_and_time(release).0 == Some(size) && release.published_at.is_some()
        };
        let is_compatible = |release: &StoredRelease| {
            let (stored_size, at) = size_and_time(release);
            stored_size.is_none_or(|stored_size| stored_size == size) && at.is_none_or(|at| at == seconds)
        };
        let mut row = row.clone();
        let mut release_index = collector.claim(&by_file, &row, is_copy);
        if let Some(at) = release_index.and_then(|index| source.releases[index].published_at) {
            copied_count += 1;
            row.mtime = at;
        } else {
            release_index = collector.claim(&by_file, &row, is_compatible);
        }
        collector.rows.push((row, Origin { release_index, is_archived }));
    }
    collector.add_releases_without_file();
    let mut files = collector.files();
    if copied_count > COPY_THRESHOLD {
        files.warnings.push(format!(
            "{copied_count} known versions have another time and the same size on the mirror: it was copied, so the known \
             dates are kept"
        ));
    }
    files
}

fn by_file(source: &SourceState) -> HashMap<&str, Vec<usize>> {
    let mut by_file: HashMap<&str, Vec<usize>> = HashMap::with_capacity(source.releases.len());
    for (index, release) in source.releases.iter().enumerate() {
        by_file.entry(&release.file).or_default().push(index);
    }
    by_file
}

/// Returns the size in bytes and the publication time in seconds.
fn size_and_time(release: &StoredRelease) -> (Option<i64>, Option<i64>) {
    (release.size, release.published_at.map(Timestamp::seconds))
}

struct FileCollector<'a> {
    source: &'a SourceState,
    /// For each release of `source`: whether a file has been assigned to it.
    is_claimed: Vec<bool>,
    rows: Vec<(Row, Origin)>,
}

impl FileCollector<'_> {
    /// Claims the first unclaimed release with `row`'s file name and package that `fits` accepts; returns its index.
    fn claim(
        &mut self,
        by_file: &HashMap<&str, Vec<usize>>,
        row: &Row,
        fits: impl Fn(&StoredRelease) -> bool,
    ) -> Option<usize> {
        let indexes = by_file.get(row.file.as_str())?;
        let index = indexes.iter().copied().find(|index| {
            !self.is_claimed[*index]
                && self.source.releases[*index].name == row.package
                && fits(&self.source.releases[*index])
        })?;
        self.is_claimed[index] = true;
        Some(index)
    }

    /// Adds releases with a life at the first step that the mirror no longer has. A listed package of unknown time
    /// counts as listed since the first step.
    fn add_releases_without_file(&mut self) {
        let indexes: HashMap<ReleaseId, usize> = self
            .source
            .releases
            .iter()
            .enumerate()
            .map(|(index, release)| (release.release, index))
            .collect();
        for life in &self.source.first_lives {
            let Some(index) = indexes.get(&life.release).copied().filter(|index| !self.is_claimed[*index])
            else {
                continue;
            };
            let release = &self.source.releases[index];
            let is_archived = life.state == LifeState::Archived;
            if is_archived && release.published_at.is_none() {
                continue;
            }
            self.is_claimed[index] = true;
            let row = MetaRow {
                package: release.name.clone(),
                file: release.file.clone(),
                size: release.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                mtime: release.published_at.unwrap_or(self.source.first_at),
            };
            self.rows.push((row, Origin { release_index: Some(index), is_archived }));
        }
    }

    fn files(self) -> Files {
        let listed_releases: HashSet<ReleaseId> = self
            .source
            .first_lives
            .iter()
            .filter(|life| life.state == LifeState::Listed)
            .map(|life| life.release)
            .collect();
        let mut files = Files::default();
        for (row, origin) in self.rows {
            let release = origin.release_index.map(|index| self.source.releases[index].release);
            files.origins.insert(key(&row), origin);
            match release.is_some_and(|release| listed_releases.contains(&release)) {
                true => files.current.push(row),
                false => files.archive.push(row),
            }
        }
        files
    }
}

#[cfg(test)]
mod tests;
