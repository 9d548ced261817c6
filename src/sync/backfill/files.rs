//! Merges a mirror's tables and the database into the files of the history, each once. Pure.

use std::collections::{HashMap, HashSet};

use super::tables::Tables;
use crate::db::backfill::Archive;
use crate::db::backfill_write::{LiveRelease, StoredRelease};
use crate::model::change::LifeState;
use crate::model::ids::ReleaseId;
use crate::model::time::Timestamp;
use crate::r::rds::archive_meta::MetaRow;
use crate::sync::plan::{COPY_THRESHOLD, Loss};

type Row = MetaRow<String>;

/// The state of a source in the database.
#[derive(Clone, Debug)]
pub(super) struct SourceState {
    /// Every release.
    pub(super) releases: Vec<StoredRelease>,
    /// Lives at the first step.
    pub(super) live: Vec<LiveRelease>,
    /// Publication time of the first step.
    pub(super) first_at: Timestamp,
}

/// Location and identity of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Its index in [`SourceState::releases`].
    pub(super) release_index: Option<usize>,
    /// Whether the mirror has it below `Archive/`.
    pub(super) is_archived: bool,
}

/// The files of the history.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Those that are listed at the first step.
    pub(super) current: Vec<Row>,
    /// All others.
    pub(super) archive: Vec<Row>,
    /// Location and identity of each file.
    pub(super) origins: HashMap<Archive, Origin>,
    /// Warnings for the administrator.
    pub(super) warnings: Vec<String>,
}

/// Returns the key under which a file's description is stored.
pub(super) fn key(row: &Row) -> Archive {
    Archive {
        file: row.file.clone(),
        size: i64::try_from(row.size).unwrap_or(i64::MAX),
        published_at: Timestamp(row.mtime.seconds() * crate::model::time::SECOND),
    }
}

/// Counts the archived files that a table lost: a loss of a fifth looks like an incomplete mirror.
pub(super) fn archive_loss(ledger: &SourceState, tables: &Tables) -> Loss {
    let now: HashSet<&str> = tables.archive.iter().map(|row| row.file.as_str()).collect();
    let names: HashMap<ReleaseId, &str> =
        ledger.releases.iter().map(|known| (known.release, known.file.as_str())).collect();
    let mut loss = Loss { before: 0, lost: 0 };
    for live in ledger.live.iter().filter(|live| live.state == LifeState::Archived) {
        loss.before += 1;
        loss.lost += usize::from(names.get(&live.release).is_some_and(|name| !now.contains(name)));
    }
    loss
}

/// Merges both. Times of the database win: a copied mirror has other times for known files.
pub(super) fn collect_files(ledger: &SourceState, tables: &Tables) -> Files {
    let mut gather = FileCollector { ledger, claimed: vec![false; ledger.releases.len()], rows: Vec::new() };
    let by_file = by_file(ledger);
    let declared =
        tables.archive.iter().map(|row| (row, true)).chain(tables.current.iter().map(|row| (row, false)));
    let mut distinct: HashSet<Archive> = HashSet::new();
    let mut remaining: Vec<(&Row, bool)> = Vec::new();
    // An exact match takes precedence over a possible one.
    for (row, is_archived) in declared {
        if !distinct.insert(key(row)) {
            continue;
        }
        let same =
            |known: &StoredRelease| size_and_time(known) == (Some(key(row).size), Some(row.mtime.seconds()));
        match gather.claim(&by_file, row, same) {
            Some(index) => {
                gather.rows.push((row.clone(), Origin { release_index: Some(index), is_archived }))
            }
            None => remaining.push((row, is_archived)),
        }
    }
    let mut touched = 0;
    for (row, is_archived) in remaining {
        let (size, seconds) = (key(row).size, row.mtime.seconds());
        let copied =
            |known: &StoredRelease| size_and_time(known).0 == Some(size) && known.published_at.is_some();
        let blank = |known: &StoredRelease| {
            let (had, at) = size_and_time(known);
            had.is_none_or(|had| had == size) && at.is_none_or(|at| at == seconds)
        };
        let mut row = row.clone();
        let mut known = gather.claim(&by_file, &row, copied);
        if let Some(at) = known.and_then(|index| ledger.releases[index].published_at) {
            touched += 1;
            row.mtime = at;
        } else {
            known = gather.claim(&by_file, &row, blank);
        }
        gather.rows.push((row, Origin { release_index: known, is_archived }));
    }
    gather.add_remaining();
    let mut files = gather.files();
    if touched > COPY_THRESHOLD {
        files.warnings.push(format!(
            "{touched} known versions have another time and the same size on the mirror: it was copied, so the known \
             dates are kept"
        ));
    }
    files
}

fn by_file(ledger: &SourceState) -> HashMap<&str, Vec<usize>> {
    let mut by_file: HashMap<&str, Vec<usize>> = HashMap::with_capacity(ledger.releases.len());
    for (index, release) in ledger.releases.iter().enumerate() {
        by_file.entry(&release.file).or_default().push(index);
    }
    by_file
}

/// Returns size, and time in seconds.
fn size_and_time(release: &StoredRelease) -> (Option<i64>, Option<i64>) {
    (release.size, release.published_at.map(Timestamp::seconds))
}

struct FileCollector<'a> {
    ledger: &'a SourceState,
    claimed: Vec<bool>,
    rows: Vec<(Row, Origin)>,
}

impl FileCollector<'_> {
    /// Claims the first unclaimed release of that file name that fits.
    fn claim(
        &mut self,
        by_file: &HashMap<&str, Vec<usize>>,
        row: &Row,
        fits: impl Fn(&StoredRelease) -> bool,
    ) -> Option<usize> {
        let indexes = by_file.get(row.file.as_str())?;
        let index = indexes.iter().copied().find(|index| {
            !self.claimed[*index]
                && self.ledger.releases[*index].name == row.package
                && fits(&self.ledger.releases[*index])
        })?;
        self.claimed[index] = true;
        Some(index)
    }

    /// Adds releases that live at the first step and that the mirror no longer has. A listed package of unknown time
    /// counts as listed since the first step.
    fn add_remaining(&mut self) {
        let indexes: HashMap<ReleaseId, usize> =
            self.ledger.releases.iter().enumerate().map(|(index, stored)| (stored.release, index)).collect();
        for live in &self.ledger.live {
            let Some(index) = indexes.get(&live.release).copied().filter(|index| !self.claimed[*index])
            else {
                continue;
            };
            let stored = &self.ledger.releases[index];
            let is_archived = live.state == LifeState::Archived;
            if is_archived && stored.published_at.is_none() {
                continue;
            }
            self.claimed[index] = true;
            let row = MetaRow {
                package: stored.name.clone(),
                file: stored.file.clone(),
                size: stored.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                mtime: stored.published_at.unwrap_or(self.ledger.first_at),
            };
            self.rows.push((row, Origin { release_index: Some(index), is_archived }));
        }
    }

    fn files(self) -> Files {
        let listed: HashSet<ReleaseId> = self
            .ledger
            .live
            .iter()
            .filter(|live| live.state == LifeState::Listed)
            .map(|live| live.release)
            .collect();
        let mut files = Files::default();
        for (row, origin) in self.rows {
            let release = origin.release_index.map(|index| self.ledger.releases[index].release);
            files.origins.insert(key(&row), origin);
            match release.is_some_and(|release| listed.contains(&release)) {
                true => files.current.push(row),
                false => files.archive.push(row),
            }
        }
        files
    }
}

#[cfg(test)]
mod tests;
